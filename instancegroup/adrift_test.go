package instancegroup

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestAdriftFrom(t *testing.T) {
	made := []string{CommonTag, RunTag(thisRun)}
	tests := map[string]struct {
		name   string
		tags   []string
		hidden bool
		want   string
	}{
		"the group's tag is gone":          {"ci-7k2m9qxa", made, false, "ci"},
		"of a group with a longer name":    {"ci-big-7k2m9qxa", made, false, "ci-big"},
		"tags in another case, and others": {"ci-7k2m9qxa", []string{"Fleeting", "FLEETING-RUN:run00000", "prod"}, false, "ci"},
		"it is not gone":                   {"ci-7k2m9qxa", append([]string{GroupTag("ci")}, made...), false, ""},
		"it has another group's":           {"ci-7k2m9qxa", append([]string{"Fleeting-Group:big"}, made...), false, ""},
		"not minted":                       {"ci-database-1", made, false, ""},
		"no group":                         {"-7k2m9qxa", made, false, ""},
		"no more than a suffix":            {"7k2m9qxa", made, false, ""},
		"its run's is, too":                {"ci-7k2m9qxa", []string{CommonTag}, false, "ci"},
		"and it may be a word":             {"ci-database", []string{CommonTag}, false, ""},
		"a run that nobody minted":         {"ci-7k2m9qxa", []string{CommonTag, RunTag("mine")}, false, ""},
		"not ours":                         {"ci-7k2m9qxa", []string{RunTag(thisRun)}, false, ""},
		"tags that are not shown":          {"ci-7k2m9qxa", made, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := AdriftFrom(Droplet{Name: tt.name, Tags: tt.tags, TagsHidden: tt.hidden}); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// next is the process after r's, which has ended without a word.
func (r *runner) next(change func(s *Settings)) *runner {
	return newRunner(r.t, spec(func(s *Settings) {
		s.Run, s.DeadRuns = "run00001", []string{thisRun}
		if change != nil {
			change(s)
		}
	}), r.account)
}

// TestGroupTagDeletedWhileNobodyLooked: somebody deletes the group's tag from the
// account between two processes. The second takes the Droplets over and puts the tag
// back; they are no more jobs' for that, nor a bill that nobody knows of.
func TestGroupTagDeletedWhileNobodyLooked(t *testing.T) {
	for _, n := range []int{1, 2, 150} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(n)
				r.deleteTag(GroupTag("ci"))
				second := r.next(nil)
				second.start()
				if second.Count() != n {
					t.Fatalf("it took over %d of %d", second.Count(), n)
				}
				lists := r.requests("list")
				second.run(2 * time.Minute)
				for _, name := range names {
					second.told(name, Running)
				}
				second.tagged(names...)
				second.says("WARN", tagPutBack, fmt.Sprintf("droplets=%d", n))
				if asked, tagging := r.requests("has tag"), r.requests("tagging"); asked != 1 || tagging != (n+MaxTagged-1)/MaxTagged {
					t.Errorf("the tag was asked for %d times and put on in %d requests", asked, tagging)
				}
				if more := r.requests("list") - lists; more > 70 {
					t.Errorf("%d lists in two minutes", more)
				}
				second.decrease(names...)
				second.run(20 * time.Second)
				if left := r.billed(); left != 0 || !second.Shutdown(ctx) {
					t.Errorf("%d are left", left)
				}
			})
		})
	}
}

// What is not of a run that is known to have ended, was let go before, or lacks the tag
// while the account has it, is left alone.
func TestAdriftLeftAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		has    bool // the account, the group's tag
		change func(s *Settings)
	}{
		"a run of another host":   {false, func(s *Settings) { s.DeadRuns = []string{"run00009"} }},
		"no run is known":         {false, func(s *Settings) { s.DeadRuns = nil }},
		"let go before":           {false, func(s *Settings) { s.LetGo = []int{1001, 1002, 1003} }},
		"the account has the tag": {true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				r.up(3)
				r.deleteTag(GroupTag("ci"))
				if tt.has {
					if err := r.TagDroplets(ctx, GroupTag("ci"), nil); err != nil {
						t.Fatal(err)
					}
				}
				second := r.next(tt.change)
				second.start()
				second.run(time.Minute)
				if second.Count() != 0 || r.billed() != 3 || r.requests("delete") > 0 {
					t.Errorf("it has %d; %d live", second.Count(), r.billed())
				}
				if n := r.requests("has tag"); n > 1 {
					t.Errorf("the tag was asked for %d times", n)
				}
			})
		})
	}
}

// DigitalOcean may not say whether it has the tag. Start does not wait for that. It is
// asked again, and meanwhile no tag of an earlier run is removed, nor forgotten that
// there was one.
func TestAdriftNotAskedYet(t *testing.T) {
	for name, f := range map[string]fault{"an error": {err: unclear}, "no answer": {hang: true}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(3)
				r.deleteTag(GroupTag("ci"))
				r.breakOp("has tag", f)
				for _, healed := range []bool{false, true} {
					second := r.next(nil)
					second.within(seekBound+time.Second, "Start", second.start)
					second.run(15 * time.Minute)
					if n := second.log.count("WARN", "somebody deleted its tag could not be asked"); n < 10 || n > 17 {
						t.Errorf("told %d times in 15 minutes", n)
					}
					if healed {
						r.heal("has tag")
						second.run(70 * time.Second)
						second.tagged(names...)
						second.says("WARN", tagPutBack)
						for _, name := range names {
							second.told(name, Running)
						}
						continue
					}
					if second.Count() != 0 || second.Shutdown(ctx) {
						t.Errorf("it has %d, or forgets the runs that may have left them", second.Count())
					}
					if tags := r.only(names[0]).Tags; !slices.Contains(tags, RunTag(thisRun)) {
						t.Errorf("tags: %v", tags)
					}
				}
			})
		})
	}
	// A token that may not ask never will.
	scenario(t, spec(nil), func(r *runner) {
		r.breakOp("has tag", fault{err: refusal(ErrForbidden)})
		second := r.next(nil)
		second.start()
		second.run(time.Minute)
		if n := r.requests("has tag"); n != 1 || !second.Shutdown(ctx) {
			t.Errorf("the tag was asked for %d times", n)
		}
	})
}

// What is let go is noted for the next process, with what was before.
func TestLetGoIsNoted(t *testing.T) {
	var noted [][]int
	scenario(t, spec(func(s *Settings) {
		s.LetGo = []int{77}
		s.NoteLetGo = func(ids []int) { noted = append(noted, ids) }
	}), func(r *runner) {
		names := r.up(3)
		id := r.only(names[0]).ID
		r.change(id, func(m *machine) { m.Tags, m.foreign = []string{CommonTag, RunTag(thisRun)}, true })
		r.run(2 * time.Minute)
		if len(noted) != 1 || !slices.Equal(noted[0], []int{77, id}) {
			t.Fatalf("noted: %v, want [[77 %d]]", noted, id)
		}
		r.deleteTag(GroupTag("ci"))
		second := r.next(func(s *Settings) { s.LetGo = noted[0] })
		second.start()
		second.run(time.Minute)
		second.tagged(names[1:]...)
		if got := second.in(Running); !slices.Equal(got, names[1:]) {
			t.Errorf("taken over: %v, want %v", got, names[1:])
		}
	})
}

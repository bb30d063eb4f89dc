package instancegroup

import (
	"fmt"
	"slices"
	"strings"
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

// beside is what processes note for the next.
type beside struct {
	runs  []string
	letGo []int
	lost  bool
}

// next is the process after those, of which the last has ended without a word.
func (b *beside) next(r *runner) *runner {
	dead := append([]string{thisRun}, b.runs...)
	run := fmt.Sprintf("run%05d", len(dead))
	b.runs = append(b.runs, run)
	return newRunner(r.t, spec(func(s *Settings) {
		s.Run, s.DeadRuns, s.LetGo, s.TagLost = run, dead, b.letGo, b.lost
		s.NoteLetGo = func(ids []int) { b.letGo = ids }
		s.NoteTagLost = func(lost bool) { b.lost = lost }
	}), r.account)
}

// untag takes the group's tag off a Droplet, for somebody who keeps it.
func (r *runner) untag(name string) {
	r.change(r.only(name).ID, func(m *machine) {
		m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t string) bool { return t == GroupTag("ci") })
		m.foreign = true
	})
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
				var notes beside
				second := notes.next(r)
				second.start()
				if second.Count() != n || !notes.lost {
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
				if left := r.billed(); left != 0 || notes.lost || !second.Shutdown(ctx) {
					t.Errorf("%d are left, or noted", left)
				}
			})
		})
	}
}

// Nothing was deleted: a start spends one list on that.
func TestNothingIsAdrift(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(3)
		lists := r.requests("list")
		second := (&beside{}).next(r)
		second.start()
		if n := r.requests("list") - lists; n != 2 {
			t.Errorf("a start takes %d lists", n)
		}
		second.run(time.Minute)
		for _, name := range names {
			second.told(name, Running)
		}
		n := len(slices.DeleteFunc(r.received("list"), func(c call) bool { return c.tag != CommonTag }))
		if asked := r.requests("has tag"); n != 1 || asked != 0 {
			t.Errorf("%d lists looked for more, and the tag was asked for %d times", n, asked)
		}
	})
}

// What is not of a run that is known to have ended, or was let go before, is left alone.
func TestAdriftLeftAlone(t *testing.T) {
	for name, change := range map[string]func(s *Settings){
		"a run of another host": func(s *Settings) { s.DeadRuns = []string{"run00009"} },
		"no run is known":       func(s *Settings) { s.DeadRuns = nil },
		"let go before":         func(s *Settings) { s.DeadRuns, s.LetGo = []string{thisRun}, []int{1001, 1002, 1003} },
		"let go, and a process was killed that put the tag back": func(s *Settings) {
			s.DeadRuns, s.LetGo, s.TagLost = []string{thisRun}, []int{1001, 1002, 1003}, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				for _, name := range r.up(3) {
					r.untag(name)
				}
				r.deleteTag(GroupTag("ci"))
				second := newRunner(t, spec(func(s *Settings) {
					s.Run = "run00001"
					change(s)
				}), r.account)
				second.start()
				second.run(15 * time.Minute)
				if second.Count() != 0 || r.requests("has tag") > 0 {
					t.Errorf("it has %d; the tag was asked for %d times", second.Count(), r.requests("has tag"))
				}
			})
		})
	}
}

// What lacks the tag while the account has it was untagged by somebody who means it. It
// is let go for good, also should the tag be deleted later, and keeps what it is known by.
func TestUntaggedWhileNobodyLooked(t *testing.T) {
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprint("all ", all), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(3)
				kept, rest := names[:1], names[1:]
				if all {
					kept, rest = names, nil
				}
				for _, name := range kept {
					r.untag(name)
				}
				var notes beside
				second := notes.next(r)
				second.start()
				second.run(20 * time.Second)
				if n := second.log.count("taken off a Droplet by hand"); n > 0 {
					t.Errorf("let go within 20 s, by one answer")
				}
				second.run(15 * time.Minute)
				for _, name := range kept {
					second.says("ERROR", "taken off a Droplet by hand", name)
					if AdriftFrom(r.only(name).Droplet) != "ci" || RunOf(r.only(name).Droplet) != thisRun {
						t.Errorf("%s carries %v", name, r.only(name).Tags)
					}
				}
				if got := second.in(Running); !slices.Equal(got, rest) || len(notes.letGo) != len(kept) {
					t.Errorf("taken over: %v; noted as let go: %v", got, notes.letGo)
				}
				if n := r.requests("has tag"); n != 1 {
					t.Errorf("the tag was asked for %d times", n)
				}
				r.deleteTag(GroupTag("ci"))
				third := notes.next(r)
				third.start()
				third.run(15 * time.Minute)
				third.tagged(rest...)
				if got := third.in(Running); !slices.Equal(got, rest) {
					t.Errorf("taken over: %v", got)
				}
				third.decrease(rest...)
				third.run(time.Minute)
				if third.Shutdown(ctx) || AdriftFrom(r.only(kept[0]).Droplet) != "ci" {
					t.Error("the run is forgotten of a Droplet that is billed, or it has lost all tags")
				}
				if got := third.Remember(); !slices.Equal(got, []string{thisRun}) {
					t.Errorf("runs to remember: %v, want the one that made it", got)
				}
			})
		})
	}
}

// TestKilledWhileTagIsPutBack: by then the account has the tag again, and those that lack
// it look as if that was meant.
func TestKilledWhileTagIsPutBack(t *testing.T) {
	for name, kill := range map[string]func(*runner){
		"between two requests": func(second *runner) {
			second.script("tagging", fault{applied: true}, fault{err: unclear})
			second.update()
		},
		"after a create": func(second *runner) { _, _ = second.increase(1) },
		"and so is one whose start could not look": func(second *runner) {
			second.script("tagging", fault{applied: true}, fault{err: unclear})
			second.update()
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(150)
				r.deleteTag(GroupTag("ci"))
				var notes beside
				second := notes.next(r)
				second.start()
				kill(second)
				if strings.Contains(name, "could not look") {
					r.script("list", fault{applied: true}, fault{err: unclear}, fault{err: unclear})
					notes.next(r).start()
				}
				third := notes.next(r)
				third.start()
				third.run(2 * time.Minute)
				third.tagged(names...)
				for _, name := range names {
					third.told(name, Running)
				}
				third.decrease(third.in(Running)...)
				third.run(2 * time.Minute)
				if r.billed() != 0 || notes.lost {
					t.Errorf("%d are left; noted as lost: %v", r.billed(), notes.lost)
				}
			})
		})
	}
}

// DigitalOcean may not say what there is, or whether it has the tag. Start does not wait
// for that. It is asked again, and meanwhile no tag of an earlier run is removed, nor
// forgotten that there was one.
func TestAdriftNotAskedYet(t *testing.T) {
	for _, op := range []string{"list", "has tag"} {
		for name, f := range map[string]fault{"an error": {err: unclear}, "no answer": {hang: true}} {
			t.Run(op+", "+name, func(t *testing.T) {
				scenario(t, spec(nil), func(r *runner) {
					names := r.up(3)
					r.deleteTag(GroupTag("ci"))
					notes := beside{runs: []string{"run00007"}} // thisRun is not the last
					second := notes.next(r)
					if op == "list" {
						r.script("list", fault{applied: true}, f, f, f)
					} else {
						r.breakOp(op, f)
					}
					second.within(2*seekBound, "Start", second.start)
					if second.Count() != 0 {
						t.Fatalf("it has %d", second.Count())
					}
					if op == "has tag" {
						second.run(15 * time.Minute)
						if n := second.log.count("WARN", "could not be looked for"); n < 10 || n > 17 {
							t.Errorf("told %d times in 15 minutes", n)
						}
						if tags := r.only(names[0]).Tags; !slices.Contains(tags, RunTag(thisRun)) {
							t.Errorf("tags: %v", tags)
						}
						r.heal(op)
					}
					second.run(70 * time.Second)
					second.tagged(names...)
					second.says("WARN", tagPutBack)
					for _, name := range names {
						second.told(name, Running)
					}
				})
			})
		}
	}
}

// A process that ends before it was told leaves all to the next.
func TestAdriftNeverAsked(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(3)
		r.deleteTag(GroupTag("ci"))
		r.breakOp("has tag", fault{err: unclear})
		notes := beside{runs: []string{"run00007"}} // thisRun is not the last
		second := notes.next(r)
		second.start()
		second.run(time.Minute)
		if second.Shutdown(ctx) || !slices.Contains(second.Remember(), thisRun) {
			t.Error("it forgets the runs that may have left some")
		}
		r.heal("has tag")
		third := notes.next(r)
		third.start()
		third.run(time.Minute)
		third.tagged(names...)
	})
}

// A create makes the tag again. Before the first it is asked once more what there is.
func TestAdriftAskedBeforeACreate(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(3)
		r.deleteTag(GroupTag("ci"))
		r.script("has tag", fault{err: unclear})
		var notes beside
		second := notes.next(r)
		second.start()
		second.update()
		second.want(1)
		second.run(2 * time.Minute)
		second.tagged(names...)
		if got := second.in(Running); len(got) != 4 {
			t.Errorf("running: %v", got)
		}
	})
}

// If nobody can tell whether it is meant that Droplets lack the tag they are left alone,
// loudly, and keep what people find them by.
func TestAdriftNobodyCanTell(t *testing.T) {
	for name, err := range map[string]error{"after a create": unclear, "forbidden": refusal(ErrForbidden), "no such request": refusal(ErrInvalid)} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(3)
				r.deleteTag(GroupTag("ci"))
				r.breakOp("has tag", fault{err: err})
				var notes beside
				second := notes.next(r)
				second.start()
				second.update()
				second.want(1)
				if name == "after a create" {
					r.heal("has tag")
				}
				second.run(15 * time.Minute)
				for _, name := range names {
					second.says("ERROR", "nobody can tell whether that is meant", name)
					if AdriftFrom(r.only(name).Droplet) != "ci" || RunOf(r.only(name).Droplet) != thisRun {
						t.Errorf("%s carries %v", name, r.only(name).Tags)
					}
				}
				if n := r.requests("has tag"); n > 4 || (len(notes.letGo) > 0) != (name == "after a create") {
					t.Errorf("the tag was asked for %d times; noted as let go: %v", n, notes.letGo)
				}
				second.decrease(second.in(Running)...)
				second.run(time.Minute)
				if second.Shutdown(ctx) || r.billed() != 3 {
					t.Errorf("%d are left, and their run is forgotten", r.billed())
				}
			})
		})
	}
}

// What cannot be asked of earlier runs does not keep the tag from being put back on this
// one's.
func TestTagPutBackWhileSeeking(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.untag(r.up(1)[0])
		r.breakOp("has tag", fault{err: unclear})
		var notes beside
		second := notes.next(r)
		second.start()
		names := second.up(3)
		r.deleteTag(GroupTag("ci"))
		second.run(20 * time.Second)
		second.tagged(names...)
	})
}

// Lists lack what was made just before the process was killed, so they are looked at
// once more when they do not.
func TestAdriftOfTheLastSecond(t *testing.T) {
	for name, tt := range map[string]struct{ old, more int }{"all are": {0, 0}, "some are": {4, 0}, "and a create makes the tag": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				if tt.old > 0 {
					r.up(tt.old)
				}
				r.createLag = 20 * time.Second
				r.want(3)
				sent := time.Now()
				time.Sleep(2 * time.Second)
				r.deleteTag(GroupTag("ci"))
				second := newRunner(t, spec(func(s *Settings) {
					s.Run, s.DeadRuns, s.Before = "run00001", []string{thisRun}, Census{Droplets: 3 + tt.old, At: sent}
				}), r.account)
				second.start()
				second.update()
				if tt.more > 0 {
					second.want(tt.more)
				}
				second.run(2 * time.Minute)
				if got := second.in(Running); len(got) != 3+tt.old+tt.more {
					t.Errorf("running: %v", got)
				}
				second.tagged(second.in(Running)...)
				if n := len(slices.DeleteFunc(r.received("list"), func(c call) bool { return c.tag != CommonTag })); n > 9 {
					t.Errorf("%d lists looked for them", n)
				}
			})
		})
	}
}

// What is given back is the group's again, and forgotten as let go.
func TestLetGoAndGivenBack(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(2)
		id := r.only(names[0]).ID
		notes := beside{letGo: []int{id}}
		second := notes.next(r)
		second.start()
		second.run(time.Minute)
		if got := second.in(Running); len(got) != 2 || len(notes.letGo) != 0 {
			t.Errorf("running: %v; noted as let go: %v", got, notes.letGo)
		}
	})
}

// What is let go is noted for the next process, with what was before.
func TestLetGoIsNoted(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		notes := beside{letGo: []int{77}}
		second := notes.next(r)
		second.start()
		names := second.up(3)
		id := r.only(names[0]).ID
		r.untag(names[0])
		second.run(2 * time.Minute)
		if !slices.Equal(notes.letGo, []int{77, id}) {
			t.Errorf("noted: %v, want [77 %d]", notes.letGo, id)
		}
		second.decrease(second.in(Running)...)
		second.run(time.Minute)
		if second.Shutdown(ctx) || RunOf(r.only(names[0]).Droplet) == "" {
			t.Error("its run is forgotten, or its tag removed")
		}
	})
}

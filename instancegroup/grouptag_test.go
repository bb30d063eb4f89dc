package instancegroup

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const tagPutBack = "somebody deleted the group's tag"

// tagged fails the test unless each of names carries the group's tag.
func (r *runner) tagged(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if m := r.only(name); !hasTag(m.Droplet, GroupTag("ci")) {
			r.t.Errorf("%s carries %v", name, m.Tags)
		}
	}
}

// requests counts those of op so far.
func (r *runner) requests(op string) int { return len(r.received(op)) }

// TestGroupTagDeleted: somebody deletes the group's tag from the account, which takes
// it off every Droplet. It is put back, with few requests; no job dies of it, nothing
// is let go, and the next process finds them all.
func TestGroupTagDeleted(t *testing.T) {
	for _, n := range []int{1, 2, 150} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(n)
				r.deleteTag(GroupTag("ci"))
				began := time.Now()
				r.run(10 * time.Second)
				r.tagged(names...)
				for _, c := range r.received("tagging") {
					if c.at.Sub(began) > 5*time.Second {
						t.Errorf("it was put back after %s", c.at.Sub(began))
					}
				}
				gets, asked, tagging := r.requests("get"), r.requests("has tag"), r.requests("tagging")
				if gets > 1 || asked > 1 || tagging != (n+MaxTagged-1)/MaxTagged {
					t.Errorf("%d look-ups, the tag was asked for %d times and put on in %d requests", gets, asked, tagging)
				}
				r.run(2 * time.Minute)
				for _, name := range names {
					r.told(name, Creating, Running)
				}
				r.says("WARN", tagPutBack, "tag=fleeting-group:ci", fmt.Sprintf("droplets=%d", n))
				if more := r.requests("tagging"); more != tagging {
					t.Errorf("it was put on again: %d requests", more)
				}
				if next := newRunner(t, spec(func(s *Settings) { s.Run = "run00001" }), r.account); next.Start(ctx) != nil || next.Count() != n {
					t.Errorf("the next process finds %d of %d", next.Count(), n)
				}
				r.decrease(names...)
				r.run(20 * time.Second)
				if left := r.billed(); left != 0 {
					t.Errorf("%d are left", left)
				}
			})
		})
	}
}

// A create makes the tag again, before anybody could see that it was gone. So do
// people, and tools that replace it.
func TestGroupTagDeletedAndMade(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(2)
		r.deleteTag(GroupTag("ci"))
		r.want(2)
		r.run(2 * time.Minute)
		if got := r.in(Running); len(got) != 4 {
			t.Errorf("running: %v", got)
		}
		r.tagged(r.in(Running)...)
		r.says(tagPutBack, names[0], names[1], "droplets=2")
	})
}

// Of a group of one Droplet lists cannot tell that everything lost the tag, and a create
// made it again. It is put back once; if it is taken off again that is meant.
func TestGroupTagOfOneDeletedAndMade(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		one := r.up(1)[0]
		r.deleteTag(GroupTag("ci"))
		r.want(1)
		r.run(2 * time.Minute)
		if got := r.in(Running); len(got) != 2 {
			t.Fatalf("running: %v", got)
		}
		r.tagged(r.in(Running)...)
		for _, name := range r.in(Running) {
			if name != one {
				r.decrease(name)
			}
		}
		r.run(20 * time.Second)
		r.want(1)
		r.change(r.only(one).ID, func(m *machine) { m.Tags, m.foreign = []string{CommonTag, RunTag(thisRun)}, true })
		r.run(2 * time.Minute)
		if got := r.in(Running); len(got) != 1 || slices.Contains(got, one) {
			t.Errorf("running: %v; %s was untagged by hand", got, one)
		}
	})
}

// The create that makes the tag again need not be answered for that.
func TestGroupTagMadeByACreateUnderWay(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		one := r.up(1)[0]
		r.deleteTag(GroupTag("ci"))
		r.script("create", fault{hang: true, applied: true})
		done := make(chan int)
		go func() {
			n, _ := r.Increase(ctx, 1)
			done <- n
		}()
		time.Sleep(time.Second)
		for range 5 {
			time.Sleep(2 * time.Second)
			r.update()
		}
		r.pending += <-done
		r.run(2 * time.Minute)
		r.told(one, Creating, Running)
		r.tagged(one)
	})
}

// All tags of the plugin are deleted at once, so that no list has any Droplet: those that
// it knows by their id get the group's back, and nothing is asked again and again.
func TestAllTagsDeleted(t *testing.T) {
	for _, n := range []int{1, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(n)
				r.deleteTag(GroupTag("ci"))
				r.deleteTag(CommonTag)
				lists, gets := r.requests("list"), r.requests("get")
				r.run(2 * time.Minute)
				r.tagged(names...)
				r.want(1)
				r.run(2 * time.Minute)
				for _, name := range names {
					r.told(name, Creating, Running)
				}
				r.says("WARN", tagPutBack, fmt.Sprintf("droplets=%d", n))
				if asked, lists, gets := r.requests("has tag"), r.requests("list")-lists, r.requests("get")-gets; asked > 2 || lists > 130 || gets > 2*n {
					t.Errorf("the tag was asked for %d times; %d lists, %d look-ups", asked, lists, gets)
				}
			})
		})
	}
}

// Gone from the account while a create was not answered clearly, and a DELETE was
// accepted and not carried out: neither list proves anything of these.
func TestGroupTagDeletedMeanwhile(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(3)
		r.run(time.Minute)
		r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 1 })
		r.decrease(names[0])
		r.script("create", fault{err: unclear, applied: true})
		r.want(1)
		r.deleteTag(GroupTag("ci"))
		r.run(40 * time.Second) // the oracle would tell if what lives were called deleted
		r.told(names[0], Creating, Running, Deleting)
		if got := r.in(Running); len(got) != 3 {
			t.Errorf("running: %v", r.states)
		}
		r.tagged(r.in(Running)...)
		r.run(2 * time.Minute)
		r.told(names[0], Creating, Running, Deleting, Deleted)
	})
}

// The account may refuse the tag, or not answer. All count as alive until it is back.
func TestGroupTagCannotBePutBack(t *testing.T) {
	for op, f := range map[string]fault{
		"tagging": {err: refusal(ErrForbidden)},
		"list":    {err: unclear}, // the second one, which is to find them
		"has tag": {err: unclear},
	} {
		t.Run(op, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				n := 3
				if op == "has tag" {
					n = 1 // of several the lists tell
				}
				names := r.up(n)
				r.deleteTag(GroupTag("ci"))
				if op == "list" {
					r.update()
					time.Sleep(2 * time.Second)
					r.script("list", f, f, f)
				} else {
					r.breakOp(op, f)
				}
				r.run(3 * time.Minute)
				for _, name := range names {
					r.told(name, Creating, Running)
				}
				if op != "list" {
					if n := r.log.count("ERROR", "could not be put back"); n == 0 || n > 4 {
						t.Errorf("told %d times", n)
					}
					if n := r.requests("get"); n > 40 {
						t.Errorf("%d look-ups in three minutes", n)
					}
				}
				r.heal(op)
				r.run(time.Minute + 10*time.Second)
				r.tagged(names...)
				r.says(tagPutBack, names[0])
			})
		})
	}
}

// A tag that is taken off one Droplet is meant, and so is one that a token may not
// ask for: let go, after the account was asked once.
func TestGroupTagTakenOffOne(t *testing.T) {
	for _, forbidden := range []bool{false, true} {
		scenario(t, spec(nil), func(r *runner) {
			if forbidden {
				r.breakOp("has tag", fault{err: refusal(ErrForbidden)})
			}
			names := r.up(3)
			r.change(r.only(names[0]).ID, func(m *machine) { m.Tags, m.foreign = []string{CommonTag}, true })
			r.run(50 * time.Second)
			r.told(names[0], Creating, Running, Deleted)
			r.told(names[1], Creating, Running)
			if n := r.requests("has tag"); n != 1 {
				t.Errorf("the tag was asked for %d times", n)
			}
		})
	}
}

// Everything was destroyed from outside, which looks the same at first.
func TestFleetDestroyedFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunner(t, spec(nil), newAccount(t))
		r.start()
		names := r.up(3)
		for _, name := range names {
			r.change(r.only(name).ID, r.destroyed)
		}
		r.run(6 * time.Second)
		for _, name := range names {
			r.told(name, Creating, Running, Deleted)
		}
		lists := r.received("list")
		if n := len(slices.DeleteFunc(lists, func(c call) bool { return c.tag != CommonTag })); n != 1 {
			t.Errorf("%d lists looked for them, want 1", n)
		}
		if r.log.count("put back") != 0 {
			t.Error("a tag was put back on nothing")
		}
	})
}

// Lists lack what was made seconds before the tag is deleted, also the one that finds
// the others: it is looked for again. Its create may not even have been answered.
func TestGroupTagDeletedAfterACreate(t *testing.T) {
	for name, f := range map[string][]fault{"answered": nil, "not answered": {{err: unclear, applied: true}}} {
		for _, lag := range []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second} {
			t.Run(fmt.Sprint(name, ", ", lag), func(t *testing.T) {
				scenario(t, spec(nil), func(r *runner) {
					r.up(2)
					r.createLag = lag
					r.script("create", f...)
					r.want(2)
					r.update()
					r.deleteTag(GroupTag("ci"))
					r.run(4 * time.Second)
					r.want(1) // makes the tag again
					r.run(3 * time.Minute)
					if got := r.in(Running); len(got) != 5 || r.billed() != 5 {
						t.Errorf("running: %v; on the account: %d", got, r.billed())
					}
					r.tagged(r.in(Running)...)
					if n := len(slices.DeleteFunc(r.received("list"), func(c call) bool { return c.tag != CommonTag })); n > 6 {
						t.Errorf("%d lists looked for them", n)
					}
				})
			})
		}
	}
}

// The same with lists far between, as when requests are scarce; and the names of a
// create that was not carried out are given up all the same, although nobody can put the
// tag back.
func TestGroupTagDeletedAfterAnUnansweredCreate(t *testing.T) {
	for _, applied := range []bool{true, false} {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(2)
			r.createLag = 5 * time.Second
			r.script("create", fault{err: unclear, applied: applied})
			r.want(2)
			r.update()
			r.deleteTag(GroupTag("ci"))
			if !applied {
				r.breakOp("tagging", fault{err: refusal(ErrForbidden)})
			}
			time.Sleep(2 * time.Second)
			r.update()
			time.Sleep(62 * time.Second) // no list
			r.run(3 * time.Minute)
			if got := r.in(Running); applied && len(got) != 4 || !applied && !slices.Equal(got, names) || len(r.states) != len(got) || r.billed() != len(got) {
				t.Errorf("applied %v: %v; on the account: %d", applied, r.states, r.billed())
			}
		})
	}
}

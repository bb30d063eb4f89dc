package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// asked counts the requests of op so far.
func (r *runner) asked(op string) int { return len(r.received(op)) }

// Some runners call Update without any pause. An Update begins 500 ms after the
// last one ended, and lists are 1.5 s apart at the least.
func TestUpdateIsPaced(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = 0
		began := time.Now()
		updates := 0
		for time.Since(began) < time.Minute && updates < 1000 {
			r.update()
			updates++
		}
		if updates != 121 {
			t.Errorf("%d Updates in a minute, want one at once and then two a second", updates)
		}
		if n := r.asked("list") - 1; n != 40 {
			t.Errorf("%d lists in a minute, want 40", n)
		}
	})
}

// A group to which nothing happens asks for lists and for nothing else.
func TestQuietGroupOnlyLists(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.Project = "p" }), func(r *runner) {
		names := r.up(20)
		r.decrease(names[:15]...)
		r.run(5 * time.Minute) // the delete tag goes
		before := len(r.calls)
		lists := r.asked("list")
		r.run(10 * time.Minute)
		if all, lists := len(r.calls)-before, r.asked("list")-lists; all != lists || lists != 300 {
			t.Errorf("%d requests in ten minutes, %d of them lists; want 300 lists", all, lists)
		}
	})
}

// Between lists Update shows what happened since the last one.
func TestUpdateBetweenLists(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(2)
		r.account.limit, r.remaining = 5000, 600 // lists are 10 s apart
		r.run(10 * time.Second)
		before := r.asked("list")
		for r.asked("list") == before {
			r.update()
		}
		before++
		r.decrease(names[0])
		r.want(10)
		r.run(2 * time.Second)
		if n := r.asked("list"); n != before {
			t.Fatalf("%d lists; the test wants none", n-before)
		}
		r.told(names[0], Creating, Running, Deleting)
		if got := r.in(Creating); len(got) != 10 {
			t.Errorf("creating: %v", got)
		}
	})
}

// Instances are shown in the order in which they appeared.
func TestUpdateOrder(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		var want []string
		for range 5 {
			r.want(1)
			for _, m := range r.machine {
				if line := m.Name + " creating"; !slices.Contains(want, line) {
					want = append(want, line)
				}
			}
		}
		if d := cmp.Diff(want, r.update()); d != "" {
			t.Errorf("shown (-want +got):\n%s", d)
		}
	})
}

// While lists fail the last one is shown, for a minute; then Update fails, which
// stops the runner from provisioning blindly. Nothing is called deleted for it,
// and deletes go on.
func TestListFails(t *testing.T) {
	for name, f := range map[string]fault{"5xx": {err: unconfirmed}, "429": {err: refusal(ErrRateLimited)}, "hangs": {hang: true}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(2)
				r.breakOp("delete", fault{err: unconfirmed})
				r.undestroyed(names[1])
				r.breakOp("list", f)
				last := r.listing.began
				for time.Since(last) < 3*time.Minute {
					_, err := r.tryUpdate()
					switch stale := time.Since(last); {
					case stale <= 60*time.Second && err != nil:
						t.Errorf("%s after the last list: %v", stale, err)
					case stale > 61*time.Second && err == nil:
						t.Errorf("%s after the last list it is still shown", stale)
					case stale > 90*time.Second:
						r.heal("delete")
					}
					time.Sleep(time.Second)
				}
				// Counted, once a minute.
				if n := r.log.count("listing fails"); n != 3 && n != 4 && (name != "429" || n != 2) {
					t.Errorf("%d lines in three minutes of failure", n)
				}
				if n := r.billed(); n != 1 {
					t.Errorf("%d Droplets live: deletes wait for lists", n)
				}
				r.heal("list")
				time.Sleep(2 * time.Second)
				r.run(4 * time.Second)
				r.told(names[0], Creating, Running)
				r.says("listing works again")
			})
		})
	}
}

// A refused token does not heal with time: Update says so at once.
func TestListRefused(t *testing.T) {
	for _, class := range []error{ErrUnauthorized, ErrForbidden, ErrOtherAccount} {
		scenario(t, spec(nil), func(r *runner) {
			r.up(1)
			time.Sleep(2 * time.Second)
			r.breakOp("list", fault{err: refusal(class)})
			for range 3 {
				if _, err := r.tryUpdate(); !errors.Is(err, class) {
					t.Errorf("Update: %v, want %v", err, class)
				}
			}
		})
	}
}

// later is an answer that asks to wait.
func later(class error, d time.Duration) *CloudError {
	return &CloudError{Class: class, Op: "OP", Status: 429, Message: "later", RetryAfter: d}
}

// TestRetryAfterIsBounded: DigitalOcean's wish to wait is honoured, for up to a
// minute: then one request tries.
func TestRetryAfterIsBounded(t *testing.T) {
	for asks, want := range map[time.Duration]time.Duration{30 * time.Second: 30 * time.Second, time.Hour: time.Minute} {
		for _, class := range []error{ErrRateLimited, ErrUnconfirmed, ErrInvalid} {
			for _, op := range []string{"list", "create", "delete"} {
				t.Run(fmt.Sprint(op, " ", class, " ", asks), func(t *testing.T) {
					scenario(t, spec(nil), func(r *runner) {
						name := r.up(1)[0]
						time.Sleep(2 * time.Second)
						r.breakOp(op, fault{err: later(class, asks)})
						before := r.asked(op)
						var at []time.Time
						for began := time.Now(); time.Since(began) < 3*time.Minute; time.Sleep(time.Second) {
							switch op {
							case "create":
								_, _ = r.Increase(ctx, 1)
							case "delete":
								_, _ = r.tryDecrease(name)
							}
							_, _ = r.tryUpdate()
							if n := r.asked(op); n > before {
								at, before = append(at, time.Now()), n
							}
						}
						if op == "create" && !errors.Is(class, ErrInvalid) {
							return // an unconfirmed one is no refusal; what the token cannot afford the Cloud does not send
						}
						if len(at) < 2 {
							t.Fatalf("asked %d times in three minutes", len(at))
						}
						if d := at[1].Sub(at[0]); d < want-2*time.Second || d > want+5*time.Second {
							t.Errorf("asked again after %s, want %s", d, want)
						}
					})
				})
			}
		}
	}
}

// TestGroupTagDeleted: somebody deletes the group's tag from the account, which
// takes it off every Droplet. A list by the tag of all groups finds them: no job
// dies of it, and lists go by that tag until none lacks the group's.
func TestGroupTagDeleted(t *testing.T) {
	for _, n := range []int{1, 2, 150} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				stranger := machine{Droplet: Droplet{Name: "big-aaaaaaaaa1", Tags: []string{CommonTag, GroupTag("big")}}, foreign: true}
				r.add(stranger)
				names := r.up(n)
				time.Sleep(2 * time.Second)
				before := r.asked("list")
				r.deleteTag(GroupTag("ci"))
				r.run(time.Minute)
				byGroup := 0
				for _, c := range r.received("list")[before:] {
					if c.tag == GroupTag("ci") {
						byGroup++
					}
				}
				if gets, lists := r.asked("get"), r.asked("list")-before; lists > 31 || byGroup != 1 || gets != 0 {
					t.Errorf("%d lists, %d by the group's tag, %d look-ups", lists, byGroup, gets)
				}
				r.says("WARN", "have lost its tag", "tag=fleeting-group:ci")

				r.want(1)
				r.run(time.Minute)
				var added string
				for _, name := range r.in(Running) {
					if !slices.Contains(names, name) {
						added = name
					}
				}
				if added == "" || !Owns("ci", r.only(added).Droplet) {
					t.Fatalf("the new Droplet %q has not the group's tags", added)
				}
				for _, name := range names {
					r.told(name, Creating, Running)
				}

				r.decrease(names...)
				r.run(20 * time.Second)
				if left := r.billed(); left != 1 || len(r.in(Running)) != 1 {
					t.Errorf("%d are left, want the new one: %v", left, r.states)
				}
				lists := r.received("list")
				if last := lists[len(lists)-1]; last.tag != GroupTag("ci") {
					t.Errorf("lists go by %s, and nothing lacks the group's tag", last.tag)
				}
			})
		})
	}
}

// TestEmptyListIsNotBelieved: lists may lack everything that lives, for want of
// every tag or because DigitalOcean answers wrongly. Nothing is called deleted, nor
// deleted: each is looked up, twenty in one Update, and rarely once it was found.
func TestEmptyListIsNotBelieved(t *testing.T) {
	for what, lose := range map[string]func(r *runner){
		"all tags are deleted": func(r *runner) {
			r.deleteTag(GroupTag("ci"))
			r.deleteTag(CommonTag)
		},
		"lists are empty": func(r *runner) {
			for _, m := range r.machine {
				r.change(m.ID, func(m *machine) { m.hidden = true })
			}
		},
		"the second list fails": func(r *runner) {
			for _, m := range r.machine {
				r.change(m.ID, func(m *machine) { m.hidden = true })
			}
			r.script("list", fault{applied: true}, fault{err: unconfirmed})
		},
	} {
		t.Run(what, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(51)
				r.run(time.Minute)
				// That lists lack it does not prove that an accepted DELETE was carried out.
				deaf, names := names[0], names[1:]
				r.change(r.only(deaf).ID, func(m *machine) { m.deafTo = 1 })
				r.decrease(deaf)
				lose(r)
				r.update()
				if n := r.asked("get"); n != 20 {
					t.Errorf("%d look-ups in one Update, want 20", n)
				}
				r.run(40 * time.Second)
				r.told(deaf, Creating, Running, Deleting)
				r.run(140 * time.Second)
				r.told(deaf, Creating, Running, Deleting, Deleted)
				looked := map[int64]int{}
				for _, c := range r.received("get") {
					looked[c.id]++
				}
				for _, name := range names {
					r.told(name, Creating, Running)
					if n := looked[r.only(name).ID]; n < 3 || n > 4 {
						t.Errorf("%s was looked up %d times in three minutes, want once a minute", name, n)
					}
				}
				if r.Count() != 50 || r.deletes() != "0 to tag, 0 by tag, 2 by id" {
					t.Errorf("the group counts %d of 50; %s", r.Count(), r.deletes())
				}
				r.want(1)
				r.run(40 * time.Second)
				if n := len(r.in(Running)); n != 51 {
					t.Errorf("%d are running, want 51", n)
				}
			})
		})
	}
}

// TestVanishTogether: one 404 is not believed of Droplets that vanish together; a
// second one half a minute later is, and the first of one that vanishes alone.
func TestVanishTogether(t *testing.T) {
	for name, wrong := range map[string]struct {
		lists int // that are empty
		gets  int // that are 404
	}{"one wrong answer each": {2, 5}, "for 20 s": {22, 100}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(5)
				r.script("list", make([]fault, wrong.lists)...) // not carried out, and no error
				r.script("get", make([]fault, wrong.gets)...)
				r.run(20 * time.Second)
				if r.heal("get"); r.asked("get") != 5 {
					t.Errorf("%d look-ups, want one of each", r.asked("get"))
				}
				r.run(2 * time.Minute)
				for _, name := range names {
					r.told(name, Creating, Running)
				}
				if r.Count() != 5 || r.asked("delete") != 0 {
					t.Errorf("%d of 5 are counted, %d DELETEs", r.Count(), r.asked("delete"))
				}
			})
		})
	}
	for _, n := range []int{1, 2, 5} {
		t.Run(fmt.Sprintf("%d of 5 are gone", n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(5)
				for _, name := range names[:n] {
					r.change(r.only(name).ID, r.destroyed)
				}
				r.run(30 * time.Second)
				if n > 1 {
					for _, name := range names {
						r.told(name, Creating, Running)
					}
					r.run(10 * time.Second)
				} else if r.asked("get") != 1 {
					t.Errorf("%d look-ups of one that vanished alone", r.asked("get"))
				}
				for _, name := range names[:n] {
					r.told(name, Creating, Running, Deleted)
				}
				for _, name := range names[n:] {
					r.told(name, Creating, Running)
				}
				first := map[int64]time.Time{}
				for _, c := range r.received("get") {
					if before, again := first[c.id]; again && c.at.Sub(before) < 30*time.Second {
						t.Errorf("looked up again after %s", c.at.Sub(before))
					}
					first[c.id] = c.at
				}
			})
		})
	}
}

// A look-up that fails proves nothing.
func TestLookUpFails(t *testing.T) {
	for _, f := range []fault{{err: unconfirmed}, {hang: true}, {err: refusal(ErrForbidden)}, {err: refusal(ErrRateLimited)}, {err: refusal(ErrOtherAccount)}} {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			r.breakOp("get", f)
			r.change(r.only(name).ID, r.destroyed)
			for range 20 {
				r.update()
				time.Sleep(time.Second)
			}
			r.told(name, Creating, Running)
			r.heal("get")
			r.run(12 * time.Second)
			r.told(name, Creating, Running, Deleted)
		})
	}
}

// However many are missing, and whatever look-ups answer, each has its turn.
func TestEveryMissingOneIsLookedUp(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(150)
		r.breakOp("get", fault{err: unconfirmed})
		for _, name := range names {
			r.change(r.only(name).ID, func(m *machine) { m.hidden = true })
		}
		r.run(20 * time.Second)
		looked := map[int64]bool{}
		for _, c := range r.received("get") {
			looked[c.id] = true
		}
		if len(looked) != 150 {
			t.Errorf("%d of 150 were looked up", len(looked))
		}
	})
}

// An entry can slip between the pages of a list. What was deleted is called gone
// after the second list without it.
func TestPagedListTakesTwoToProve(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.perPage, r.deleteLag = 1, 0
		names := r.up(3)
		r.run(90 * time.Second) // a younger one would be looked up
		id := r.only(names[0]).ID
		r.change(id, func(m *machine) { m.deafTo = 1 })
		r.decrease(names[0])
		r.change(id, func(m *machine) { m.hidden = true })
		lists := r.asked("list")
		for r.asked("list") == lists {
			r.update()
		}
		r.told(names[0], Creating, Running, Deleting)
		r.change(id, func(m *machine) { m.hidden = false })
		r.run(30 * time.Second)
		r.told(names[0], Creating, Running, Deleting)
		r.run(60 * time.Second)
		r.told(names[0], Creating, Running, Deleting, Deleted)
	})
}

// When nobody waits for an Update any more, what it had to tell is kept, and it
// says nothing of DigitalOcean.
func TestCancelledUpdate(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.change(r.only(name).ID, r.destroyed)
		time.Sleep(5 * time.Second)
		for _, op := range []string{"list", "get"} {
			r.script(op, fault{applied: true, hang: true})
			canceled, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			err := r.Update(canceled, func(id string, s State) { t.Errorf("%s was shown as %s to nobody", id, s) })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Update: %v", err)
			}
			time.Sleep(12 * time.Second)
		}
		if n := r.log.count("listing fails"); n != 0 {
			t.Error("a cancelled list was logged as a failure")
		}
		r.run(2 * time.Second)
		r.told(name, Creating, Running, Deleted)
	})
}

// Concurrent calls of everything, for the race detector and the oracles.
func TestConcurrentCalls(t *testing.T) {
	scenario(t, spec(func(s *Settings) {
		s.Project, s.MaxInstances = "p", 30
		var saving int
		s.Save = func(map[string]int64) { saving++ } // calls do not overlap
	}), func(r *runner) {
		done := make(chan bool)
		for i := range 4 {
			go func() {
				defer func() { done <- true }()
				for k := range 30 {
					if n, err := r.Increase(ctx, 1+i); n > 1+i || n > 0 && err != nil {
						t.Errorf("Increase = %d, %v", n, err)
					}
					var names []string
					err := r.Update(ctx, func(name string, s State) {
						if s == Running {
							names = append(names, name)
						}
					})
					if err != nil {
						t.Errorf("Update: %v", err)
					}
					for _, name := range names {
						_ = r.Health(name)
						_, _ = r.Droplet(ctx, name)
					}
					if len(names) > 0 {
						if _, err := r.Decrease(ctx, names[k%len(names):]); err != nil {
							t.Errorf("Decrease: %v", err)
						}
					}
					if n := r.billed(); n > 30 {
						t.Errorf("%d Droplets, max_instances is 30", n)
					}
				}
			}()
		}
		for range 4 {
			<-done
		}
	})
}

// Every call returns within its bound when DigitalOcean answers nothing at all,
// and none leaves a goroutine (the bubble would not end).
func TestBoundsWhenDigitalOceanHangs(t *testing.T) {
	s := spec(func(s *Settings) {
		s.ImageTag, s.Project, s.DeadRuns, s.MaxInstances = "golden", "p", []string{"dead"}, 1000
		s.Keys = func(ctx context.Context, refused bool) ([]string, error) { return []string{"1"}, ctx.Err() }
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.images = []TaggedImage{{ID: 1, Regions: []string{"nyc1"}}}
		r := newRunner(t, s, a)
		r.start()
		names := r.up(30)
		time.Sleep(10 * time.Minute) // the image is due again
		r.update()
		r.hangAll()
		began := time.Now()
		for range 4 {
			n, err := r.increase(150)
			if n == 0 && err == nil {
				t.Error("Increase of an account that hangs: 0 and no error")
			}
			_, _ = r.tryDecrease(names[:15]...)
			_, _ = r.tryUpdate()
			r.within(9*time.Second, "Droplet", func() {
				ctx, cancel := context.WithTimeout(ctx, 9*time.Second)
				defer cancel()
				_, _ = r.Droplet(ctx, r.in(Creating)[0])
			})
		}
		if r.shutdown() {
			t.Error("Shutdown says that nothing is left")
		}
		if total := time.Since(began); total < time.Minute {
			t.Errorf("the calls took %s together: they did not hang", total)
		}
	})
}

// A call that has to wait for another one does not take longer for it.
func TestBoundOfWaitingCalls(t *testing.T) {
	for name, call := range map[string]func(r *runner){
		"Update":   func(r *runner) { _ = r.Update(ctx, func(string, State) {}) },
		"Increase": func(r *runner) { _, _ = r.Increase(ctx, 1) },
	} {
		scenario(t, spec(nil), func(r *runner) {
			r.undestroyable(r.up(1)[0])
			time.Sleep(6 * time.Second)
			r.hangAll()
			done := make(chan bool)
			for range 3 {
				go func() {
					r.within(15*time.Second, name, func() { call(r) })
					done <- true
				}()
				time.Sleep(100 * time.Millisecond)
			}
			for range 3 {
				<-done
			}
		})
	}
}

package instancegroup

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The whole life of an instance, as the runner and the account see it.
func TestLife(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(3)
		r.decrease(names...)
		r.run(10 * time.Second)
		for _, name := range names {
			r.told(name, Creating, Running, Deleting, Deleted)
			r.says("Droplets requested", name)
			r.says("Droplet is active", name)
			r.says("Droplet is being deleted", name, "reason=the runner asked for it", "request_id=req-delete")
			r.says("Droplet is gone", name)
		}
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
		if n := r.Count(); n != 0 {
			t.Errorf("the group counts %d Droplets", n)
		}
	})
}

// A create that was not confirmed counts as accepted until lists settle
// it, and its names are never sent again.
func TestUnconfirmedCreate(t *testing.T) {
	faults := map[string]fault{
		"5xx":     {err: unconfirmed},
		"timeout": {hang: true},
	}
	for name, f := range faults {
		t.Run(name+", applied", func(t *testing.T) {
			f.applied = true
			scenario(t, spec(nil), func(r *runner) {
				r.createLag = 8 * time.Second
				r.script("create", f)
				r.want(3)
				r.run(time.Minute)
				if got := r.in(Running); len(got) != 3 || r.billed() != 3 {
					t.Errorf("running: %v; on the account: %d", got, r.billed())
				}
				r.decrease(r.in(Running)...)
				r.run(10 * time.Second)
				for _, name := range r.names() {
					r.told(name, Creating, Running, Deleting, Deleted)
				}
			})
		})
		t.Run(name+", not applied", func(t *testing.T) {
			f.applied = false
			scenario(t, spec(nil), func(r *runner) {
				r.script("create", f)
				r.want(3)
				r.run(58 * time.Second)
				if got := r.in(Creating); len(got) != 3 {
					t.Errorf("within the first minute these are creating: %v", got)
				}
				r.run(10 * time.Second)
				for _, name := range r.names() {
					r.told(name, Creating, Deleted)
					r.says("WARN", "a Droplet was never made", name)
				}
				r.want(3) // there is room again
			})
		})
	}
}

// Only complete lists count for the minute: while lists fail nothing is settled.
func TestUnconfirmedNameOutlivesFailingLists(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.script("create", fault{err: unconfirmed, applied: true})
		r.want(1)
		r.createLag = time.Hour
		r.run(4 * time.Second)
		r.breakOp("list", fault{err: unconfirmed})
		for range 30 {
			_, _ = r.tryUpdate() // fails when the last list is too old
			time.Sleep(2 * time.Second)
		}
		r.createLag = 0
		r.heal("list")
		r.run(30 * time.Second)
		if len(r.in(Running)) != 1 {
			t.Errorf("states: %v", r.states)
		}
	})
}

// The answer of a create may leave out names: these may exist too.
func TestNamesMissingFromAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		r := newRunner(t, spec(nil), a)
		r.through = forgetful{a}
		r.start()
		r.want(3)
		r.run(40 * time.Second)
		if got := r.in(Running); len(got) != 3 {
			t.Errorf("running: %v, want all three", got)
		}
	})
}

// A list that is under way during a create may have its Droplets already, or
// not have them yet. Neither confuses anything.
func TestListDuringCreate(t *testing.T) {
	for _, f := range []fault{{}, {applied: true, err: unconfirmed}, {applied: true, err: refusal(ErrInvalid)}} {
		scenario(t, spec(nil), func(r *runner) {
			time.Sleep(10 * time.Second)
			slow := &slowCreate{account: r.account, answer: 4 * time.Second, f: f}
			r.through = slow
			r.start()
			done := make(chan int)
			go func() {
				n, err := r.Increase(ctx, 2)
				if err != nil {
					t.Errorf("Increase: %v", err)
				}
				done <- n
			}()
			r.run(3 * time.Second) // lists have the Droplets, the answer is not there
			if len(r.states) != 0 {
				t.Errorf("shown before Increase has returned: %v", r.states)
			}
			if n := <-done; n != 2 {
				t.Errorf("Increase = %d, want 2: lists have shown that both exist", n)
			}
			r.pending = 2
			r.run(30 * time.Second)
			if got := r.in(Running); len(got) != 2 || r.billed() != 2 {
				t.Errorf("running: %v; on the account: %d", got, r.billed())
			}
		})
	}
}

// A create was accepted, and lists never show it. After a minute it is looked
// up, and only a 404 ends it.
func TestAcceptedAndNeverListed(t *testing.T) {
	t.Run("404", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.createLag = time.Hour
			r.want(1)
			r.update()
			name := r.names()[0]
			r.change(r.only(name).ID, r.destroyed) // it failed
			r.run(58 * time.Second)
			r.told(name, Creating)
			if n := len(r.received("get")); n != 0 {
				t.Errorf("%d look-ups within a minute, want none", n)
			}
			r.run(10 * time.Second)
			r.told(name, Creating, Deleted)
		})
	})
	t.Run("200", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.createLag = 5 * time.Minute
			r.want(1)
			r.run(90 * time.Second)
			name := r.names()[0]
			r.told(name, Creating, Running) // it is known by its look-up
			r.run(5 * time.Minute)
			r.decrease(name)
			r.run(12 * time.Second)
			r.told(name, Creating, Running, Deleting, Deleted)
			if n := len(r.received("get")); n > 10 {
				t.Errorf("%d look-ups in five minutes", n)
			}
		})
	})
	t.Run("untaggable", func(t *testing.T) {
		// Never tagged, so that lists cannot have it: it is ours by its id.
		scenario(t, spec(nil), func(r *runner) {
			r.cloud = tagless{r.account}
			r.want(1)
			r.run(90 * time.Second)
			name := r.names()[0]
			r.told(name, Creating, Running)
			r.decrease(name)
			r.run(90 * time.Second)
			r.told(name, Creating, Running, Deleted) // a look-up shows that it is gone before the runner looks again
		})
	})
}

// A DELETE may be accepted and not carried out, and lists may not have shown
// the Droplet yet. That a list lacks it proves nothing then.
func TestDestroyedBeforeListed(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.createLag = 10 * time.Second
		r.want(1)
		r.update()
		name := r.names()[0]
		r.change(r.only(name).ID, func(m *machine) { m.deafTo = 1 })
		r.decrease(name)
		r.run(50 * time.Second)
		r.told(name, Creating, Deleting) // the runner's oracle would tell if it were called deleted
		r.run(30 * time.Second)
		r.told(name, Creating, Deleting, Deleted)
	})
}

// Nor does it after a minute: then it is looked up.
func TestDestroyedLongBeforeListed(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.createLag = 100 * time.Second
		r.want(1)
		r.update()
		name := r.names()[0]
		r.change(r.only(name).ID, func(m *machine) { m.deafTo = 2 })
		r.decrease(name)
		r.run(170 * time.Second)
		r.told(name, Creating, Deleting)
		r.run(30 * time.Second)
		r.told(name, Creating, Deleting, Deleted)
	})
}

// The same, and its first DELETE destroyed it, so that lists never show it.
func TestDestroyedAndNeverListed(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.createLag = 10 * time.Second
		r.want(1)
		r.update()
		r.decrease(r.names()...)
		r.run(70 * time.Second)
		r.told(r.names()[0], Creating, Deleting, Deleted)
	})
}

// A create that was accepted and listed can fail later: then it is 404 for good.
func TestFailedLater(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.want(1)
		r.run(5 * time.Second)
		name := r.names()[0]
		r.change(r.only(name).ID, r.destroyed)
		r.run(5 * time.Second)
		r.told(name, Creating, Deleted)
	})
}

// A Droplet that is still new after create_timeout is destroyed.
func TestStuckInNew(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.CreateTimeout = 3 * time.Minute }), func(r *runner) {
		r.want(1)
		r.update()
		name := r.names()[0]
		r.change(r.only(name).ID, func(m *machine) { m.stuck = true })
		r.run(175 * time.Second)
		r.told(name, Creating)
		r.run(15 * time.Second)
		r.told(name, Creating, Deleting, Deleted)
		r.says("Droplet will be deleted", "still new 3m", "(create_timeout)")
	})
}

// create_timeout is for what has never run: a Droplet whose networks are missing
// from one answer, or that is new again for a while, keeps its jobs.
func TestRunningIsNotGivenUp(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.CreateTimeout = time.Minute }), func(r *runner) {
		name := r.up(1)[0]
		r.run(time.Minute)
		id := r.only(name).ID
		before, err := r.Droplet(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		r.change(id, func(m *machine) { m.stuck, m.Status = true, StatusActive; m.PublicIPv4, m.PrivateIPv4 = "", "" })
		r.run(time.Minute)
		after, err := r.Droplet(ctx, name)
		if err != nil || after.PublicIPv4 != before.PublicIPv4 {
			t.Errorf("address %q, was %q (%v)", after.PublicIPv4, before.PublicIPv4, err)
		}
		r.change(id, func(m *machine) { m.Status = StatusNew })
		r.run(time.Minute)
		r.told(name, Creating, Running)
	})
}

// Powered off in lists 30 s apart: destroyed, since it is billed like running. A
// reboot is off for seconds.
func TestPoweredOff(t *testing.T) {
	for _, status := range []string{StatusOff, StatusArchive} {
		t.Run(status, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				name := r.up(1)[0]
				id := r.only(name).ID
				for range 3 { // reboots
					r.change(id, func(m *machine) { m.Status = status })
					r.run(26 * time.Second)
					if r.Health(name) == nil {
						t.Error("healthy while it is off")
					}
					r.change(id, func(m *machine) { m.Status = StatusActive })
					r.run(4 * time.Second)
					if err := r.Health(name); err != nil {
						t.Errorf("unhealthy when it is back: %v", err)
					}
				}
				r.told(name, Creating, Running)

				r.change(id, func(m *machine) { m.Status, m.deafTo = status, 1 })
				r.run(40 * time.Second)
				r.told(name, Creating, Running, Deleting)
				r.run(64 * time.Second) // the second DELETE is carried out
				r.told(name, Creating, Running, Deleting, Deleted)
				r.says("Droplet will be deleted", "powered off")
			})
		})
	}
}

// Destroyed from outside: as soon as a list lacks it, a look-up proves it.
func TestDestroyedFromOutside(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.change(r.only(name).ID, r.destroyed)
		r.run(6 * time.Second)
		r.told(name, Creating, Running, Deleted)
		if n := len(r.received("delete")); n != 0 {
			t.Errorf("%d DELETEs of a Droplet that is gone", n)
		}
		r.says("WARN", "a Droplet vanished", name)
	})
}

// What the runner was never told of is told as creating before it is deleted.
func TestAcceptedIsAlwaysShown(t *testing.T) {
	t.Run("failed before the first Update", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.want(1)
			for _, m := range r.machine {
				r.change(m.ID, r.destroyed)
			}
			time.Sleep(2 * time.Minute)
			r.run(2 * time.Minute)
			if names := r.names(); len(names) != 1 {
				t.Fatalf("told of %v", names)
			}
			r.told(r.names()[0], Creating, Deleted)
		})
	})
	t.Run("listed, and gone by the next", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.deleteLag = 0
			r.run(2 * time.Second)
			r.want(1)
			_ = r.reconcile(ctx, r.list(ctx), nil)
			for _, m := range r.machine {
				r.change(m.ID, r.destroyed)
			}
			time.Sleep(10 * time.Second)
			shown, err := r.tryUpdate()
			if len(shown) != 2 || !strings.HasSuffix(shown[0], " creating") || !strings.HasSuffix(shown[1], " deleted") {
				t.Errorf("shown in one Update: %q, %v; want creating, then deleted", shown, err)
			}
		})
	})
}

// A name that was given up, and rises: destroyed at once, and never shown.
func TestLateRiser(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.script("create", fault{err: unconfirmed})
		r.want(1)
		r.run(70 * time.Second)
		name := r.names()[0]
		r.told(name, Creating, Deleted)
		r.add(owned(thisRun, strings.TrimPrefix(name, "ci-"+thisRun)))
		r.run(3 * time.Second)
		if r.billed() != 0 {
			t.Error("it still lives")
		}
		r.run(10 * time.Second)
		r.told(name, Creating, Deleted)
		r.says("Droplet will be deleted", "it appeared after it was given up")
		if n := r.Count(); n != 0 {
			t.Errorf("the group counts %d", n)
		}
	})
}

// A late riser counts for max_instances until it is gone.
func TestLateRiserTakesRoom(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.MaxInstances = 1 }), func(r *runner) {
		m := owned(thisRun, "aaaaa1")
		m.deafTo = 1
		r.add(m)
		r.run(6 * time.Second)
		if n, err := r.increase(1); n != 0 || err != nil {
			t.Errorf("Increase = %d, %v", n, err)
		}
		r.run(70 * time.Second)
		r.want(1)
	})
}

// Asked to destroy a name whose create was not answered, it destroys whatever
// appears of it.
func TestDecreaseOfUnconfirmedName(t *testing.T) {
	for _, applied := range []bool{true, false} {
		scenario(t, spec(nil), func(r *runner) {
			r.createLag = 20 * time.Second
			r.script("create", fault{applied: applied, err: unconfirmed})
			r.want(2)
			r.update()
			r.decrease(slices.Clone(r.names())...)
			r.run(90 * time.Second)
			for _, name := range r.names() {
				r.told(name, Creating, Deleting, Deleted)
			}
			if r.billed() != 0 {
				t.Errorf("applied=%v: %d Droplets live", applied, r.billed())
			}
		})
	}
}

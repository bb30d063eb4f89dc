package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// shutdown is the runner's last call.
func (r *runner) shutdown() (clean bool) {
	r.t.Helper()
	r.within(18*time.Second, "Shutdown", func() {
		ctx, cancel := context.WithTimeout(ctx, 18*time.Second)
		defer cancel()
		clean = r.Shutdown(ctx)
	})
	return clean
}

func (r *runner) removedOwnTag() bool {
	return slices.ContainsFunc(r.received("tag"), func(c call) bool { return c.tag == RunTag(thisRun) })
}

func TestShutdown(t *testing.T) {
	t.Run("of nothing", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			if !r.shutdown() || !r.removedOwnTag() {
				t.Error("not clean, or the run's tag stays")
			}
			if r.Shutdown(ctx) {
				t.Error("the second Shutdown did something")
			}
			if _, err := r.tryUpdate(); !errors.Is(err, errClosed) {
				t.Errorf("Update after Shutdown: %v", err)
			}
		})
	})

	// The runner does not delete Droplets when it stops, unless told to. They
	// stay, with the tag by which a later start knows them, and their cost is told.
	t.Run("Droplets stay", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.up(3)
			if r.shutdown() || r.billed() != 3 || r.removedOwnTag() {
				t.Error("clean, destroyed or untagged")
			}
			r.says("WARN", "Droplets stay, and are billed", "droplets=3", "usd_per_hour=0.03", "delete_instances_on_shutdown")
		})
	})

	t.Run("deletes that are accepted", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.decrease(r.up(3)...)
			if !r.shutdown() || !r.removedOwnTag() {
				t.Error("not clean, or the run's tag stays")
			}
			if n := len(r.received("delete")); n != 3 {
				t.Errorf("%d DELETEs, want 3: they had been accepted", n)
			}
		})
	})

	// What is owed is sent, whatever pause is due, and refusals are answered by
	// another attempt.
	t.Run("owed deletes", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(3)
			r.breakOp("delete", fault{err: &CloudError{Class: ErrThrottled, RetryAfter: time.Hour}})
			r.undestroyed(names...)
			r.heal("delete")
			r.script("delete", fault{err: unclear})
			if !r.shutdown() || r.billed() != 0 {
				t.Errorf("%d Droplets are left", r.billed())
			}
		})
	})

	t.Run("deletes that are refused for good", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(2)
			r.breakOp("delete", fault{err: refusal(ErrForbidden)})
			r.undestroyed(names...)
			before := len(r.received("delete"))
			if r.shutdown() || r.removedOwnTag() {
				t.Error("clean, or untagged")
			}
			if n := len(r.received("delete")) - before; n != 6 {
				t.Errorf("%d DELETEs, want three for each", n)
			}
			r.says("WARN", "did not accept it: they stay", "droplets=2", names[0], names[1], "rm --group ci")
			if r.log.count("until the next start takes them over") > 0 {
				t.Error("the runner is told to ask for what it has asked for")
			}
		})
	})

	// A name that was not answered may exist: Shutdown looks, and destroys it if
	// the runner has asked for that.
	t.Run("unsettled names", func(t *testing.T) {
		for _, applied := range []bool{true, false} {
			scenario(t, spec(nil), func(r *runner) {
				r.createLag = 2 * time.Second
				r.script("create", fault{applied: applied, err: unclear})
				r.want(2)
				r.update()
				r.decrease(r.names()...)
				if clean := r.shutdown(); clean != applied || r.billed() != 0 {
					t.Errorf("applied %v: clean %v, %d Droplets are left", applied, clean, r.billed())
				}
				if r.removedOwnTag() != applied {
					t.Errorf("applied %v: tag removed %v; it is needed as long as a name may rise", applied, r.removedOwnTag())
				}
			})
		}
	})

	// A call that hangs does not keep Shutdown from its work.
	t.Run("during an Update that hangs", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(2)
			r.breakOp("delete", fault{err: unclear})
			r.undestroyed(names...)
			r.heal("delete")
			r.breakOp("list", fault{hang: true})
			time.Sleep(3 * time.Second)
			done := make(chan bool)
			go func() {
				_ = r.Update(ctx, func(id string, s State) { t.Errorf("%s is shown as %s after Shutdown", id, s) })
				done <- true
			}()
			time.Sleep(time.Second)
			if r.shutdown() || r.billed() != 0 || r.removedOwnTag() {
				t.Errorf("clean or untagged, and no list has shown it; or %d Droplets are left", r.billed())
			}
			<-done
		})
	})

	// An Increase that is under way ends first, and makes no further attempt.
	t.Run("during an Increase", func(t *testing.T) {
		s := spec(func(s *Settings) { s.Placements = []Placement{{"s-1", "nyc1"}, {"s-2", "nyc1"}} })
		scenario(t, s, func(r *runner) {
			r.latency = time.Second
			r.script("create", fault{err: refusal(ErrCapacity)})
			done := make(chan int)
			go func() {
				n, _ := r.Increase(ctx, 1)
				done <- n
			}()
			time.Sleep(500 * time.Millisecond)
			if !r.shutdown() || <-done != 0 || r.billed() != 0 {
				t.Errorf("%d Droplets are left", r.billed())
			}
		})
	})

	// What this process leaves, the next one finds.
	t.Run("then a new start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			r := newRunner(t, spec(nil), a)
			r.start()
			names := r.up(2)
			a.script("create", fault{applied: true, err: unclear})
			r.want(1)
			r.shutdown()
			next := newRunner(t, spec(func(s *Settings) { s.Run, s.DeadRuns = "run00001", []string{thisRun} }), a)
			next.start()
			next.run(30 * time.Second)
			if got := next.in(Running); len(got) != 3 || !slices.Contains(got, names[0]) {
				t.Errorf("running: %v", got)
			}
			next.decrease(next.in(Running)...)
			next.run(10 * time.Second)
			if !next.shutdown() || a.billed() != 0 {
				t.Errorf("%d Droplets are left", a.billed())
			}
			var tags []string
			for _, c := range a.received("tag") {
				tags = append(tags, c.tag)
			}
			slices.Sort(tags)
			if want := []string{"fleeting-delete:run00000", "fleeting-run:run00000", "fleeting-run:run00001"}; !slices.Equal(tags, want) {
				t.Errorf("tags removed: %v, want %v", tags, want)
			}
		})
	})
}

// An accepted DELETE proves nothing: while a Droplet may live the run's tags stay, by
// which others know it, and so does the memory of the run.
func TestShutdownWaitsForProof(t *testing.T) {
	for _, n := range []int{3, 15} { // by id, and by tag
		t.Run(fmt.Sprintf("%d are gone in time", n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(n)
				r.deleteLag = 7 * time.Second
				r.decrease(names...)
				before := time.Now()
				if !r.shutdown() || !r.removedOwnTag() {
					t.Error("not clean, or the run's tag stays")
				}
				if took := time.Since(before); took < r.deleteLag || r.log.count("Droplet is gone") != n {
					t.Errorf("after %s, %d are told to be gone", took, r.log.count("Droplet is gone"))
				}
			})
		})
		t.Run(fmt.Sprintf("%d live on", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				r := newRunner(t, spec(nil), a)
				r.start()
				names := r.up(n)
				for _, name := range names[1:] {
					a.change(r.only(name).ID, func(m *machine) { m.deafTo = 1 })
				}
				r.decrease(names...)
				if r.shutdown() || r.removedOwnTag() {
					t.Error("clean or untagged, and Droplets live")
				}
				r.says("WARN", "has not been seen to do it", fmt.Sprintf("droplets=%d ", n-1), names[1], "ls --group ci")

				// The next run takes them over, and cleans up when they are gone.
				next := newRunner(t, spec(func(s *Settings) { s.Run, s.DeadRuns = "run00001", []string{thisRun} }), a)
				next.start()
				next.run(time.Minute)
				// What went by tag carries it still, and is never offered to a job.
				if got := len(next.in(Running)); n < bulkFrom && got != n-1 || n >= bulkFrom && got != 0 {
					t.Fatalf("running: %v", next.in(Running))
				}
				if n < bulkFrom {
					next.decrease(next.in(Running)...)
				}
				next.run(10 * time.Minute)
				if !next.removedOwnTag() || a.billed() != 0 {
					t.Error("the tag of the ended run stays")
				}
			})
		})
	}
}

// Lists that hang take the time in which they could prove something, and not that for the
// tags of runs that ended before.
func TestShutdownLeavesTimeForTags(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.DeadRuns = []string{"dead0000"} }), func(r *runner) {
		r.decrease(r.up(1)...)
		r.breakOp("list", fault{hang: true})
		ctx, cancel := context.WithTimeout(ctx, 9*time.Second) // what an orphan has
		defer cancel()
		if r.Shutdown(ctx) || r.removedOwnTag() {
			t.Error("clean or untagged, and no list has shown it")
		}
		if !slices.ContainsFunc(r.received("tag"), func(c call) bool { return c.tag == RunTag("dead0000") }) {
			t.Error("the tag of a run that nothing carries stays")
		}
		if r.log.count("the tag of an ended run stays") != 0 {
			t.Error("no time was left for it")
		}
	})
}

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

func TestShutdown(t *testing.T) {
	t.Run("of nothing", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			before := len(r.calls)
			r.within(0, "Shutdown", func() {
				if !r.shutdown() || len(r.calls) != before {
					t.Errorf("not clean, or %d requests", len(r.calls)-before)
				}
			})
			if r.shutdown() {
				t.Error("the second Shutdown did something")
			}
			if _, err := r.tryUpdate(); !errors.Is(err, errClosed) {
				t.Errorf("Update after Shutdown: %v", err)
			}
			if _, err := r.increase(1); !errors.Is(err, errClosed) {
				t.Errorf("Increase after Shutdown: %v", err)
			}
		})
	})

	// The runner does not delete Droplets when it stops, unless it is configured
	// to. They stay, and their cost is logged.
	t.Run("Droplets stay", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.up(3)
			if r.shutdown() || r.billed() != 3 {
				t.Error("clean, or deleted")
			}
			r.says("WARN", "Droplets stay, and are billed", "droplets=3", "usd_per_hour=0.03", "delete_instances_on_shutdown")
		})
	})

	t.Run("deletes that are accepted", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.decrease(r.up(3)...)
			if !r.shutdown() || r.log.count("WARN") != 0 {
				t.Errorf("not clean: %q", r.log.lines)
			}
			r.deletedWith("0 to tag, 0 by tag, 3 by id") // they had been accepted
		})
	})

	// What is owed is sent, whatever pause is due, and refusals are answered by
	// another attempt.
	t.Run("owed deletes", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(3)
			r.breakOp("delete", fault{err: later(ErrInvalid, time.Hour)})
			r.undestroyed(names...)
			r.heal("delete")
			r.script("delete", fault{err: unconfirmed})
			if !r.shutdown() || r.billed() != 0 {
				t.Errorf("%d Droplets are left", r.billed())
			}
		})
	})

	t.Run("deletes that wait for others", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(20)
			r.scarce(2500, 0)
			r.decrease(names...)
			r.within(8*time.Second, "Shutdown", func() {
				if !r.shutdown() || r.billed() != 0 {
					t.Errorf("%d Droplets are left", r.billed())
				}
			})
			r.deletedWith("1 to tag, 1 by tag, 0 by id")
		})
	})

	t.Run("deletes that are refused for good", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(2)
			r.breakOp("delete", fault{err: refusal(ErrForbidden)})
			r.undestroyed(names...)
			before := r.asked("delete")
			if r.shutdown() {
				t.Error("clean")
			}
			if n := r.asked("delete") - before; n != 6 {
				t.Errorf("%d DELETEs, want three for each", n)
			}
			r.says("WARN", "did not accept it: they stay", "droplets=2", names[0], names[1], "usd_per_hour=0.02", "rm --group ci")
			if r.log.count("until the next start takes them over") > 0 {
				t.Error("the hint is to ask for what the runner has asked for")
			}
		})
	})

	// A name that was not confirmed may exist: Shutdown looks, and deletes it if
	// the runner has asked for that.
	t.Run("unconfirmed names", func(t *testing.T) {
		for _, applied := range []bool{true, false} {
			saved := map[string]int64{"unset": 0}
			s := spec(func(s *Settings) { s.Save = func(ids map[string]int64) { saved = ids } })
			scenario(t, s, func(r *runner) {
				r.createLag = 2 * time.Second
				r.script("create", fault{applied: applied, err: unconfirmed})
				r.want(2)
				r.update()
				r.decrease(r.names()...)
				if clean := r.shutdown(); clean != applied || r.billed() != 0 {
					t.Errorf("applied %v: clean %v, %d Droplets are left", applied, clean, r.billed())
				}
				if applied && len(saved) != 0 {
					t.Errorf("saved: %v", saved)
				}
			})
		}
		scenario(t, spec(nil), func(r *runner) { // it is named if it stays
			r.script("create", fault{applied: true, err: unconfirmed})
			r.want(1)
			if r.shutdown() {
				t.Error("clean")
			}
			r.says("WARN", "Droplets stay, and are billed", "droplets=1")
		})
	})

	// A call that hangs does not keep Shutdown from its work.
	t.Run("during an Update that hangs", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(2)
			r.breakOp("delete", fault{err: unconfirmed})
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
			if r.shutdown() || r.billed() != 0 {
				t.Errorf("clean, and no list has shown it; or %d Droplets are left", r.billed())
			}
			<-done
		})
	})

	// An Increase that is under way ends first, and makes no further attempt.
	t.Run("during an Increase", func(t *testing.T) {
		s := spec(func(s *Settings) { s.Placements = []Placement{{"s-1", "nyc1"}, {"s-2", "nyc1"}} })
		for _, refused := range []bool{true, false} {
			scenario(t, s, func(r *runner) {
				r.createLag = time.Hour
				if refused {
					r.script("create", fault{err: refusal(ErrCapacity)})
				} else {
					r.cloud = &slowCreate{account: r.account, answer: 2900 * time.Millisecond}
				}
				go func() { _, _ = r.Increase(ctx, 1) }()
				time.Sleep(20 * time.Millisecond)
				r.breakOp("list", fault{err: refusal(ErrUnsent)})
				if clean := r.shutdown(); clean != refused || r.asked("create") != 1 {
					t.Errorf("refused %v: clean %v after %d creates", refused, clean, r.asked("create"))
				}
				if !refused {
					r.says("WARN", "Droplets stay, and are billed", "droplets=1")
				}
			})
		}
	})

	// What this process leaves, the next one finds.
	t.Run("then a new start", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(2)
			r.script("create", fault{applied: true, err: unconfirmed})
			r.want(1)
			r.shutdown()
			next := newRunner(t, spec(func(s *Settings) { s.Run, s.DeadRuns = "run1", []string{thisRun} }), r.account)
			next.start()
			next.run(30 * time.Second)
			if got := next.in(Running); len(got) != 3 || !slices.Contains(got, names[0]) {
				t.Errorf("running: %v", got)
			}
			next.decrease(next.in(Running)...)
			next.run(10 * time.Second)
			if !next.shutdown() || r.billed() != 0 {
				t.Errorf("%d Droplets are left", r.billed())
			}
		})
	})
}

// TestShutdownWaitsForProof: an accepted DELETE proves nothing. While a Droplet may
// live the delete tag stays, and the group is not clean.
func TestShutdownWaitsForProof(t *testing.T) {
	for _, n := range []int{3, 15} { // by id, and by tag
		tags := n / byTagFrom
		t.Run(fmt.Sprintf("%d are gone in time", n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(n)
				r.deleteLag = 7 * time.Second
				r.decrease(names...)
				before := time.Now()
				if !r.shutdown() || r.asked("tag") != tags {
					t.Errorf("not clean, or %d tags were removed", r.asked("tag"))
				}
				if took := time.Since(before); took < r.deleteLag || r.log.count("Droplet is gone") != n {
					t.Errorf("after %s, %d are gone", took, r.log.count("Droplet is gone"))
				}
			})
		})
		t.Run(fmt.Sprintf("%d live on", n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(n)
				for _, name := range names[1:] {
					r.change(r.only(name).ID, func(m *machine) { m.deafTo = 1 })
				}
				r.decrease(names...)
				if r.shutdown() || r.asked("tag") != 0 {
					t.Error("clean or untagged, and Droplets live")
				}
				r.says("WARN", "has not been seen to do it", fmt.Sprintf("droplets=%d ", n-1), names[1], "ls --group ci")

				// The next process takes them over.
				next := newRunner(t, spec(func(s *Settings) { s.Run, s.DeadRuns = "run1", []string{thisRun} }), r.account)
				next.start()
				next.run(time.Minute)
				// What went by tag carries it still, and is never offered to a job.
				if got := len(next.in(Running)); tags == 0 && got != n-1 || tags > 0 && got != 0 {
					t.Fatalf("running: %v", next.in(Running))
				}
				if tags == 0 {
					next.decrease(next.in(Running)...)
				}
				next.run(10 * time.Minute)
				if r.billed() != 0 || !next.shutdown() {
					t.Errorf("%d Droplets are left", r.billed())
				}
			})
		})
	}
	t.Run("the delete tag cannot be removed", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.breakOp("tag", fault{err: unconfirmed})
			r.decrease(r.up(15)...)
			if !r.shutdown() {
				t.Error("not clean")
			}
			r.says("WARN", "the delete tag stays on the account", "tag="+DeleteTag("ci"))
		})
	})
	// What lists lack anyway is looked up.
	t.Run("lists lack it", func(t *testing.T) {
		for _, deaf := range []int{0, 1} {
			scenario(t, spec(nil), func(r *runner) {
				name := r.up(1)[0]
				r.deleteTag(GroupTag("ci"))
				r.deleteTag(CommonTag)
				r.run(10 * time.Second)
				r.change(r.only(name).ID, func(m *machine) { m.deafTo = deaf })
				r.decrease(name)
				if clean := r.shutdown(); clean != (deaf == 0) {
					t.Errorf("deaf to %d DELETEs: clean %v", deaf, clean)
				}
			})
		}
	})
}

// Lists that hang do not take the time that an orphan process has for the rest.
func TestShutdownIsBoundedByItsContext(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.decrease(r.up(15)...)
		r.breakOp("list", fault{hang: true})
		r.within(6*time.Second, "Shutdown", func() { // tagTime is left of nine seconds
			ctx, cancel := context.WithTimeout(ctx, 9*time.Second)
			defer cancel()
			if r.Shutdown(ctx) || r.asked("tag") != 0 {
				t.Error("clean or untagged, and no list has shown it")
			}
		})
		synctest.Wait()
	})
}

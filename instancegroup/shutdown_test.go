package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestShutdown(t *testing.T) {
	story(t, "of nothing", spec(nil), func(r *runner) {
		before := len(r.calls)
		r.within(0, "Shutdown", func() { r.stops(true) })
		equal(r.t, "requests", before, len(r.calls))
		r.stops(false) // it did nothing
		_, update := r.tryUpdate()
		_, increase := r.increase(1)
		_, decrease := r.tryDecrease("ci-nosuch0000")
		for _, err := range []error{update, increase, decrease} {
			equal(r.t, "refused", true, errors.Is(err, errClosed))
		}
	})

	// The runner does not delete Droplets when it stops, unless it is configured
	// to. They stay, their cost is logged, and the next process finds them.
	story(t, "Droplets stay", spec(nil), func(r *runner) {
		names := r.up(3)
		r.script("create", fault{applied: true, err: unconfirmed}) // a name that was not confirmed is looked for
		r.want(1)
		r.stops(false)
		r.living(4)
		r.says("WARN", "Droplets stay, and are billed", "droplets=4", "usd_per_hour=0.04", names[0], "delete_instances_on_shutdown")
		next := r.successor(nil)
		next.run(30 * time.Second)
		next.running(4)
		next.decrease(next.in(Running)...)
		next.run(10 * time.Second)
		next.stops(true)
		next.living(0)
	})

	// What is owed is sent, whatever pause is due, and refusals are answered by
	// another attempt. What was accepted is not sent again.
	story(t, "owed deletes", spec(nil), func(r *runner) {
		names := r.up(4)
		r.decrease(names[3])
		r.breakOp("delete", fault{err: later(ErrRefused, time.Hour)})
		r.undestroyed(names[:3]...)
		r.heal("delete")
		before := r.asked("delete")
		r.script("delete", fault{err: unconfirmed})
		r.stops(true)
		r.living(0)
		r.requests("delete", before+4)
		r.repeats(0, "WARN", "stay")
	})

	story(t, "deletes that are refused for good", spec(nil), func(r *runner) {
		names := r.up(2)
		r.breakOp("delete", fault{err: refusal(ErrForbidden)})
		r.undestroyed(names...)
		before := r.asked("delete")
		r.stops(false)
		r.requests("delete", before+6) // three for each
		r.says("WARN", "did not accept the deletion of Droplets: they stay", "droplets=2", names[0], names[1], "usd_per_hour=0.02",
			"rm --all --group ci")
		r.repeats(0, "until the next start takes them over") // the hint would be what the runner has asked for
	})

	// A name that was not confirmed may exist: Shutdown looks, and deletes it if
	// the runner has asked for that.
	for _, applied := range []bool{true, false} {
		saved := map[string]int64{}
		s := spec(func(s *Settings) { s.Save = func(ids map[string]int64) { saved = ids } })
		story(t, fmt.Sprintf("unconfirmed names, applied %v", applied), s, func(r *runner) {
			r.createLag = 2 * time.Second
			r.script("create", fault{applied: applied, err: unconfirmed})
			r.want(2)
			r.update()
			r.decrease(r.names()...)
			r.stops(applied)
			r.living(0)
			equal(r.t, "saved", 0, len(saved))
		})
	}

	// A call that hangs does not keep Shutdown from its work.
	story(t, "during an Update that hangs", spec(nil), func(r *runner) {
		names := r.up(2)
		r.breakOp("delete", fault{err: unconfirmed})
		r.undestroyed(names...)
		r.heal("delete")
		r.breakOp("list", fault{hang: true})
		time.Sleep(3 * time.Second)
		var update sync.WaitGroup
		update.Go(func() {
			_ = r.Update(ctx, func(id string, s State) { r.t.Errorf("%s is shown as %s after Shutdown", id, s) })
		})
		time.Sleep(time.Second)
		r.stops(false) // no list has shown it
		r.living(0)
		update.Wait()
	})

	// An Increase that is under way ends first, and makes no further attempt.
	for _, refused := range []bool{true, false} {
		story(t, fmt.Sprintf("during an Increase, refused %v", refused), in(regions("nyc1", "ams3")...), func(r *runner) {
			if refused {
				r.script("create", fault{err: refusal(ErrRefused)})
			} else {
				r.answersLate(2900*time.Millisecond, nil)
			}
			go func() { _, _ = r.Increase(ctx, 1) }()
			time.Sleep(20 * time.Millisecond)
			r.breakOp("list", fault{err: refusal(ErrUnsent)})
			r.stops(refused)
			r.requests("create", 1)
			if !refused {
				r.says("WARN", "Droplets stay, and are billed", "droplets=1")
			}
		})
	}
}

// TestShutdownWaitsForProof: an accepted DELETE proves nothing. While a Droplet may
// live the delete tag stays, and the group is not clean.
func TestShutdownWaitsForProof(t *testing.T) {
	for _, n := range []int{3, 15} { // by id, and by tag
		tags := n / byTagFrom
		story(t, fmt.Sprintf("%d are gone in time", n), spec(nil), func(r *runner) {
			names := r.up(n)
			r.deleteLag = 7 * time.Second
			r.decrease(names...)
			before := time.Now()
			r.breakOp("tag", fault{err: unconfirmed})
			r.stops(true)
			r.requests("tag", tags)
			r.repeats(tags, "WARN", "the delete tag stays on the account", "tag="+DeleteTag("ci"))
			if took := time.Since(before); took < r.deleteLag {
				r.t.Errorf("it took only %s", took)
			}
			r.repeats(n, "Droplet is gone")
		})
		story(t, fmt.Sprintf("%d live on", n), spec(nil), func(r *runner) {
			names := r.up(n)
			r.deaf(1, names[1:]...)
			r.decrease(names...)
			r.stops(false)
			r.requests("tag", 0)
			r.says("WARN", "no list confirms it yet", fmt.Sprintf("droplets=%d ", n-1), names[1], "ls --group ci")

			next := r.successor(nil)
			next.run(time.Minute)
			if tags == 0 {
				next.running(n - 1)
				next.decrease(next.in(Running)...)
			} else {
				next.running(0) // what went by tag carries it still, and is never offered to a job
			}
			next.run(10 * time.Minute)
			next.living(0)
			next.stops(true)
		})
	}
	// What lists lack anyway is looked up.
	for _, deaf := range []int{0, 1} {
		story(t, fmt.Sprintf("lists lack it, deaf to %d DELETEs", deaf), spec(nil), func(r *runner) {
			name := r.up(1)[0]
			r.deleteTag(GroupTag("ci"))
			r.deleteTag(CommonTag)
			r.run(10 * time.Second)
			r.deaf(deaf, name)
			r.decrease(name)
			r.stops(deaf == 0)
		})
	}
}

// Lists that hang do not take the time that an orphan process has for the rest.
func TestShutdownIsBoundedByItsContext(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.decrease(r.up(15)...)
		r.breakOp("list", fault{hang: true})
		ctx, cancel := context.WithTimeout(ctx, 9*time.Second)
		defer cancel()
		r.within(6*time.Second, "Shutdown", func() { equal(t, "clean", false, r.Shutdown(ctx)) }) // tagTime is left
		r.requests("tag", 0)
	})
}

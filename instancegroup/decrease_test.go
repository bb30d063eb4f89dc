package instancegroup

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// What DigitalOcean accepted, or does not exist, is returned without an error; the
// rest stays marked, and is deleted by Update, even if the runner never asks again.
func TestDecreasePartly(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.decrease()
		r.decrease("ci-nosuch0000", "other")
		r.requests("delete", 0)
		names := r.up(3)
		r.script("delete", fault{err: unconfirmed})
		got, err := r.tryDecrease(names...)
		if len(got) != 2 || err != nil {
			t.Errorf("Decrease = %v, %v; want two of three, and no error", got, err)
		}
		r.update()
		equal(t, "deleting", names, r.in(Deleting))
		r.run(15 * time.Second)
		r.allTold(names, Creating, Running, Deleting, Deleted)
	})
}

// The runner repeats a failed Decrease in every loop. DELETEs are sent at their
// own pace all the same: refused ones after 5 s, doubling to 5 min, until they are
// accepted.
func TestRefusedDeletesArePaced(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = 0
		name := r.up(1)[0]
		r.breakOp("delete", fault{err: refusal(ErrRefused)})
		began := time.Now()
		for time.Since(began) < 17*time.Minute {
			_, err := r.tryDecrease(name)
			equal(t, "error", fmt.Sprint(err),
				"delete 1 Droplets: DigitalOcean accepted none yet; the plugin goes on trying (each failure is in the log)")
			time.Sleep(time.Second)
		}
		r.says("WARN", "did not delete", name, "times=4", "request_id=req-42")
		equal(t, "DELETEs", "0s 5s 15s 35s 1m15s 2m35s 5m15s 10m15s 15m15s", r.times("delete", began, 1))
		r.heal("delete")
		r.run(4 * time.Minute)
		r.told(name, Creating, Running, Deleting, Deleted)
	})
}

// An accepted DELETE that is not carried out is repeated after 60 s, doubling to
// 10 min, whether or not the runner asks again.
func TestIgnoredDeletesArePaced(t *testing.T) {
	for _, asks := range []bool{false, true} {
		scenario(t, spec(nil), func(r *runner) {
			r.latency = 0
			name := r.up(1)[0]
			r.deaf(5, name)
			time.Sleep(time.Second)
			began := time.Now()
			r.decrease(name)
			for time.Since(began) < 30*time.Minute {
				if asks {
					r.decrease(name)
				}
				r.run(10 * time.Second)
			}
			equal(t, "DELETEs", "0s 1m0s 3m0s 7m0s 15m0s 25m0s", r.times("delete", began, 10*time.Second))
			r.told(name, Creating, Running, Deleting, Deleted)
			r.repeats(5, "WARN", "DigitalOcean accepted the deletion of a Droplet and did not carry it out", name, "usd_per_hour=0.01")
		})
	}
}

// A DELETE whose answer is lost is not sent twice at once by Decrease and Update.
func TestDeleteIsClaimed(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.script("delete", fault{hang: true})
		var asked sync.WaitGroup
		asked.Go(func() { r.undestroyed(name) })
		r.run(10 * time.Second)
		r.requests("delete", 1)
		asked.Wait()
		r.run(20 * time.Second)
		r.told(name, Creating, Running, Deleting, Deleted)
	})
}

// What the token cannot afford waits for its next request, by tag or by id. That
// is no error, since nobody refused it, nor does it slow what follows.
func TestRateLimitedDeletesWait(t *testing.T) {
	for n, c := range map[int]struct {
		op   string
		sent int // at once
	}{1: {"delete", 1}, 9: {"delete", 9}, 30: {"tagging", 1}} {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(n)
			r.breakOp(c.op, fault{err: later(ErrRateLimited, 20*time.Second)})
			r.decrease(names...)
			r.run(15 * time.Second)
			equal(t, "requests while there is no room", c.sent, r.asked("tagging")+r.asked("delete"))
			r.run(105 * time.Second)
			equal(t, "more than one attempt in 20 s", false, r.asked(c.op) > 7*c.sent)
			r.repeats(0, "WARN", "did not delete")
			if n := r.log.count("WARN", "the token's rate limit is reached", "deletes wait"); n < 1 || n > 2 {
				t.Errorf("logged %d times in two minutes", n)
			}
			r.heal(c.op)
			r.run(30 * time.Second)
			r.allTold(names, Creating, Running, Deleting, Deleted)
		})
	}
}

package instancegroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What does not exist is as good as deleted, and the answer has nothing that was
// not asked for.
func TestDecreaseOfUnknown(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.decrease("ci-nosuch0000", "other")
		r.decrease()
		if n := r.asked("delete"); n != 0 {
			t.Errorf("%d DELETEs", n)
		}
	})
}

// What DigitalOcean accepted is returned without an error; the rest stays marked,
// and is deleted by Update, even if the runner never asks again.
func TestDecreasePartly(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(3)
		r.script("delete", fault{err: unconfirmed})
		got, err := r.tryDecrease(names...)
		if len(got) != 2 || err != nil {
			t.Errorf("Decrease = %v, %v; want two of three, and no error", got, err)
		}
		r.update()
		if got := r.in(Deleting); !slices.Equal(got, names) {
			t.Errorf("deleting: %v, want all three", got)
		}
		r.run(15 * time.Second)
		for _, name := range names {
			r.told(name, Creating, Running, Deleting, Deleted)
		}
	})
}

func TestDecreaseRefused(t *testing.T) {
	for _, class := range []error{ErrUnauthorized, ErrForbidden, ErrUnsent, ErrInvalid, ErrOtherAccount} {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			r.script("delete", fault{err: refusal(class)})
			got, err := r.tryDecrease(name)
			if len(got) != 0 || err == nil || !strings.Contains(err.Error(), "goes on trying") {
				t.Errorf("%v: Decrease = %v, %v; want an error", class, got, err)
			}
			r.says("WARN", "did not delete", name, "times=1", "request_id=req-42")
			r.run(20 * time.Second)
			r.told(name, Creating, Running, Deleting, Deleted)
		})
	}
}

// The runner repeats a failed Decrease in every loop. DELETEs are sent at their
// own pace all the same: refused ones after 5 s, doubling to 5 min.
func TestRefusedDeletesArePaced(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = 0
		name := r.up(1)[0]
		r.breakOp("delete", fault{err: refusal(ErrInvalid)})
		began := time.Now()
		for time.Since(began) < 17*time.Minute {
			if _, err := r.tryDecrease(name); err == nil {
				t.Fatal("Decrease succeeded")
			}
			time.Sleep(time.Second)
		}
		var at []string
		for _, c := range r.received("delete") {
			at = append(at, fmt.Sprint(c.at.Sub(began)))
		}
		if d := cmp.Diff([]string{"0s", "5s", "15s", "35s", "1m15s", "2m35s", "5m15s", "10m15s", "15m15s"}, at); d != "" {
			t.Errorf("DELETEs (-want +got):\n%s", d)
		}
	})
}

// An accepted DELETE that is not carried out is repeated after 60 s, doubling to
// 10 min, whether or not the runner asks again.
func TestIgnoredDeletesArePaced(t *testing.T) {
	for _, asks := range []bool{false, true} {
		scenario(t, spec(nil), func(r *runner) {
			r.latency = 0
			name := r.up(1)[0]
			r.change(r.only(name).ID, func(m *machine) { m.deafTo = 7 })
			time.Sleep(time.Second)
			began := time.Now()
			r.decrease(name)
			for time.Since(began) < time.Hour {
				if asks {
					r.decrease(name)
				}
				r.run(10 * time.Second)
			}
			var at []string
			for _, c := range r.received("delete") {
				at = append(at, fmt.Sprint(c.at.Sub(began).Round(10*time.Second)))
			}
			if d := cmp.Diff([]string{"0s", "1m0s", "3m0s", "7m0s", "15m0s", "25m0s", "35m0s", "45m0s"}, at); d != "" {
				t.Errorf("DELETEs (-want +got):\n%s", d)
			}
			r.told(name, Creating, Running, Deleting, Deleted)
			if n := r.log.count("WARN DigitalOcean had accepted to delete a Droplet and has not done it", name, "usd_per_hour=0.01"); n != 7 {
				t.Errorf("logged %d times that it was not done, want 7", n)
			}
		})
	}
}

// Somebody else deletes what is to be deleted: a 404 is as good as accepted, and a
// look-up ends the wait while DELETEs are refused.
func TestDeletedByHandMeanwhile(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(2)
		r.change(r.only(names[0]).ID, r.destroyed)
		r.decrease(names[0])
		r.run(6 * time.Second)
		r.told(names[0], Creating, Running, Deleting, Deleted)
		if n := r.asked("delete"); n != 1 {
			t.Errorf("%d DELETEs, want 1", n)
		}

		r.breakOp("delete", fault{err: refusal(ErrForbidden)})
		r.undestroyed(names[1])
		r.run(time.Minute)
		r.told(names[1], Creating, Running, Deleting)
		r.change(r.only(names[1]).ID, r.destroyed)
		r.run(15 * time.Second)
		r.told(names[1], Creating, Running, Deleting, Deleted)
	})
}

// A DELETE whose answer is lost is not sent twice at once by Decrease and Update.
func TestDeleteIsClaimed(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.script("delete", fault{hang: true})
		done := make(chan bool)
		go func() {
			r.undestroyed(name)
			done <- true
		}()
		r.run(10 * time.Second)
		if n := r.asked("delete"); n != 1 {
			t.Errorf("%d DELETEs while the first is under way", n)
		}
		<-done
		r.run(20 * time.Second)
		r.told(name, Creating, Running, Deleting, Deleted)
	})
}

// What the token cannot afford waits for its next request, by tag or by id. That
// is no error, since nobody refused it, nor does it slow what follows.
func TestRateLimitedDeletesWait(t *testing.T) {
	limited := fault{err: later(ErrRateLimited, 20*time.Second)}
	for _, c := range []struct {
		n  int
		op string
	}{{1, "delete"}, {9, "delete"}, {30, "tagging"}} {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(c.n)
			r.breakOp(c.op, limited)
			r.decrease(names...)
			r.run(15 * time.Second)
			if a, d := r.asked("tagging"), r.asked("delete"); a+d != min(c.n, 9) && a+d != 1 {
				t.Errorf("%d requests to tag and %d by id while there is no room", a, d)
			}
			r.run(105 * time.Second)
			if n := r.asked(c.op); n > 7*min(c.n, 9) {
				t.Errorf("%d attempts in two minutes, each told to wait for 20 s", n)
			}
			if n := r.log.count("WARN"); n != 0 {
				t.Errorf("%d warnings", n)
			}
			r.heal(c.op)
			r.run(30 * time.Second)
			for _, name := range names {
				r.told(name, Creating, Running, Deleting, Deleted)
			}
		})
	}
}

func TestDecreaseAfterShutdown(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.shutdown()
		if _, err := r.tryDecrease(name); !errors.Is(err, errClosed) {
			t.Errorf("error %v", err)
		}
	})
}

// A list that lags can be from before a young Droplet was made. That it lacks
// one whose DELETE was accepted and not carried out proves nothing.
func TestListFromBeforeItWasMade(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.createLag = 4 * time.Second
		r.want(1)
		r.run(12 * time.Second)
		name := r.names()[0]
		r.only(name).deafTo = 1
		r.decrease(name)
		r.createLag = 34 * time.Second
		r.run(4 * time.Second) // the runner holds "deleted" against the truth
		if s := r.states[name]; s != Deleting {
			t.Errorf("shown as %s, want deleting", s)
		}
	})
}

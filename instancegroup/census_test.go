package instancegroup

import (
	"testing"
	"testing/synctest"
	"time"
)

// A process that starts seconds after the one before it was killed counts what
// that one asked for last, though lists do not show it yet; for a minute at most.
func TestCensusAfterKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.createLag = 20 * time.Second
		var noted Census
		settings := func(run string) Settings {
			return spec(func(s *Settings) {
				s.Run, s.MaxInstances, s.DeadRuns = run, 10, []string{thisRun}
				s.Before, s.Note = noted, func(c Census) { noted = c }
			})
		}
		first := newRunner(t, settings(thisRun), a)
		first.start()
		first.want(8)
		if noted.Droplets != 8 {
			t.Fatalf("noted %+v, want 8", noted)
		}

		second := newRunner(t, settings("run11111"), a) // the first is never heard of again
		second.start()
		if n, err := second.increase(10); n != 2 || err != nil {
			t.Errorf("Increase(10) = %d, %v; want the 2 that are left", n, err)
		}
		if n, err := second.increase(1); n != 0 || err != nil {
			t.Errorf("Increase(1) = %d, %v; want none: its own count beside those of before", n, err)
		}
		second.run(40 * time.Second)
		if n := a.billed(); n != 10 || len(second.in(Running)) != 10 {
			t.Errorf("%d Droplets are billed, %d shown as running; want 10", n, len(second.in(Running)))
		}
	})
}

// What was asked for and never made takes room for a minute, not for ever; and
// what is proved to be gone takes none.
// A process that is stopped before lists have shown what a killed one made leaves the
// count to the next.
func TestCensusAfterKillAndStop(t *testing.T) {
	for _, wait := range []time.Duration{time.Second, 2 * time.Minute} {
		scenario(t, spec(func(s *Settings) {
			s.DeadRuns, s.Before = []string{"dead0000"}, Census{Droplets: 8, At: time.Now()}
		}), func(r *runner) {
			r.Before.At = time.Now()
			r.run(wait)
			if clean := r.Shutdown(ctx); clean != (wait > time.Minute) {
				t.Errorf("after %s: clean %v", wait, clean)
			}
		})
	}
}

func TestCensusEnds(t *testing.T) {
	now := time.Now()
	for age, want := range map[time.Duration]int{0: 8, 59 * time.Second: 8, time.Minute: 3, -time.Second: 3} {
		if got := (Census{Droplets: 8, At: now.Add(-age)}).counted(3, now); got != want {
			t.Errorf("at the age of %s: %d, want %d", age, got, want)
		}
	}
	scenario(t, spec(nil), func(r *runner) {
		var noted []int
		r.Note = func(c Census) { noted = append(noted, c.Droplets) }
		names := r.up(4)
		r.decrease(names[:3]...)
		r.run(20 * time.Second)
		if len(noted) == 0 || noted[0] != 4 || noted[len(noted)-1] != 1 {
			t.Errorf("noted %v, want 4 at first and 1 at last", noted)
		}
	})
}

package instancegroup

import (
	"fmt"
	"testing"
	"time"
)

// DigitalOcean may take longer for an answer than an Update has for its actions
// beside a list. What was deleted from outside is found out all the same, deletes
// are sent and proved, and lists are not older than a minute because of it.
func TestActsThoughAnswersAreSlow(t *testing.T) {
	for _, latency := range []time.Duration{2200 * time.Millisecond, 4300 * time.Millisecond, 6 * time.Second} {
		t.Run(fmt.Sprint(latency), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(4)
				r.run(time.Minute)
				r.latency = latency
				oldest := time.Duration(0)
				until := func(what string, bound time.Duration, done func() bool) {
					for began := time.Now(); !done(); time.Sleep(2 * time.Second) {
						if time.Since(began) > bound {
							t.Fatalf("not within %s: %s; shown %v", bound, what, r.states)
						}
						r.update()
						oldest = max(oldest, time.Since(r.listing.began))
					}
				}
				r.change(r.only(names[0]).ID, r.destroyed)
				until("one deleted from outside is found out", time.Minute, func() bool { return r.states[names[0]] == "" })
				r.told(names[0], Creating, Running, Deleted)
				if _, err := r.tryDecrease(names[1]); err != nil {
					t.Error(err)
				}
				until("one deleted by the runner is proved gone", time.Minute, func() bool { return r.states[names[1]] == "" })
				if n := len(r.received("delete")); n != 1 {
					t.Errorf("%d DELETEs", n)
				}
				r.change(r.only(names[2]).ID, func(m *machine) { m.Status = StatusOff })
				until("one that is powered off is deleted", 2*time.Minute, func() bool { return r.states[names[2]] == "" })
				if n := len(r.received("delete")); n != 2 {
					t.Errorf("%d DELETEs", n)
				}
				r.want(1)
				until("a new one runs", time.Minute, func() bool { return len(r.in(Running)) == 2 })
				if oldest > staleMost {
					t.Errorf("a list was %s old", oldest)
				}
			})
		})
	}
}

// An Update whose list took so long that there was no time for its actions is
// followed by one that acts before it lists.
func TestActsFirstAfterNoTime(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.change(r.only(name).ID, r.destroyed)
		r.run(2 * time.Second) // lists show it still
		time.Sleep(2 * time.Second)
		r.latency = 7 * time.Second
		before := len(r.received("list"))
		r.update() // 9 s for lists, of which the second has not enough, and 4 s for a look-up that takes 7 s
		r.update()
		if n := len(r.received("list")) - before; n != 2 {
			t.Errorf("%d lists, want 2: the second Update acts first", n)
		}
		for range 3 {
			_, _ = r.tryUpdate()
		}
		r.told(name, Creating, Running, Deleted)
	})
}

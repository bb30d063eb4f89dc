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
		story(t, fmt.Sprint(latency), spec(nil), func(r *runner) {
			names := r.up(4)
			r.run(time.Minute)
			r.latency = latency
			r.vanish(names[0])
			r.slowly(time.Minute, func() bool { return r.states[names[0]] == "" })
			_, _ = r.tryDecrease(names[1])
			r.slowly(time.Minute, func() bool { return r.states[names[1]] == "" })
			r.requests("delete", 1)
			r.alter(func(m *machine) { m.Status = StatusOff }, names[2])
			r.slowly(2*time.Minute, func() bool { return r.states[names[2]] == "" })
			r.requests("delete", 2)
			r.want(1)
			r.slowly(time.Minute, func() bool { return len(r.in(Running)) == 2 })
		})
	}
	// Of these a list shows none, so that it takes a second one: a look-up, which is cut
	// off then, comes first in the next Update.
	for _, latency := range []time.Duration{5 * time.Second, 7 * time.Second} {
		story(t, fmt.Sprint("all are deleted, ", latency), spec(nil), func(r *runner) {
			names := r.up(3)
			r.latency = latency
			r.decrease(names...)
			r.slowly(2*time.Minute, func() bool { return len(r.states) == 0 })
		})
	}
	// An Update whose list took so long that there was no time for its actions is
	// followed by one that acts before it lists.
	story(t, "acts first", spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.vanish(name)
		r.run(2 * time.Second) // lists show it still
		time.Sleep(2 * time.Second)
		r.latency = 7 * time.Second
		before := r.asked("list")
		r.update() // 9 s for lists, of which the second has not enough, and 4 s for a look-up that takes 7 s
		r.update()
		r.requests("list", before+2)
	})
}

// slowly updates until that is done, within bound, and sees that no list is too old.
func (r *runner) slowly(bound time.Duration, done func() bool) {
	r.t.Helper()
	for began := time.Now(); !done(); time.Sleep(2 * time.Second) {
		if time.Since(began) > bound {
			r.t.Fatalf("not within %s; shown %v", bound, r.states)
		}
		r.update()
		lists := r.received("list")
		if old := time.Since(lists[len(lists)-1].at); old > staleMost {
			r.t.Errorf("a list was %s old", old)
		}
	}
}

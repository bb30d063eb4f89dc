package instancegroup

import (
	"fmt"
	"testing"
	"time"
)

// slowly is an error of a proxy that asks for an hour.
func slowly(class error) error {
	return &CloudError{Class: class, Op: "OP", Status: 503, Message: "maintenance", RetryAfter: time.Hour}
}

// TestActsThoughAnswersAreSlow: DigitalOcean may take longer for an answer than act has
// beside a list. What was destroyed from outside is found out all the same, deletes count
// once, and the group's tag is put back.
func TestActsThoughAnswersAreSlow(t *testing.T) {
	for _, latency := range []time.Duration{2200 * time.Millisecond, 4300 * time.Millisecond, 6 * time.Second} {
		t.Run(fmt.Sprint(latency), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(4)
				r.run(time.Minute)
				r.latency = latency
				r.change(r.only(names[0]).ID, r.destroyed)
				began := time.Now()
				for r.states[names[0]] != "" && time.Since(began) < 3*time.Minute {
					r.update()
					time.Sleep(2 * time.Second)
				}
				r.told(names[0], Creating, Running, Deleted)
				if _, err := r.tryDecrease(names[1]); err != nil {
					t.Error(err)
				}
				r.run(2 * time.Minute)
				if h := r.history[names[1]]; h[len(h)-1] != Deleted || r.requests("delete") != 1 {
					t.Errorf("told: %v; %d DELETEs", h, r.requests("delete"))
				}
				if latency < 4*time.Second { // three answers, one after the other
					r.deleteTag(GroupTag("ci"))
					r.run(2 * time.Minute)
					r.tagged(names[2:]...)
				}
			})
		})
	}
}

// TestSeeksThoughAnswersAreSlow: so are Droplets found that lost the group's tag before.
func TestSeeksThoughAnswersAreSlow(t *testing.T) {
	for _, latency := range []time.Duration{1500 * time.Millisecond, 3 * time.Second, 4300 * time.Millisecond} {
		t.Run(fmt.Sprint(latency), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				r.up(3)
				r.deleteTag(GroupTag("ci"))
				r.latency = latency
				var notes beside
				second := notes.next(r)
				second.start()
				second.run(2 * time.Minute)
				if got := second.in(Running); len(got) != 3 {
					t.Errorf("running: %v", got)
				}
			})
		})
	}
}

// TestLongRetryAfter: an hour that an answer but 429 asks for is not waited.
func TestLongRetryAfter(t *testing.T) {
	for class, most := range map[error]time.Duration{ErrAmbiguous: 2 * time.Minute, ErrThrottled: 2 * time.Hour} {
		for _, op := range []string{"list", "delete"} {
			t.Run(fmt.Sprint(op, " ", class), func(t *testing.T) {
				scenario(t, spec(nil), func(r *runner) {
					names := r.up(2)
					r.script(op, fault{err: slowly(class)})
					if op == "delete" {
						_, _ = r.tryDecrease(names[0])
					} else {
						time.Sleep(2 * time.Second)
						_, _ = r.tryUpdate()
					}
					asked, began := r.requests(op), time.Now()
					for r.requests(op) == asked && time.Since(began) < 3*time.Hour {
						_, _ = r.tryUpdate()
						time.Sleep(2 * time.Second)
					}
					if d := time.Since(began); d > most || most > time.Hour && d < 59*time.Minute {
						t.Errorf("asked again after %s", d)
					}
				})
			})
		}
	}
}

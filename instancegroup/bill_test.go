package instancegroup

import (
	"slices"
	"testing"
	"time"
)

// Every hour one line tells what the group made, destroyed and cost in it: by the
// second, a cent at least, and nothing twice.
func TestSummary(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.run(2*time.Hour + time.Minute)
		if n := r.log.count("an hour of the group"); n != 0 {
			t.Errorf("%d summaries of hours in which nothing was", n)
		}
		names := r.up(3) // at 0.01 USD an hour
		r.run(30 * time.Minute)
		r.decrease(names[0])
		r.want(1)
		r.run(r.boot + 10*time.Second)
		for _, name := range r.in(Running) {
			if !slices.Contains(names, name) {
				r.decrease(name) // seconds old, so it costs a cent
			}
		}
		r.run(31 * time.Minute)
		r.says("an hour of the group", "made=4", "destroyed=2", "usd=0.04", "droplets=2", "usd_per_hour=0.02")
		r.run(time.Hour)
		r.says("an hour of the group", "made=0", "destroyed=0", "usd=0.02", "droplets=2", "usd_per_hour=0.02")
		r.run(time.Hour)
		if n := r.log.count("an hour of the group"); n != 3 {
			t.Errorf("%d summaries, want 3", n)
		}
	})
}

package history

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// What Example's runner is like.
const (
	exampleSize  = "s-2vcpu-4gb"
	examplePrice = 0.03571 // USD an hour
	exampleIdle  = 20 * time.Minute
)

// Example returns a synthetic week, from Monday to Sunday, of a team of some twenty
// people that work in Europe: the same for the same seed. Its runner has idle_count 0,
// idle_time 20m and one job a Droplet.
func Example(seed uint64) History {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // an example
	h := History{From: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)}
	h.To = h.From.AddDate(0, 0, 7)
	for hour := h.From; hour.Before(h.To); hour = hour.Add(time.Hour) {
		for range pushes(rng, hour) {
			h.push(rng, hour.Add(time.Duration(rng.Int64N(int64(time.Hour)))))
		}
	}
	slices.SortFunc(h.Jobs, func(a, b Job) int { return a.Received.Compare(b.Received) })
	h.place(rng)
	return h
}

// pushes is how many pipelines begin in an hour.
func pushes(rng *rand.Rand, hour time.Time) int {
	mean := 1.0
	if day := hour.Weekday(); day != time.Saturday && day != time.Sunday && hour.Hour() >= 7 && hour.Hour() < 18 {
		mean = 14
		if hour.Hour() == 12 {
			mean = 6
		}
	}
	return int(mean*(0.5+rng.Float64()) + rng.Float64())
}

// push adds the jobs of a pipeline.
func (h *History) push(rng *rand.Rand, at time.Time) {
	project, pipeline := 100+rng.Int64N(4), 5000+int64(len(h.Jobs))
	for range 1 + rng.IntN(6) {
		received := at.Add(time.Duration(1+rng.IntN(4)) * time.Second)
		h.Jobs = append(h.Jobs, Job{ID: 10_000 + int64(len(h.Jobs)), Project: project, Pipeline: pipeline,
			AtGitLab: received.Sub(at), Received: received, Failed: rng.IntN(12) == 0})
	}
}

// place gives each job a Droplet that is idle, or a new one. Received is in order.
func (h *History) place(rng *rand.Rand) {
	var free []time.Time // since when each Droplet is
	for n := range h.Jobs {
		j := &h.Jobs[n]
		on := -1
		for i, at := range free {
			if !at.After(j.Received) && j.Received.Sub(at) < exampleIdle && (on < 0 || at.After(free[on])) {
				on = i
			}
		}
		j.Started = j.Received.Add(300 * time.Millisecond)
		if on < 0 {
			on = len(free)
			requested := j.Received.Add(2 * time.Second)
			j.Started = requested.Add(time.Duration(30+rng.IntN(30)) * time.Second)
			free = append(free, time.Time{})
			h.Droplets = append(h.Droplets, Droplet{Name: fmt.Sprintf("ci-example%04d", on), Group: "ci", Size: exampleSize, Region: "fra1",
				Requested: requested, Active: j.Started.Add(-time.Second), PriceHourly: examplePrice})
		}
		j.Droplet = h.Droplets[on].Name
		took := time.Duration(float64(2*time.Minute) * rng.ExpFloat64())
		j.Ended = j.Started.Add(20*time.Second + min(took, 40*time.Minute))
		free[on] = j.Ended
		if j.Ended.After(h.To) {
			j.Ended = time.Time{}
		}
	}
	for i := range h.Droplets {
		if gone := free[i].Add(exampleIdle + 10*time.Second); gone.Before(h.To) {
			h.Droplets[i].Gone = gone
		}
	}
	slices.SortFunc(h.Jobs, func(a, b Job) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID)) })
}

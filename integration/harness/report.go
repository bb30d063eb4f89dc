package harness

import (
	"math"
	"slices"
	"time"
)

// Report is everything that is known of a run that has ended. Times are since it began.
type Report struct {
	// MaxInstances and CapacityPerInstance are the configured ones;
	// MaxInstances is 0 when only the plugin limits them.
	MaxInstances        int
	CapacityPerInstance int

	Elapsed time.Duration
	// Jobs are in the order in which they were queued, Droplets in the order
	// of their creation, Samples five a second.
	Jobs     []JobResult
	Droplets []Droplet
	Samples  []Sample

	// Requests are those that the simulator has answered, by kind.
	Requests map[string]int
	// Dollars are what all Droplets cost.
	Dollars float64

	// Checks are what has to be true at its end.
	Checks []Check
}

// Droplet is one line of the simulated account's ledger. Times are since the
// run began.
type Droplet struct {
	Name    string
	Created time.Duration
	// Gone is zero for a Droplet that is still there, and billed.
	Gone time.Duration
	// Jobs is how many it was given.
	Jobs int
}

// Check is one thing that has to be true at the end of a run.
type Check struct {
	OK   bool
	Text string
}

// OK reports whether every check holds.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.OK })
}

// MostDroplets is how many Droplets there were at once, at most: at the creation of one
// of them. One that ends in that moment makes room for it.
func (r *Report) MostDroplets() int {
	most := 0
	for _, created := range r.Droplets {
		now := 0
		for _, d := range r.Droplets {
			if d.Created <= created.Created && (d.Gone == 0 || d.Gone > created.Created) {
				now++
			}
		}
		most = max(most, now)
	}
	return most
}

// DropletTime is the time for which Droplets existed, summed up.
func (r *Report) DropletTime() time.Duration {
	var sum time.Duration
	for _, d := range r.Droplets {
		end := d.Gone
		if end == 0 {
			end = r.Elapsed
		}
		sum += end - d.Created
	}
	return sum
}

// Wait is how long jobs were queued: the smallest time that the given share of
// them (above 0, at most 1) did not exceed. Jobs that never had a Droplet are
// left out; without any job it is 0.
func (r *Report) Wait(share float64) time.Duration {
	var waits []time.Duration
	for _, j := range r.Jobs {
		if j.Started > 0 {
			waits = append(waits, j.Started-j.Queued)
		}
	}
	if len(waits) == 0 {
		return 0
	}
	slices.Sort(waits)
	rank := int(math.Ceil(share * float64(len(waits))))
	return waits[min(max(rank, 1), len(waits))-1]
}

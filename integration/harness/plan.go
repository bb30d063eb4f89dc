package harness

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan is the work of a run: bursts of jobs with quiet time between them.
type Plan struct {
	// Bursts are queued one after the other. Without any, nothing runs and the
	// harness only watches for Tail.
	Bursts []Burst
	// Settled has the first burst wait until idle_count Droplets are there.
	Settled bool
	// Tail is how long the run is watched after the last job, so that
	// idle_time can show its effect before everything is taken down.
	Tail time.Duration
}

// Burst is a number of jobs that are queued in one moment.
type Burst struct {
	// Pause is the quiet time since the last job of the burst before has ended.
	Pause time.Duration
	// Jobs is how many there are.
	Jobs int
	// MinWork and MaxWork bound how long a job works.
	MinWork, MaxWork time.Duration
}

// DefaultPlan spreads jobs over three bursts: one that needs more Droplets
// than there are, a small one soon after that finds them idle, and a last one
// after a lull of pause, in which idle_time removes the surplus. Few jobs are one burst.
func DefaultPlan(jobs int) Plan {
	const pause = 9 * time.Second // half as much again as the demo's idle_time
	small := jobs / 6
	last := jobs / 3
	const shortest, longest = 500 * time.Millisecond, 2 * time.Second
	bursts := []Burst{
		{Pause: 4 * time.Second, Jobs: jobs - small - last, MinWork: shortest, MaxWork: longest},
		{Pause: 2 * time.Second, Jobs: small, MinWork: shortest, MaxWork: longest},
		{Pause: pause, Jobs: last, MinWork: shortest, MaxWork: longest},
	}
	bursts = slices.DeleteFunc(bursts, func(b Burst) bool { return b.Jobs == 0 })
	return Plan{Bursts: bursts, Tail: pause}
}

// job is one piece of work, known before the run begins.
type job struct {
	id int // from 1
	// script is for a Droplet's shell, or for that of a container (package docker).
	script string
	// output is what the script prints: no other job's.
	output string
}

// jobs lays the plan out: one slice a burst. The same plan gives the same jobs.
func (p Plan) jobs() [][]job {
	random := rand.New(rand.NewPCG(1, uint64(len(p.Bursts))))
	bursts := make([][]job, len(p.Bursts))
	id := 0
	for i, b := range p.Bursts {
		for range b.Jobs {
			id++
			work := b.MinWork
			if spread := b.MaxWork - b.MinWork; spread > 0 {
				work += time.Duration(random.Int64N(int64(spread)))
			}
			output := fmt.Sprintf("job-%03d %016x\n", id, random.Uint64())
			script := fmt.Sprintf("sleep %.3f\necho %s", work.Seconds(), output)
			bursts[i] = append(bursts[i], job{id, script, output})
		}
	}
	return bursts
}

// total is how many jobs the plan has.
func (p Plan) total() int {
	n := 0
	for _, b := range p.Bursts {
		n += b.Jobs
	}
	return n
}

package harness

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Sample is the state of a run at one moment.
type Sample struct {
	// At is the time since the run began.
	At time.Duration

	// Jobs. Queued ones wait for a Droplet, running ones have one.
	Queued  int
	Running int
	Done    int
	Failed  int

	// Droplets on the account: Creating until the runner has found it ready,
	// then Idle or Busy, Deleting from when the runner gives it up until it is
	// gone. A Droplet is in exactly one of them.
	Creating int
	Idle     int
	Busy     int
	Deleting int

	// IdleCount is that of the policy in force, in jobs.
	IdleCount int

	// Requests are those that the simulator has answered, by kind.
	Requests map[string]int
	// Dollars are what the account owes so far.
	Dollars float64
}

// Droplets is how many are on the account.
func (s Sample) Droplets() int { return s.Creating + s.Idle + s.Busy + s.Deleting }

// JobResult tells how one job went. Times are since the run began.
type JobResult struct {
	ID    int
	Burst int
	// Droplet is the name of the one that the job ran on.
	Droplet  string
	Queued   time.Duration
	Started  time.Duration
	Finished time.Duration
	// Runs counts the marks that the job's script left: 1 when all is well.
	Runs int
	// Error is why the job failed; empty when it did not.
	Error string
}

// Waited is how long the job was queued before it had a Droplet.
func (j JobResult) Waited() time.Duration { return j.Started - j.Queued }

// recorder remembers a run. The simulator, the runner and the jobs report to
// it from their own goroutines.
type recorder struct {
	begin time.Time

	mu       sync.Mutex // guards all below
	jobs     map[int]*JobResult
	droplets map[string]*seen // on the account now, by name
	samples  []Sample
}

// seen is what the runner knows of a Droplet.
type seen struct {
	ready    bool
	busy     int // jobs on it
	deleting bool
}

func newRecorder() *recorder {
	return &recorder{begin: time.Now(), jobs: make(map[int]*JobResult), droplets: make(map[string]*seen)}
}

func (r *recorder) dropletCreated(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.droplets[name] = &seen{}
}

// droplet changes what is known of one, if it is on the account. Callers hold r.mu.
func (r *recorder) droplet(name string, change func(*seen)) {
	if d, ok := r.droplets[name]; ok {
		change(d)
	}
}

func (r *recorder) dropletReady(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.droplet(name, func(d *seen) { d.ready = true })
}

func (r *recorder) dropletsDeleting(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		r.droplet(name, func(d *seen) { d.deleting = true })
	}
}

func (r *recorder) dropletGone(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.droplets, name)
}

func (r *recorder) jobQueued(j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[j.id] = &JobResult{ID: j.id, Burst: j.burst, Queued: time.Since(r.begin)}
}

func (r *recorder) jobStarted(j job, droplet string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[j.id].Droplet = droplet
	r.jobs[j.id].Started = time.Since(r.begin)
	r.droplet(droplet, func(d *seen) { d.busy++ })
}

func (r *recorder) jobFinished(j job, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := r.jobs[j.id]
	result.Finished = time.Since(r.begin)
	if err != nil {
		result.Error = err.Error()
	}
	r.droplet(result.Droplet, func(d *seen) { d.busy-- })
}

// sample counts what there is now and keeps it. The account's own numbers are
// the caller's to give.
func (r *recorder) sample(idleCount int, requests map[string]int, dollars float64) Sample {
	r.mu.Lock()
	defer r.mu.Unlock()

	s := Sample{At: time.Since(r.begin), IdleCount: idleCount, Requests: requests, Dollars: dollars}
	for _, j := range r.jobs {
		switch {
		case j.Error != "":
			s.Failed++
		case j.Finished > 0:
			s.Done++
		case j.Started > 0:
			s.Running++
		default:
			s.Queued++
		}
	}
	for _, d := range r.droplets {
		switch {
		case d.deleting:
			s.Deleting++
		case d.busy > 0:
			s.Busy++
		case d.ready:
			s.Idle++
		default:
			s.Creating++
		}
	}
	r.samples = append(r.samples, s)
	return s
}

// settled reports whether no Droplet is being created.
func (r *recorder) settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.droplets {
		if !d.ready && !d.deleting {
			return false
		}
	}
	return true
}

// results are the jobs in the order of their ids.
func (r *recorder) results() []JobResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	var results []JobResult
	for _, id := range slices.Sorted(maps.Keys(r.jobs)) {
		results = append(results, *r.jobs[id])
	}
	return results
}

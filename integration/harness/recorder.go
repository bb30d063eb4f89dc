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
	ID int
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

// recorder remembers a run. The simulator, the runner and the jobs report to
// it from their own goroutines.
type recorder struct {
	begin time.Time

	mu       sync.Mutex       // guards all below
	jobs     []JobResult      // by id, from 1
	droplets map[string]state // on the account now, by name
	samples  []Sample
}

// state is what the runner thinks of a Droplet; of one that is not on the account it is the zero.
type state int

const (
	creating state = 1 + iota
	ready
	deleting
)

func newRecorder() *recorder {
	return &recorder{begin: time.Now(), droplets: make(map[string]state)}
}

func (r *recorder) dropletCreated(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.droplets[name] = creating
}

func (r *recorder) dropletReady(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.droplets[name] == creating {
		r.droplets[name] = ready
	}
}

func (r *recorder) dropletsDeleting(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if r.droplets[name] != 0 {
			r.droplets[name] = deleting
		}
	}
}

func (r *recorder) dropletGone(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.droplets, name)
}

// jobQueued is called in the order of the jobs' ids.
func (r *recorder) jobQueued(j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs = append(r.jobs, JobResult{ID: j.id, Queued: time.Since(r.begin)})
}

func (r *recorder) jobStarted(j job, droplet string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[j.id-1].Droplet, r.jobs[j.id-1].Started = droplet, time.Since(r.begin)
}

func (r *recorder) jobFinished(j job, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[j.id-1].Finished = time.Since(r.begin)
	if err != nil {
		r.jobs[j.id-1].Error = err.Error()
	}
}

// sample counts what there is now and keeps it. The account's own numbers are
// the caller's to give.
func (r *recorder) sample(idleCount int, requests map[string]int, dollars float64) Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Sample{At: time.Since(r.begin), IdleCount: idleCount, Requests: requests, Dollars: dollars}
	busy := map[string]bool{} // the Droplets of running jobs
	for _, j := range r.jobs {
		switch {
		case j.Error != "":
			s.Failed++
		case j.Finished > 0:
			s.Done++
		case j.Started > 0:
			s.Running++
			busy[j.Droplet] = true
		default:
			s.Queued++
		}
	}
	for name, state := range r.droplets {
		switch {
		case state == deleting:
			s.Deleting++
		case busy[name]:
			s.Busy++
		case state == ready:
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
	return !slices.Contains(slices.Collect(maps.Values(r.droplets)), creating)
}

// results are the jobs in the order of their ids.
func (r *recorder) results() []JobResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.jobs)
}

package harness

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Report is everything that is known of a run that has ended. Times are since it began.
type Report struct {
	Config   *Config
	Elapsed  time.Duration
	Jobs     []Job     // in the order in which they were queued
	Droplets []Droplet // in the order of their creation
	Samples  []Sample  // five a second
	Checks   []Check   // what has to be true at its end
}

// Job tells how one job went.
type Job struct {
	ID       int    // from 1
	Droplet  string // the name of the one that it ran on
	Queued   time.Duration
	Started  time.Duration
	Finished time.Duration
	Runs     int    // how often its script ran: once when all is well
	Error    string // why it failed
}

// Droplet is one line of the simulated account's ledger.
type Droplet struct {
	Name    string
	Created time.Duration
	Gone    time.Duration // zero for one that is still there, and billed
}

// Check is one thing that has to be true at the end of a run.
type Check struct {
	OK   bool
	Text string
}

// Sample is the state of a run at one moment.
type Sample struct {
	At time.Duration

	// Jobs. Queued ones wait for a Droplet, running ones have one.
	Queued, Running, Done, Failed int

	// Droplets on the account: Creating until the runner has found it ready, then Idle or Busy, Deleting from when the runner
	// gives it up until it is gone. A Droplet is in exactly one of them.
	Creating, Idle, Busy, Deleting int

	IdleCount int            // that of the policy in force, in jobs
	Requests  map[string]int // that the simulator has answered, by kind
	Dollars   float64        // what the account owes so far
}

// Droplets is how many are on the account.
func (s Sample) Droplets() int { return s.Creating + s.Idle + s.Busy + s.Deleting }

// Last is the state at the end.
func (r *Report) Last() Sample {
	if len(r.Samples) == 0 {
		return Sample{}
	}
	return r.Samples[len(r.Samples)-1]
}

// OK reports whether every check holds.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.OK })
}

// MostDroplets is how many Droplets there were at once, at most: at the creation of one of them. One that ends in that
// moment makes room for it.
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

// Wait is how long jobs were queued: the smallest time that the given share of them (above 0, at most 1) did not exceed.
// Jobs that never had a Droplet are left out; without any job it is 0.
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
	return waits[max(int(math.Ceil(share*float64(len(waits))))-1, 0)]
}

// check adds a check that holds or not.
func (r *Report) check(ok bool, format string, args ...any) {
	r.Checks = append(r.Checks, Check{ok, fmt.Sprintf(format, args...)})
}

// none adds the check that nothing was found, and names what was, but not more than a reader wants to see.
func (r *Report) none(what string, found []string) {
	if len(found) == 0 {
		r.check(true, "no %s", what)
		return
	}
	list := strings.Join(found[:min(5, len(found))], "; ")
	if n := len(found) - 5; n > 0 {
		list += fmt.Sprintf("; and %d more", n)
	}
	r.check(false, "no %s, but found %d: %s", what, len(found), list)
}

// checkJobs checks that each planned job ran once, and that there were not too many Droplets for it.
func (r *Report) checkJobs(planned int) {
	var bad []string
	for _, j := range r.Jobs {
		switch {
		case j.Error != "":
			bad = append(bad, fmt.Sprintf("job %d: %s", j.ID, j.Error))
		case j.Runs != 1:
			bad = append(bad, fmt.Sprintf("job %d ran %d times", j.ID, j.Runs))
		}
	}
	for id := len(r.Jobs) + 1; id <= planned; id++ {
		bad = append(bad, fmt.Sprintf("job %d was never queued", id))
	}
	if len(bad) > 0 {
		r.none("job failed, or ran other than once", bad)
	} else {
		r.check(true, "%d of %d jobs ran, each exactly once", planned, planned)
	}
	if limit := r.Config.Autoscaler.MaxInstances; limit > 0 {
		peak := r.MostDroplets()
		r.check(peak <= limit, "at most %d Droplets at once, max_instances is %d", peak, limit)
	}
}

// recorder remembers a run. The simulator, the runner and the jobs report to it from their own goroutines.
type recorder struct {
	begin time.Time

	mu       sync.Mutex // guards all below
	jobs     []Job      // by id, from 1
	droplets map[string]state
	samples  []Sample
}

// state is what the runner thinks of a Droplet.
type state int

const (
	creating state = 1 + iota
	ready
	deleting
	gone
)

func newRecorder() *recorder {
	return &recorder{begin: time.Now(), droplets: map[string]state{}}
}

// droplet is told the state of one. One that is given up does not come back, one that nobody created is not counted.
func (r *recorder) droplet(name string, to state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if was, there := r.droplets[name]; to == creating || there && to > was {
		r.droplets[name] = to
	}
}

// settled reports whether no Droplet is being created.
func (r *recorder) settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.Contains(slices.Collect(maps.Values(r.droplets)), creating)
}

// queued is told of a job, in the order of their ids.
func (r *recorder) queued(id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs = append(r.jobs, Job{ID: id, Queued: time.Since(r.begin)})
}

// job changes what is known of a job, at a time since the begin.
func (r *recorder) job(id int, change func(*Job, time.Duration)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.jobs[id-1], time.Since(r.begin))
}

// sample counts what there is now into s, which has the account's own numbers, and keeps it.
func (r *recorder) sample(s Sample) Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.At = time.Since(r.begin)
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
		case state == gone:
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

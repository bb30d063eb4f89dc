package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/connector"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker"
)

// Plan is the work of a run: bursts of jobs with quiet time between them.
type Plan struct {
	Bursts           []Burst       // one after the other; without any the harness only watches for Tail
	MinWork, MaxWork time.Duration // bound how long a job works
	Settled          bool          // the first burst waits until idle_count Droplets are there
	Tail             time.Duration // how long the run is watched after the last job, so that idle_time can show its effect
}

// Burst is a number of jobs that are queued in one moment, after quiet time since the last job of the burst before has ended.
type Burst struct {
	Pause time.Duration
	Jobs  int
}

// DefaultPlan spreads jobs over three bursts: one that needs more Droplets than there are, a small one soon after that
// finds them idle, and a last one after a lull in which idle_time removes the surplus. Few jobs are one burst.
func DefaultPlan(jobs int) Plan {
	const lull = 9 * time.Second // half as much again as the demo's idle_time
	p := Plan{MinWork: 500 * time.Millisecond, MaxWork: 2 * time.Second, Tail: lull}
	small, last := jobs/6, jobs/3
	for _, b := range []Burst{{4 * time.Second, jobs - small - last}, {2 * time.Second, small}, {lull, last}} {
		if b.Jobs > 0 {
			p.Bursts = append(p.Bursts, b)
		}
	}
	return p
}

// job is one piece of work, known before the run begins.
type job struct {
	id     int    // from 1
	script string // for a Droplet's shell, or for that of a container (package docker)
	output string // what the script prints: no other job's
}

// key identifies the job to the autoscaler.
func (j job) key() string { return fmt.Sprintf("job-%03d", j.id) }

// jobs lays the plan out: one slice a burst. The same plan gives the same jobs.
func (p Plan) jobs() (bursts [][]job) {
	random := rand.New(rand.NewPCG(1, uint64(len(p.Bursts))))
	id := 0
	for _, b := range p.Bursts {
		var jobs []job
		for range b.Jobs {
			id++
			work := p.MinWork + time.Duration(random.Int64N(int64(p.MaxWork-p.MinWork)+1))
			output := fmt.Sprintf("job-%03d %016x\n", id, random.Uint64())
			jobs = append(jobs, job{id, fmt.Sprintf("sleep %.3f\necho %s", work.Seconds(), output), output})
		}
		bursts = append(bursts, jobs)
	}
	return bursts
}

// total is how many jobs the plan has.
func (p Plan) total() (n int) {
	for _, b := range p.Bursts {
		n += b.Jobs
	}
	return n
}

// carryOut works through the plan and returns when its tail is over or ctx ends, never before its jobs have ended.
func (r *runner) carryOut(ctx context.Context, p Plan) error {
	if p.Settled {
		if err := r.awaitIdle(ctx); err != nil {
			return err
		}
	}
	for i, burst := range p.jobs() {
		if err := pause(ctx, p.Bursts[i].Pause); err != nil {
			return err
		}
		if err := r.burst(ctx, burst); err != nil {
			return err
		}
	}
	return pause(ctx, p.Tail)
}

// burst queues jobs in one moment and returns when all of them have ended.
func (r *runner) burst(ctx context.Context, jobs []job) error {
	for _, j := range jobs {
		r.rec.queued(j.id)
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, r.config.Jobs)
	for _, j := range jobs {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.reserve(ctx, j); err != nil {
			return err
		}
		running.Go(func() {
			defer func() { <-slots }()
			_ = r.run(ctx, j) // it is recorded
		})
	}
	return nil
}

// reserve waits until the runner may take one more job; it asks at the runner's check_interval, shortened.
func (r *runner) reserve(ctx context.Context, j job) error {
	for r.scaler.Reserve(j.key()) != nil {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// run is one job from its reservation, as the runner takes it, to its release: it waits for an instance, dials it, and
// runs the script there.
func (r *runner) run(ctx context.Context, j job) (err error) {
	defer func() {
		r.rec.job(j.id, func(known *Job, now time.Duration) {
			if known.Finished = now; err != nil {
				known.Error = err.Error()
			}
		})
	}()
	acquireCtx, cancel := context.WithTimeout(ctx, r.config.Autoscaler.InstanceAcquireTimeout)
	defer cancel()
	acquisition, err := r.scaler.Acquire(acquireCtx, j.key())
	if err != nil {
		r.scaler.Unreserve(j.key())
		return fmt.Errorf("waiting for a Droplet: %w", err)
	}
	defer r.scaler.Release(j.key())
	droplet := acquisition.InstanceID()
	r.rec.job(j.id, func(known *Job, now time.Duration) { known.Droplet, known.Started = droplet, now })

	// From here on the job ends with its instance.
	ctx, cancel = acquisition.WithContext(ctx)
	defer cancel()
	info, err := acquisition.InstanceConnectInfo(ctx)
	if err != nil {
		return fmt.Errorf("connect info of %s: %w", droplet, err)
	}
	client, err := connector.Dial(ctx, info, r.dialOptions())
	if err != nil {
		acquisition.HealthFailure()
		return fmt.Errorf("dialing %s: %w", droplet, err)
	}
	defer client.Close()
	acquisition.HealthSuccess()

	var output bytes.Buffer // still written to when a script ends early, with an error
	if err := r.jobs.run(ctx, client, j, &output); err != nil {
		return fmt.Errorf("script on %s: %w", droplet, err)
	}
	if got := output.String(); got != j.output {
		return fmt.Errorf("script on %s printed %q, not %q", droplet, got, j.output)
	}
	return nil
}

// workplace is where jobs' scripts run on a Droplet, and what knows how often.
type workplace struct {
	engine *docker.Engine // which runs them in containers; nil: the Droplet's shell does
	marks  string         // a file in which every job of a shell leaves a line each time it runs
}

func (w workplace) run(ctx context.Context, droplet connector.Client, j job, output io.Writer) error {
	if w.engine != nil {
		return w.engine.Run(ctx, droplet, docker.Job{Key: j.key(), Script: j.script, Log: output})
	}
	script := fmt.Sprintf("set -eu\necho %s >> '%s'\n%s", j.key(), w.marks, j.script)
	return droplet.Run(ctx, connector.RunOptions{Command: "sh", Stdin: strings.NewReader(script), Stdout: output}) // stderr is in the error
}

// runs counts how often each job's script has run, by the job's key.
func (w workplace) runs(ctx context.Context) (map[string]int, error) {
	if w.engine != nil {
		return w.engine.Runs(ctx)
	}
	marks, err := os.ReadFile(w.marks)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	runs := map[string]int{}
	for _, key := range strings.Fields(string(marks)) {
		runs[key]++
	}
	return runs, nil
}

package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/connector"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker"
)

// reserveInterval is how often the runner asks whether it may take one more
// job: the runner's check_interval, shortened.
const reserveInterval = 50 * time.Millisecond

// carryOut works through the plan and returns when its tail is over or ctx
// ends, never before its jobs have ended.
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
		r.rec.jobQueued(j)
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, r.config.jobLimit())
	for _, j := range jobs {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		for r.scaler.Reserve(j.key()) != nil {
			if err := pause(ctx, reserveInterval); err != nil {
				return err
			}
		}
		running.Go(func() {
			defer func() { <-slots }()
			r.rec.jobFinished(j, r.run(ctx, j))
		})
	}
	return nil
}

// run is one job from its reservation to its release: it is taken only when the autoscaler
// grants a reservation for it, as the runner does, and waits for an instance.
func (r *runner) run(ctx context.Context, j job) error {
	scaler := r.scaler
	acquireCtx, cancel := context.WithTimeout(ctx, r.config.Autoscaler.InstanceAcquireTimeout)
	defer cancel()
	acquisition, err := scaler.Acquire(acquireCtx, j.key())
	if err != nil {
		scaler.Unreserve(j.key())
		return fmt.Errorf("waiting for a Droplet: %w", err)
	}
	defer scaler.Release(j.key())
	r.rec.jobStarted(j, acquisition.InstanceID())

	// From here on the job ends with its instance.
	ctx, cancel = acquisition.WithContext(ctx)
	defer cancel()
	info, err := acquisition.InstanceConnectInfo(ctx)
	if err != nil {
		return fmt.Errorf("connect info of %s: %w", acquisition.InstanceID(), err)
	}
	client, err := connector.Dial(ctx, info, r.dial)
	if err != nil {
		acquisition.HealthFailure()
		return fmt.Errorf("dialing %s: %w", acquisition.InstanceID(), err)
	}
	defer client.Close()
	acquisition.HealthSuccess()

	var output bytes.Buffer // still written to when a script ends early, with an error
	if err := r.jobs.run(ctx, client, j, &output); err != nil {
		return fmt.Errorf("script on %s: %w", acquisition.InstanceID(), err)
	}
	if got := output.String(); got != j.output {
		return fmt.Errorf("script on %s printed %q, not %q", acquisition.InstanceID(), got, j.output)
	}
	return nil
}

// key identifies the job to the autoscaler.
func (j job) key() string { return fmt.Sprintf("job-%03d", j.id) }

// workplace is where jobs' scripts run on a Droplet, and what knows how often.
type workplace struct {
	engine *docker.Engine // which runs them in containers; nil: the Droplet's shell does
	marks  string         // a file in which every job of a shell leaves a line each time it runs
}

func (w workplace) run(ctx context.Context, droplet connector.Client, j job, output io.Writer) error {
	if w.engine != nil {
		return w.engine.Run(ctx, droplet, docker.Job{Key: j.key(), Script: j.script, Log: output})
	}
	return droplet.Run(ctx, connector.RunOptions{
		Command: "sh",
		Stdin:   strings.NewReader(w.marking(j)),
		Stdout:  output,
		Stderr:  nil, // becomes part of the error
	})
}

// marking is the script of a job that leaves a mark when it runs.
func (w workplace) marking(j job) string {
	marks := strings.ReplaceAll(w.marks, `'`, `'\''`)
	return fmt.Sprintf("set -eu\necho %s >> '%s'\n%s", j.key(), marks, j.script)
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

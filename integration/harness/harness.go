// Package harness runs the real plugin binary the way GitLab Runner does, against a simulated DigitalOcean account, and
// checks what came of it.
//
// It reads a runner's config.toml, starts the plugin with fleeting.RunPlugin, lets the runner's own libraries (taskscaler,
// fleeting's provisioner and connector) scale it, and sends bursts of jobs to the Droplets over SSH, for their shell or for
// containers ([docker]). What it replaces is DigitalOcean ([dosim]), what boots in a Droplet ([guest]), and GitLab's job
// queue ([Plan]).
//
// [docker]: https://pkg.go.dev/gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker
// [dosim]: https://pkg.go.dev/gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim
// [guest]: https://pkg.go.dev/gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// Options say what to run.
type Options struct {
	Config   *Config       // the runner's; its `plugin` is not looked at
	Plugin   string        // the path of the plugin's binary
	Host     *Host         // what the plugin finds around it
	Plan     Plan          // the work
	Docker   *guest.Docker // the Engine of the Droplets, for jobs to run in containers; nil: in the Droplets' shell
	Timeout  time.Duration // of the work: what is then unfinished fails; taking everything down has up to 50 s of its own
	Log      hclog.Logger  // of runner and plugin
	Progress func(Sample)  // called about five times a second from one goroutine, never again once Run has returned; may be nil
}

const (
	restLimit = 30 * time.Second
	stopLimit = 20 * time.Second // two shutdown_deletion_intervals
)

// Run carries the plan out and takes everything down again, also when ctx ends early. The error tells that there was no
// run, because the account, the plugin or its Init failed, or that containers are left; whatever else went wrong is in the
// report's checks.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	dir, err := os.MkdirTemp("", "fleeting-harness-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c := *o.Config
	c.Autoscaler.DeleteInstancesOnShutdown = true // a run ends with an empty account
	rec := newRecorder()
	a, err := openAccount(o.Host, c.Autoscaler.Connector, o.Docker, rec, o.Log.Named("guest"))
	if err != nil {
		return nil, err
	}
	defer a.close()
	jobs := workplace{marks: filepath.Join(dir, "marks")}
	if o.Docker != nil {
		if jobs.engine, err = docker.Open(ctx, o.Docker.Host); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, jobs.engine.Close()) }()
	}
	config, err := simulated(c.Autoscaler.PluginConfig, a.url, dosim.DefaultToken, dir)
	if err != nil {
		return nil, err
	}
	r := &runner{config: &c, dial: a.dial, rec: rec, jobs: jobs}
	if err := r.start(ctx, o.Plugin, config, o.Log); err != nil {
		return nil, err
	}
	stopSampling := startSampling(a, r, o.Progress)

	work, cancel := context.WithTimeout(ctx, o.Timeout)
	err = r.carryOut(work, o.Plan)
	cancel()
	report = &Report{Config: &c}
	ctx = context.WithoutCancel(ctx)
	rested := r.takeDown(ctx, a)
	stopSampling()

	runs, failed := jobs.runs(ctx)
	if failed != nil {
		return nil, fmt.Errorf("counting the runs of the jobs: %w", failed)
	}
	report.Jobs, report.Samples = rec.jobs, rec.samples // nobody reports any more
	for i, j := range report.Jobs {
		report.Jobs[i].Runs = runs[job{id: j.ID}.key()]
	}
	report.Elapsed, report.Droplets = time.Since(rec.begin), a.droplets(rec.begin)
	report.checkJobs(o.Plan.total())
	a.check(report)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		report.check(false, "the run took longer than %s: give it more time, or fewer jobs", o.Timeout)
	case err != nil:
		report.check(false, "interrupted before the plan was through")
	}
	if rested != nil {
		report.check(false, "%v", rested)
	}
	return report, nil
}

// takeDown ends the runner as one that deletes its instances on shutdown, and waits for the account to become empty: a
// deletion takes its time after it was asked for.
func (r *runner) takeDown(ctx context.Context, a *account) error {
	restCtx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	err := r.rest(restCtx)
	stopCtx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	r.stop(stopCtx)
	for len(a.sim.Droplets()) > 0 && pause(stopCtx, 20*time.Millisecond) == nil {
	}
	return err
}

// startSampling takes samples, five a second, until stop is called, which returns when the last one is taken.
func startSampling(a *account, r *runner, progress func(Sample)) (stop func()) {
	take := func() {
		s := r.rec.sample(Sample{IdleCount: r.scaler.Schedule().IdleCount, Requests: a.sim.RequestCounts(), Dollars: a.sim.Dollars()})
		if progress != nil {
			progress(s)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for take(); pause(ctx, 200*time.Millisecond) == nil; take() {
		}
		take()
	})
	return func() {
		cancel()
		sampler.Wait()
	}
}

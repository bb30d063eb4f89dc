// Package harness runs the real plugin binary the way GitLab Runner does,
// against a simulated DigitalOcean account, and checks what came of it.
//
// It reads a runner's config.toml, starts the plugin with fleeting.RunPlugin,
// lets the runner's own libraries (taskscaler, fleeting's provisioner and
// connector) scale it, and sends bursts of jobs to the Droplets over SSH, for
// their shell or for containers ([docker]). What it replaces is DigitalOcean
// ([dosim]), what boots in a Droplet ([guest]), and GitLab's job queue ([Plan]).
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
	"gitlab.com/gitlab-org/fleeting/taskscaler"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// Options say what to run.
type Options struct {
	// Config is the runner's. Required.
	Config *Config
	// Plugin is the path of the plugin's binary. Required; the config's own
	// `plugin` is not looked at.
	Plugin string
	// Host is what the plugin finds around it. Required.
	Host *Host
	// Plan is the work.
	Plan Plan
	// Docker is the Engine of the Droplets, for jobs to run in containers. Without
	// it they run in the Droplets' shell.
	Docker *guest.Docker

	// Timeout bounds the work; what is then unfinished fails. Taking
	// everything down has up to 50 s of its own. 0 is no bound but ctx's.
	Timeout time.Duration

	// Log gets the runner's and the plugin's log. Nil discards it.
	Log hclog.Logger
	// Progress, if set, is called about five times a second from one goroutine,
	// never again once Run has returned.
	Progress func(Sample)
}

const (
	sampleInterval = 200 * time.Millisecond
	restLimit      = 30 * time.Second
	stopLimit      = 20 * time.Second // two shutdown_deletion_intervals
)

// Run carries the plan out and takes everything down again, also when ctx ends
// early. The error tells that there was no run, because the account, the
// plugin or its Init failed, or that containers are left; whatever else went
// wrong is in the report's checks.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}

	dir, err := os.MkdirTemp("", "fleeting-harness-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	c := o.Config
	rec := newRecorder()
	account, err := openAccount(o.Host, c.Autoscaler.Connector, o.Docker, rec, func(format string, args ...any) {
		o.Log.Named("guest").Info(fmt.Sprintf(format, args...))
	})
	if err != nil {
		return nil, err
	}
	defer account.close()
	jobs := workplace{marks: filepath.Join(dir, "marks")}
	if o.Docker != nil {
		if jobs.engine, err = docker.Open(ctx, o.Docker.Host); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, jobs.engine.Close()) }()
	}

	config, err := pluginConfig(c.Autoscaler.PluginConfig, simulated{apiURL: account.url, token: dosim.DefaultToken, keyDir: dir})
	if err != nil {
		return nil, err
	}

	runner, err := startRunner(ctx, o.Plugin, c, config, account.dial, rec, o.Log,
		taskscaler.WithDeleteInstancesOnShutdown()) // forced: a run ends with an empty account
	if err != nil {
		return nil, err
	}
	runner.jobs = jobs
	stopSampling := startSampling(account, runner, o.Progress)
	faults := work(ctx, o, runner)
	faults = append(faults, takeDown(context.WithoutCancel(ctx), runner, account)...)
	stopSampling()

	runs, err := jobs.runs(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("counting the runs of the jobs: %w", err)
	}
	results := rec.results()
	for i := range results {
		results[i].Runs = runs[job{id: results[i].ID}.key()]
	}
	report = &Report{
		MaxInstances:        c.Autoscaler.MaxInstances,
		CapacityPerInstance: c.Autoscaler.CapacityPerInstance,
		Elapsed:             time.Since(rec.begin),
		Jobs:                results,
		Droplets:            account.droplets(rec.begin, results),
		Samples:             rec.samples,
		Requests:            account.sim.RequestCounts(),
		Dollars:             account.sim.Dollars(),
	}
	findings, more := account.findings()
	report.addChecks(o.Plan.total(), findings, append(faults, more...))
	return report, nil
}

// work carries the plan out within its time, and tells what kept it from it.
func work(ctx context.Context, o Options, r *runner) (faults []string) {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	switch err := r.carryOut(ctx, o.Plan); {
	case errors.Is(err, context.DeadlineExceeded):
		return []string{fmt.Sprintf("the run took longer than %s: give it more time, or fewer jobs", o.Timeout)}
	case err != nil:
		return []string{"interrupted before the plan was through"}
	}
	return nil
}

// takeDown ends the runner as one that deletes its instances on shutdown, and
// waits for the account to become empty.
func takeDown(ctx context.Context, r *runner, a *account) (faults []string) {
	restCtx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	if err := r.rest(restCtx); err != nil {
		faults = append(faults, err.Error())
	}
	stopCtx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	r.stop(stopCtx)
	a.settle(stopCtx)
	return faults
}

// startSampling takes samples until stop is called, which returns when the
// last one is taken.
func startSampling(a *account, r *runner, progress func(Sample)) (stop func()) {
	take := func() {
		s := r.rec.sample(r.scaler.Schedule().IdleCount, a.sim.RequestCounts(), a.sim.Dollars())
		if progress != nil {
			progress(s)
		}
	}
	done := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		ticker := time.NewTicker(sampleInterval)
		defer ticker.Stop()
		for {
			take()
			select {
			case <-ticker.C:
			case <-done:
				take()
				return
			}
		}
	})
	return func() {
		close(done)
		sampler.Wait()
	}
}

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/connector"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"gitlab.com/gitlab-org/fleeting/taskscaler"
)

// dialer opens the connection to a Droplet; nil is the connector's own.
type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// runner stands where GitLab Runner's autoscaler stands between config.toml and the plugin: it starts the plugin's binary,
// gives the same options to the same libraries, and takes jobs to Droplets the same way (work.go).
type runner struct {
	config *Config
	dial   dialer
	rec    *recorder
	jobs   workplace

	plugin    *fleeting.Runner
	scaler    taskscaler.Taskscaler
	stopReady context.CancelFunc // cancels the ready commands that still run at shutdown
}

// start starts the plugin at path and its autoscaling. It returns when the plugin's Init and first Update are through,
// within the runner's own minute.
func (r *runner) start(ctx context.Context, path string, pluginConfig []byte, log hclog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a := r.config.Autoscaler
	settings, err := settings(a.Connector)
	if err != nil {
		return err
	}
	r.plugin, err = fleeting.RunPlugin(path, pluginConfig, fleeting.WithPluginLogger(log.Named("fleeting-plugin")))
	if err != nil {
		return fmt.Errorf("starting the plugin %s: %w", path, err)
	}
	var ready context.Context
	ready, r.stopReady = context.WithCancel(context.WithoutCancel(ctx))
	options := []taskscaler.Option{
		taskscaler.WithReservations(),
		taskscaler.WithCapacityPerInstance(a.CapacityPerInstance),
		taskscaler.WithMaxUseCount(a.MaxUseCount),
		taskscaler.WithMaxInstances(a.MaxInstances),
		taskscaler.WithInstanceGroupSettings(settings),
		taskscaler.WithInstanceUpFunc(func(_ taskscaler.Taskscaler, i taskscaler.UpFuncInstance) error { return r.ready(ready, i) }),
		taskscaler.WithUpdateInterval(a.UpdateInterval),
		taskscaler.WithUpdateIntervalWhenExpecting(a.UpdateIntervalWhenExpecting),
		taskscaler.WithDeletionRetryInterval(a.DeletionRetryInterval),
		taskscaler.WithShutdownDeletionInterval(a.ShutdownDeletionInterval),
		taskscaler.WithShutdownDeletionRetries(a.ShutdownDeletionRetries),
		taskscaler.WithFailureThreshold(a.FailureThreshold),
		taskscaler.WithScaleThrottle(a.ScaleThrottle.Limit, a.ScaleThrottle.Burst),
		taskscaler.WithLogger(log.Named("taskscaler")),
		// How often a waiting job looks for a free slot: the runner uses the library's 2 s; a run of under a minute is clearer
		// with less.
		taskscaler.WithAcquireDelay(100 * time.Millisecond),
	}
	if a.DeleteInstancesOnShutdown {
		options = append(options, taskscaler.WithDeleteInstancesOnShutdown())
	}
	r.scaler, err = taskscaler.New(ctx, witness{r.plugin.InstanceGroup(), r.rec}, options...)
	if err != nil {
		r.stopReady()
		r.plugin.Kill()
		return fmt.Errorf("starting the autoscaler: %w", err)
	}
	var schedules []taskscaler.Schedule
	for _, p := range a.Policy {
		schedules = append(schedules, taskscaler.Schedule{
			Periods:          p.Periods,
			Timezone:         p.Timezone,
			IdleCount:        p.IdleCount,
			IdleTime:         p.IdleTime,
			ScaleFactor:      p.ScaleFactor,
			ScaleFactorLimit: p.ScaleFactorLimit,
			PreemptiveMode:   p.Preemptive(),
		})
	}
	if err := r.scaler.ConfigureSchedule(schedules...); err != nil {
		r.stop(ctx)
		return fmt.Errorf("runners.autoscaler.policy: %w", err)
	}
	return nil
}

func (r *runner) dialOptions() connector.DialOptions {
	return connector.DialOptions{DialFn: r.dial, UseExternalAddr: r.config.Autoscaler.Connector.UseExternalAddr}
}

// ready runs instance_ready_command on a new Droplet; the autoscaler deletes a Droplet on which it fails.
func (r *runner) ready(ctx context.Context, instance taskscaler.UpFuncInstance) error {
	if command := r.config.Autoscaler.InstanceReadyCommand; command != "" {
		err := connector.Run(ctx, instance.Info, connector.ConnectorOptions{
			RunOptions:  connector.RunOptions{Command: command},
			DialOptions: r.dialOptions(),
		})
		if err != nil {
			return fmt.Errorf("ready command: %w", err)
		}
	}
	r.rec.droplet(instance.ID, ready)
	return nil
}

// rest takes the policy's demand away and waits until nothing is being created any more: the autoscaler's shutdown deletes
// only what has come up. It gives up when ctx ends.
func (r *runner) rest(ctx context.Context) error {
	policy := r.scaler.Schedule()
	if err := r.scaler.ConfigureSchedule(taskscaler.Schedule{IdleTime: policy.IdleTime}); err != nil {
		return err
	}
	// What was asked for before shows up within one round of the scaler (1 s) and one of the provisioner.
	quiet := 1200*time.Millisecond + r.config.Autoscaler.UpdateIntervalWhenExpecting
	for since := time.Now(); time.Since(since) < quiet; {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return errors.New("Droplets were still being created when the time was up")
		}
		if !r.rec.settled() {
			since = time.Now()
		}
	}
	return nil
}

// awaitIdle waits until there is room for the policy's idle_count jobs, or ctx ends.
func (r *runner) awaitIdle(ctx context.Context) error {
	wait := 1200 * time.Millisecond // until the scaler, once a second, knows its policy
	for ; ; wait = 100 * time.Millisecond {
		if err := pause(ctx, wait); err != nil {
			return err
		}
		if free, _ := r.scaler.Capacity(); free >= r.scaler.Schedule().IdleCount {
			return nil
		}
	}
}

// stop shuts autoscaling and plugin down, as a runner that is asked to end.
func (r *runner) stop(ctx context.Context) {
	r.stopReady()
	r.scaler.Shutdown(ctx)
	r.plugin.Kill()
}

// Serve does with a config.toml what `gitlab-runner run` does with it, except that there are no jobs: it starts the plugin
// at path, and scales the account that plugin_config and the environment name by the policy, until ctx ends. It calls idle
// when there is room for the policy's idle_count jobs.
//
// What it leaves on the account is up to delete_instances_on_shutdown. It remembers nothing: state_storage is not used.
func Serve(ctx context.Context, c *Config, path string, log hclog.Logger, idle func(), dial dialer) error {
	config, err := json.Marshal(c.Autoscaler.PluginConfig)
	if err != nil {
		return fmt.Errorf("plugin_config as JSON: %w", err)
	}
	r := &runner{config: c, dial: dial, rec: newRecorder()}
	if err := r.start(ctx, path, config, log); err != nil {
		return err
	}
	if r.awaitIdle(ctx) == nil {
		idle()
	}
	<-ctx.Done()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	r.stop(stopCtx)
	return nil
}

// witness lets the recorder see which instances the runner gives up.
type witness struct {
	provider.InstanceGroup
	rec *recorder
}

func (w witness) Decrease(ctx context.Context, instances []string) ([]string, error) {
	for _, name := range instances {
		w.rec.droplet(name, deleting)
	}
	return w.InstanceGroup.Decrease(ctx, instances)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

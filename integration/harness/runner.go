package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/connector"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"gitlab.com/gitlab-org/fleeting/taskscaler"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// acquireDelay is how often a waiting job looks for a free slot. The runner
// uses the library's 2 s; a run of under a minute is clearer with less.
const acquireDelay = 100 * time.Millisecond

// initTimeout is the runner's own.
const initTimeout = time.Minute

// runner stands where GitLab Runner's autoscaler stands between config.toml
// and the plugin: it starts the plugin's binary, gives the same options to the same
// libraries, and takes jobs to Droplets the same way (work.go).
type runner struct {
	config *Config
	plugin *fleeting.Runner
	scaler taskscaler.Taskscaler
	dial   connector.DialOptions
	rec    *recorder
	jobs   workplace

	// stopReady cancels the ready commands that still run at shutdown.
	stopReady context.CancelFunc
}

// dialFunc opens the connection to a Droplet; nil is the connector's own.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// startRunner starts the plugin at path and its autoscaling. It returns when
// the plugin's Init and first Update are through.
func startRunner(ctx context.Context, path string, c *Config, pluginConfig []byte, dial dialFunc, rec *recorder, log hclog.Logger, more ...taskscaler.Option) (*runner, error) {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	settings, err := connectorSettings(c.Autoscaler.Connector)
	if err != nil {
		return nil, err
	}

	plugin, err := fleeting.RunPlugin(path, pluginConfig, fleeting.WithPluginLogger(log.Named("fleeting-plugin")))
	if err != nil {
		return nil, fmt.Errorf("starting the plugin %s: %w", path, err)
	}

	readyCtx, stopReady := context.WithCancel(context.WithoutCancel(ctx))
	r := &runner{
		config:    c,
		plugin:    plugin,
		dial:      connector.DialOptions{DialFn: dial, UseExternalAddr: c.Autoscaler.Connector.UseExternalAddr},
		rec:       rec,
		stopReady: stopReady,
	}

	a := c.Autoscaler
	options := []taskscaler.Option{
		taskscaler.WithReservations(),
		taskscaler.WithCapacityPerInstance(a.CapacityPerInstance),
		taskscaler.WithMaxUseCount(a.MaxUseCount),
		taskscaler.WithMaxInstances(a.MaxInstances),
		taskscaler.WithInstanceGroupSettings(settings),
		taskscaler.WithInstanceUpFunc(r.ready(readyCtx)),
		taskscaler.WithUpdateInterval(a.UpdateInterval),
		taskscaler.WithUpdateIntervalWhenExpecting(a.UpdateIntervalWhenExpecting),
		taskscaler.WithDeletionRetryInterval(a.DeletionRetryInterval),
		taskscaler.WithShutdownDeletionInterval(a.ShutdownDeletionInterval),
		taskscaler.WithShutdownDeletionRetries(a.ShutdownDeletionRetries),
		taskscaler.WithFailureThreshold(a.FailureThreshold),
		taskscaler.WithScaleThrottle(a.ScaleThrottle.Limit, a.ScaleThrottle.Burst),
		taskscaler.WithLogger(log.Named("taskscaler")),
		taskscaler.WithAcquireDelay(acquireDelay),
	}
	options = append(options, more...)

	r.scaler, err = taskscaler.New(ctx, witness{plugin.InstanceGroup(), rec}, options...)
	if err != nil {
		stopReady()
		plugin.Kill()
		return nil, fmt.Errorf("starting the autoscaler: %w", err)
	}
	if err := r.scaler.ConfigureSchedule(schedules(a.Policy)...); err != nil {
		r.stop(ctx)
		return nil, fmt.Errorf("runners.autoscaler.policy: %w", err)
	}
	return r, nil
}

// ready runs instance_ready_command on each new Droplet; the autoscaler
// deletes a Droplet on which it fails.
func (r *runner) ready(ctx context.Context) taskscaler.UpFunc {
	return func(_ taskscaler.Taskscaler, instance taskscaler.UpFuncInstance) error {
		if command := r.config.Autoscaler.InstanceReadyCommand; command != "" {
			err := connector.Run(ctx, instance.Info, connector.ConnectorOptions{
				RunOptions:  connector.RunOptions{Command: command},
				DialOptions: r.dial,
			})
			if err != nil {
				return fmt.Errorf("ready command: %w", err)
			}
		}
		r.rec.dropletReady(instance.ID)
		return nil
	}
}

// rest takes the policy's demand away and waits until nothing is being created
// any more: the autoscaler's shutdown deletes only what has come up. It gives
// up when ctx ends.
func (r *runner) rest(ctx context.Context) error {
	policy := r.scaler.Schedule()
	if err := r.scaler.ConfigureSchedule(taskscaler.Schedule{IdleTime: policy.IdleTime}); err != nil {
		return err
	}

	// What was asked for before shows up within one round of the scaler (1 s)
	// and one of the provisioner.
	quiet := 1200*time.Millisecond + r.config.Autoscaler.UpdateIntervalWhenExpecting
	since := time.Now()
	for time.Since(since) < quiet {
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

// connectorSettings turns connector_config into what the plugin's Init gets.
func connectorSettings(c runnerconfig.Connector) (provider.Settings, error) {
	s := provider.Settings{ConnectorConfig: c.Fleeting()}
	if c.KeyPath != "" {
		key, err := os.ReadFile(c.KeyPath)
		if err != nil {
			return s, fmt.Errorf("connector_config.key_path: %w", err)
		}
		s.Key = key
	}
	return s, nil
}

func schedules(policies []runnerconfig.Policy) []taskscaler.Schedule {
	var s []taskscaler.Schedule
	for _, p := range policies {
		s = append(s, taskscaler.Schedule{
			Periods:          p.Periods,
			Timezone:         p.Timezone,
			IdleCount:        p.IdleCount,
			IdleTime:         p.IdleTime,
			ScaleFactor:      p.ScaleFactor,
			ScaleFactorLimit: p.ScaleFactorLimit,
			PreemptiveMode:   p.Preemptive(),
		})
	}
	return s
}

// witness lets the recorder see which instances the runner gives up.
type witness struct {
	provider.InstanceGroup
	rec *recorder
}

func (w witness) Decrease(ctx context.Context, instances []string) ([]string, error) {
	w.rec.dropletsDeleting(instances)
	return w.InstanceGroup.Decrease(ctx, instances)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

package harness

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Config is the part of a GitLab Runner config.toml that decides what an
// autoscaling runner does. Everything else in the file (docker, cache, url,
// token ...) is the runner's own business and is not looked at.
type Config struct {
	// Path is the file that was read, as it was given.
	Path string
	// Concurrent caps the jobs of the whole runner process. At least 1.
	Concurrent int
	// Name and Executor are the runner's. Executor is "docker-autoscaler" or
	// "instance".
	Name     string
	Executor string
	// Limit caps the jobs of this runner; 0 means that only Concurrent does.
	Limit int
	// Autoscaler is [runners.autoscaler] with the runner's defaults filled in.
	Autoscaler runnerconfig.Autoscaler
	// Notes are worth a user's attention and stop nothing: keys that the
	// harness does not use, values that cannot take effect.
	Notes []string
}

// LoadConfig reads path as GitLab Runner does and checks what a run depends
// on. Its errors begin with the path, and with the line where TOML knows it;
// all faults of values come in one error.
func LoadConfig(path string) (*Config, error) {
	f, err := runnerconfig.Load(path)
	if err != nil {
		return nil, err
	}
	return check(f)
}

func check(f *runnerconfig.File) (*Config, error) {
	path := f.Path
	c := &Config{Path: path, Concurrent: f.Concurrent}
	var autoscalers []string
	for _, r := range f.Runners {
		if r.Autoscaler == nil {
			continue
		}
		autoscalers = append(autoscalers, fmt.Sprintf("%q", r.Name))
		c.Name, c.Executor, c.Limit, c.Autoscaler = r.Name, r.Executor, r.Limit, *r.Autoscaler
	}
	switch len(autoscalers) {
	case 0:
		return nil, fmt.Errorf("%s: no [[runners]] has a [runners.autoscaler] section", path)
	case 1:
	default:
		return nil, fmt.Errorf("%s: %d [[runners]] have a [runners.autoscaler] section (%s): leave one",
			path, len(autoscalers), strings.Join(autoscalers, ", "))
	}

	if faults := c.faults(); len(faults) > 0 {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(faults...))
	}
	c.setDefaults()
	for _, key := range f.Ignored {
		c.note("%s: %s is ignored: misspelt, or not used here", f.At(key), key)
	}
	return c, nil
}

func (c *Config) faults() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if c.Concurrent < 1 {
		fault("concurrent is %d: no job can run; the usual value is max_instances x capacity_per_instance", c.Concurrent)
	}
	if c.Limit < 0 {
		fault("runners.limit is %d: must be 0 (no limit) or more", c.Limit)
	}
	if c.Executor != "docker-autoscaler" && c.Executor != "instance" {
		fault(`runners.executor is %q: only "docker-autoscaler" and "instance" use a fleeting plugin`, c.Executor)
	}

	a := c.Autoscaler
	for _, n := range []struct {
		key   string
		value int
	}{
		{"capacity_per_instance", a.CapacityPerInstance},
		{"max_use_count", a.MaxUseCount},
		{"max_instances", a.MaxInstances},
		{"shutdown_deletion_retries", a.ShutdownDeletionRetries},
	} {
		if n.value < 0 {
			fault("runners.autoscaler.%s is %d: must be 0 or more", n.key, n.value)
		}
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"instance_acquire_timeout", a.InstanceAcquireTimeout},
		{"update_interval", a.UpdateInterval},
		{"update_interval_when_expecting", a.UpdateIntervalWhenExpecting},
		{"deletion_retry_interval", a.DeletionRetryInterval},
		{"shutdown_deletion_interval", a.ShutdownDeletionInterval},
		{"connector_config.keepalive", a.Connector.Keepalive},
		{"connector_config.timeout", a.Connector.Timeout},
	} {
		if d.value < 0 {
			fault("runners.autoscaler.%s is %s: must not be negative", d.key, d.value)
		}
		if d.value > 0 && d.value < time.Millisecond {
			fault("runners.autoscaler.%s is %s: a number without a unit counts nanoseconds; write \"%ds\"", d.key, d.value, int64(d.value))
		}
	}
	if a.PluginConfig == nil {
		fault("runners.autoscaler.plugin_config is missing: it names the group, region, size and image")
	}
	if p := a.Connector.Protocol; p != "" && p != "ssh" {
		fault(`runners.autoscaler.connector_config.protocol is %q: Droplets are reached over "ssh"`, p)
	}
	if p := a.Connector.ProtocolPort; p < 0 || p > 65535 {
		fault("runners.autoscaler.connector_config.protocol_port is %d: must be in the range 0 through 65535", p)
	}
	for i, p := range a.Policy {
		if p.IdleCount < 0 {
			fault("runners.autoscaler.policy %d: idle_count is %d: must be 0 or more", i+1, p.IdleCount)
		}
		if p.IdleTime < 0 || p.ScaleFactor < 0 || p.ScaleFactorLimit < 0 {
			fault("runners.autoscaler.policy %d: idle_time, scale_factor and scale_factor_limit must not be negative", i+1)
		}
	}
	return faults
}

// setDefaults fills in what the runner does, and notes what deserves it.
func (c *Config) setDefaults() {
	a := &c.Autoscaler
	a.CapacityPerInstance = max(a.CapacityPerInstance, 1)
	orDefault(&a.ShutdownDeletionRetries, 3)
	orDefault(&a.InstanceAcquireTimeout, 15*time.Minute)
	orDefault(&a.DeletionRetryInterval, time.Minute)
	orDefault(&a.ShutdownDeletionInterval, 10*time.Second)
	orDefault(&a.Connector.Protocol, "ssh")
	orDefault(&a.Connector.ProtocolPort, 22)
	if a.UpdateInterval == 0 || a.UpdateIntervalWhenExpecting == 0 {
		c.note("write out both update_interval and update_interval_when_expecting: some runner releases pass an unset one on as 0, and their loop then never waits")
	}
	orDefault(&a.UpdateInterval, time.Minute)
	orDefault(&a.UpdateIntervalWhenExpecting, 2*time.Second)

	if a.MaxInstances == 0 {
		c.note("max_instances is not set: the plugin's own max_instances is the only limit")
	}
	if slots := a.MaxInstances * a.CapacityPerInstance; c.jobLimit() < slots {
		c.note("concurrent and limit allow %d jobs at once, max_instances x capacity_per_instance is %d: some Droplets would never be used",
			c.jobLimit(), slots)
	}
	if len(a.Policy) == 0 {
		c.note("there is no [[runners.autoscaler.policy]]: idle_count is 0 and idle_time 5m")
	}
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c *Config) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// jobLimit is how many jobs the runner takes at once.
func (c *Config) jobLimit() int {
	if c.Limit > 0 {
		return min(c.Concurrent, c.Limit)
	}
	return c.Concurrent
}

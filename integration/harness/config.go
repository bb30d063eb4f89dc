package harness

import (
	"fmt"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Config is the part of a GitLab Runner config.toml that decides what an
// autoscaling runner does. Everything else in the file (docker, cache, url,
// token ...) is the runner's own business and is not looked at; what is wrong
// with it is for doctor to say.
type Config struct {
	// Concurrent caps the jobs of the whole runner process. At least 1.
	Concurrent int
	// Limit caps the jobs of this runner; 0 means that only Concurrent does.
	Limit int
	// Autoscaler is [runners.autoscaler] with the runner's defaults filled in.
	Autoscaler runnerconfig.Autoscaler
}

// LoadConfig reads path as GitLab Runner does. Its errors begin with the path, and with
// the line where TOML knows it.
func LoadConfig(path string) (*Config, error) {
	f, err := runnerconfig.Load(path)
	if err != nil {
		return nil, err
	}
	return autoscaling(f)
}

func autoscaling(f *runnerconfig.File) (*Config, error) {
	runners := slices.DeleteFunc(slices.Clone(f.Runners), func(r runnerconfig.Runner) bool { return r.Autoscaler == nil })
	if len(runners) != 1 {
		return nil, fmt.Errorf("%s: %d [[runners]] have a [runners.autoscaler] section, want one", f.Path, len(runners))
	}
	if f.Concurrent < 1 {
		return nil, fmt.Errorf("%s: concurrent is %d: no job can run; max_instances x capacity_per_instance is usual", f.Path, f.Concurrent)
	}
	c := &Config{Concurrent: f.Concurrent, Limit: runners[0].Limit, Autoscaler: *runners[0].Autoscaler}
	a := &c.Autoscaler
	a.CapacityPerInstance = max(a.CapacityPerInstance, 1)
	orDefault(&a.ShutdownDeletionRetries, 3)
	orDefault(&a.InstanceAcquireTimeout, 15*time.Minute)
	orDefault(&a.DeletionRetryInterval, time.Minute)
	orDefault(&a.ShutdownDeletionInterval, 10*time.Second)
	orDefault(&a.Connector.Protocol, "ssh")
	orDefault(&a.Connector.ProtocolPort, 22)
	orDefault(&a.UpdateInterval, time.Minute)
	orDefault(&a.UpdateIntervalWhenExpecting, 2*time.Second)
	return c, nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// jobLimit is how many jobs the runner takes at once.
func (c *Config) jobLimit() int {
	if c.Limit > 0 {
		return min(c.Concurrent, c.Limit)
	}
	return c.Concurrent
}

package harness

import (
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
	// Limit caps the jobs of this runner; 0 means that only Concurrent does.
	Limit int
	// Autoscaler is [runners.autoscaler] with the runner's defaults filled in.
	Autoscaler runnerconfig.Autoscaler
	// Notes are worth a user's attention and stop nothing: keys that the
	// harness does not use, values that cannot take effect.
	Notes []string
}

// LoadConfig reads path as GitLab Runner does. Its errors begin with the path, and with
// the line where TOML knows it.
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
		c.Limit, c.Autoscaler = r.Limit, *r.Autoscaler
	}
	switch len(autoscalers) {
	case 0:
		return nil, fmt.Errorf("%s: no [[runners]] has a [runners.autoscaler] section", path)
	case 1:
	default:
		return nil, fmt.Errorf("%s: %d [[runners]] have a [runners.autoscaler] section (%s): leave one",
			path, len(autoscalers), strings.Join(autoscalers, ", "))
	}

	if c.Autoscaler.PluginConfig == nil {
		return nil, fmt.Errorf("%s: runners.autoscaler.plugin_config is missing: it names the group, region, size and image", path)
	}
	for key, value := range c.Autoscaler.PluginConfig {
		if n, ok := value.(int64); ok && strings.EqualFold(key, "max_instances") && n < int64(c.Autoscaler.MaxInstances) {
			return nil, fmt.Errorf("%s: max_instances = %d of [runners.autoscaler] is more than max_instances = %d of [runners.autoscaler.plugin_config], "+
				"so the runner would not start: raise the latter, too", path, c.Autoscaler.MaxInstances, n)
		}
	}
	if c.Concurrent < 1 {
		return nil, fmt.Errorf("%s: concurrent is %d: no job can run; the usual value is max_instances x capacity_per_instance", path, c.Concurrent)
	}
	c.setDefaults()
	for _, key := range f.Ignored {
		c.note("%s: %s is ignored: misspelt, or not used here", f.At(key), key)
	}
	return c, nil
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
	orDefault(&a.UpdateInterval, time.Minute)
	orDefault(&a.UpdateIntervalWhenExpecting, 2*time.Second)

	if slots := a.MaxInstances * a.CapacityPerInstance; c.jobLimit() < slots {
		c.note("concurrent and limit allow %d jobs at once, max_instances x capacity_per_instance is %d: some Droplets would never be used",
			c.jobLimit(), slots)
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

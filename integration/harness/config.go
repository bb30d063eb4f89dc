package harness

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Config is the part of a GitLab Runner config.toml that decides what an autoscaling runner does. Everything else in the
// file (docker, cache, url, token ...) is the runner's own business; what is wrong with it is for doctor to say.
type Config struct {
	Jobs       int                     // at once: concurrent, or less by limit
	Autoscaler runnerconfig.Autoscaler // with the runner's defaults filled in
}

// LoadConfig reads path as GitLab Runner does. Its errors begin with the path, and with the line where TOML knows it.
func LoadConfig(path string) (*Config, error) {
	f, err := runnerconfig.Load(path)
	if err != nil {
		return nil, err
	}
	runners := slices.DeleteFunc(slices.Clone(f.Runners), func(r runnerconfig.Runner) bool { return r.Autoscaler == nil })
	if len(runners) != 1 {
		return nil, fmt.Errorf("%s: %d [[runners]] have a [runners.autoscaler] section, want one", path, len(runners))
	}
	if f.Concurrent < 1 {
		return nil, fmt.Errorf("%s: concurrent is %d: no job can run; max_instances x capacity_per_instance is usual", path, f.Concurrent)
	}
	c := &Config{Jobs: min(f.Concurrent, cmp.Or(runners[0].Limit, f.Concurrent)), Autoscaler: *runners[0].Autoscaler}
	a := &c.Autoscaler
	a.CapacityPerInstance = max(a.CapacityPerInstance, 1)
	a.ShutdownDeletionRetries = cmp.Or(a.ShutdownDeletionRetries, 3)
	a.InstanceAcquireTimeout = cmp.Or(a.InstanceAcquireTimeout, 15*time.Minute)
	a.DeletionRetryInterval = cmp.Or(a.DeletionRetryInterval, time.Minute)
	a.ShutdownDeletionInterval = cmp.Or(a.ShutdownDeletionInterval, 10*time.Second)
	a.Connector.Protocol = cmp.Or(a.Connector.Protocol, "ssh")
	a.Connector.ProtocolPort = cmp.Or(a.Connector.ProtocolPort, 22)
	a.UpdateInterval = cmp.Or(a.UpdateInterval, time.Minute)
	a.UpdateIntervalWhenExpecting = cmp.Or(a.UpdateIntervalWhenExpecting, 2*time.Second)
	return c, nil
}

// simulated returns plugin_config as the JSON that the runner would hand to the plugin, with the few keys replaced that
// would otherwise reach the real account or write outside of the run: api_url, token, token_file, and ssh_key_file unless
// that key exists. dir goes away with the run.
func simulated(config map[string]any, apiURL, token, dir string) ([]byte, error) {
	replaced := map[string]any{}
	for key, value := range config {
		switch strings.ToLower(key) { // as encoding/json in the plugin matches them: whatever their case
		case "api_url", "token", "token_file":
			continue
		case "ssh_key_file":
			if path, ok := value.(string); ok {
				if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
					value = filepath.Join(dir, "ssh_key")
				}
			}
		}
		replaced[key] = value
	}
	maps.Copy(replaced, map[string]any{"api_url": apiURL, "token": token})
	return json.Marshal(replaced)
}

// settings turns connector_config into what the plugin's Init gets.
func settings(c runnerconfig.Connector) (provider.Settings, error) {
	s := provider.Settings{ConnectorConfig: c.Fleeting()}
	if c.KeyPath == "" {
		return s, nil
	}
	var err error
	if s.Key, err = os.ReadFile(c.KeyPath); err != nil {
		return s, fmt.Errorf("connector_config.key_path: %w", err)
	}
	return s, nil
}

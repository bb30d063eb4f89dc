package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// minimal is a config.toml without a fault.
const minimal = `concurrent = 4
[[runners]]
  executor = "docker-autoscaler"
  limit = 3
  [runners.autoscaler]
    max_instances = 3
    [runners.autoscaler.plugin_config]
      name = "ci"
    [[runners.autoscaler.policy]]
      idle_count = 1
      idle_time = "10m"
`

// parseConfig is LoadConfig of minimal with one value changed.
func parseConfig(t *testing.T, old, new string) (*Config, error) {
	t.Helper()
	f, err := runnerconfig.Parse("config.toml", strings.Replace(minimal, old, new, 1))
	if err != nil {
		t.Fatal(err)
	}
	return autoscaling(f)
}

func TestConfigHasTheRunnersDefaults(t *testing.T) {
	got, err := parseConfig(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Concurrent: 4, Limit: 3,
		Autoscaler: runnerconfig.Autoscaler{
			CapacityPerInstance:         1,
			MaxInstances:                3,
			InstanceAcquireTimeout:      15 * time.Minute,
			UpdateInterval:              time.Minute,
			UpdateIntervalWhenExpecting: 2 * time.Second,
			DeletionRetryInterval:       time.Minute,
			ShutdownDeletionInterval:    10 * time.Second,
			ShutdownDeletionRetries:     3,
			PluginConfig:                map[string]any{"name": "ci"},
			Connector:                   runnerconfig.Connector{Protocol: "ssh", ProtocolPort: 22},
			Policy:                      []runnerconfig.Policy{{IdleCount: 1, IdleTime: 10 * time.Minute}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"concurrent = 4", "concurrent = 0", "config.toml: concurrent is 0"},
		{"[[runners.autoscaler.policy]]\n", "[[runners]]\n[runners.autoscaler]\n[[runners.autoscaler.policy]]\n", "config.toml: 2 [[runners]] have"},
		{minimal, "concurrent = 1\n[[runners]]\nexecutor = \"shell\"\n", "config.toml: 0 [[runners]] have"},
	} {
		if _, err := parseConfig(t, tt.old, tt.new); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.new, err, tt.want)
		}
	}
}

package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// minimal is a config.toml without a fault or a note.
const minimal = `concurrent = 4
[[runners]]
  name = "one"
  executor = "docker-autoscaler"
  limit = 3
  [runners.autoscaler]
    max_instances = 3
    update_interval = "30s"
    update_interval_when_expecting = "2s"
    [runners.autoscaler.plugin_config]
      name = "ci"
      region = ["fra1", "ams3"]
    [[runners.autoscaler.policy]]
      idle_count = 1
      idle_time = "10m"
`

// parseConfig is LoadConfig of a text.
func parseConfig(path, text string) (*Config, error) {
	f, err := runnerconfig.Parse(path, text)
	if err != nil {
		return nil, err
	}
	return check(f)
}

func TestConfigHasTheRunnersDefaults(t *testing.T) {
	got, err := parseConfig("config.toml", minimal)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Path:       "config.toml",
		Concurrent: 4,
		Name:       "one",
		Executor:   "docker-autoscaler",
		Limit:      3,
		Autoscaler: runnerconfig.Autoscaler{
			CapacityPerInstance:         1,
			MaxInstances:                3,
			InstanceAcquireTimeout:      15 * time.Minute,
			UpdateInterval:              30 * time.Second,
			UpdateIntervalWhenExpecting: 2 * time.Second,
			DeletionRetryInterval:       time.Minute,
			ShutdownDeletionInterval:    10 * time.Second,
			ShutdownDeletionRetries:     3,
			PluginConfig:                map[string]any{"name": "ci", "region": []any{"fra1", "ams3"}},
			Connector:                   runnerconfig.Connector{Protocol: "ssh", ProtocolPort: 22},
			Policy:                      []runnerconfig.Policy{{IdleCount: 1, IdleTime: 10 * time.Minute}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConfigErrorsSayWhereAndWhat(t *testing.T) {
	for _, tt := range []struct {
		name      string
		old, new  string // replaced in minimal
		want      string
		wholeText string // in place of minimal
	}{
		{
			name: "broken TOML",
			old:  `limit = 3`, new: `limit = `,
			want: `config.toml:5: runners.limit: expected value but found '\n' instead`,
		},
		{
			name: "wrong type",
			old:  `max_instances = 3`, new: `max_instances = "3"`,
			want: `config.toml:7: runners.autoscaler.max_instances: must be a whole number`,
		},
		{
			name: "not a duration",
			old:  `idle_time = "10m"`, new: `idle_time = "10 min"`,
			want: `config.toml:15: runners.autoscaler.policy.idle_time: must be a duration, such as "30s", "10m" or "1h30m"`,
		},
		{
			name: "a duration without a unit",
			old:  `update_interval = "30s"`, new: `update_interval = 30`,
			want: `config.toml: runners.autoscaler.update_interval is 30ns: a number without a unit counts nanoseconds; write "30s"`,
		},
		{
			name:      "no autoscaler",
			wholeText: "concurrent = 1\n[[runners]]\nexecutor = \"shell\"\n",
			want:      `config.toml: no [[runners]] has a [runners.autoscaler] section`,
		},
		{
			name:      "two autoscalers",
			wholeText: minimal + "[[runners]]\nname = \"two\"\n[runners.autoscaler]\n",
			want:      `config.toml: 2 [[runners]] have a [runners.autoscaler] section ("one", "two"): leave one`,
		},
		{
			name: "another executor",
			old:  `executor = "docker-autoscaler"`, new: `executor = "docker+machine"`,
			want: `config.toml: runners.executor is "docker+machine": only "docker-autoscaler" and "instance" use a fleeting plugin`,
		},
		{
			name: "no plugin_config",
			old:  "[runners.autoscaler.plugin_config]\n      name = \"ci\"\n      region = [\"fra1\", \"ams3\"]\n", new: "",
			want: `config.toml: runners.autoscaler.plugin_config is missing: it names the group, region, size and image`,
		},
		{
			name: "another protocol",
			old:  `[runners.autoscaler.plugin_config]`, new: "[runners.autoscaler.connector_config]\nprotocol = \"winrm\"\n[runners.autoscaler.plugin_config]",
			want: `config.toml: runners.autoscaler.connector_config.protocol is "winrm": Droplets are reached over "ssh"`,
		},
		{
			name: "all faults at once",
			wholeText: strings.NewReplacer("concurrent = 4", "concurrent = 0", "max_instances = 3", "max_instances = -3",
				"idle_count = 1", "idle_count = -1").Replace(minimal),
			want: "config.toml: concurrent is 0: no job can run; the usual value is max_instances x capacity_per_instance\n" +
				"runners.autoscaler.max_instances is -3: must be 0 or more\n" +
				"runners.autoscaler.policy 1: idle_count is -1: must be 0 or more",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.wholeText
			if text == "" {
				if !strings.Contains(minimal, tt.old) {
					t.Fatalf("minimal has no %q", tt.old)
				}
				text = strings.Replace(minimal, tt.old, tt.new, 1)
			}
			_, err := parseConfig("config.toml", text)
			if err == nil {
				t.Fatalf("no error, want %q", tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestConfigNotesWhatTakesNoEffect(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new string
		want     []string
	}{
		{"nothing to note", "", "", nil},
		{
			"a misspelt key", "idle_count = 1", "idle_cout = 1",
			[]string{"config.toml:14: runners.0.autoscaler.policy.0.idle_cout is ignored: misspelt, or not used here"},
		},
		{
			"keys of plugin_config are the plugin's", `name = "ci"`, "nam = \"ci\"\nvpc_uuid.fra1 = \"x\"",
			nil,
		},
		{
			"Droplets beyond the job limit", "limit = 3", "limit = 2",
			[]string{"concurrent and limit allow 2 jobs at once, max_instances x capacity_per_instance is 3: some Droplets would never be used"},
		},
		{
			"an update interval that is not set", `update_interval = "30s"`, "",
			[]string{"write out both update_interval and update_interval_when_expecting: some runner releases pass an unset one on as 0, and their loop then never waits"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseConfig("config.toml", strings.Replace(minimal, tt.old, tt.new, 1))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Notes); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestExamplesLoadWithoutANote(t *testing.T) {
	for _, path := range []string{exampleConfig, demoConfig} {
		c, err := LoadConfig(filepath.FromSlash(path))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(c.Notes) > 0 {
			t.Errorf("%s: %q", path, c.Notes)
		}
	}
}

func TestLoadConfigNamesAMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.toml")
	_, err := LoadConfig(path)
	if !os.IsNotExist(err) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

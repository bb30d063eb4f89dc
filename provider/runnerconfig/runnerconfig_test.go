package runnerconfig

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const sample = `# a comment
concurrent = 10
listen_address = "127.0.0.1:9252"

[[runners]]
  name = "shell"
  executor = "shell"

[[runners]]
  name = "do"
  Executor = "docker-autoscaler"
  limit = 4
  [runners.docker]
    image = "alpine"
    [runners.docker.wait]
      max_instances = 3
  [runners.autoscaler]
    plugin = "fleeting-plugin-digitalocean"
    Max_Instances = 10
    idle_seconds = ["5m", "6m"]
    connector_config = { username = "ci", use_external_address = true }
    [runners.autoscaler.plugin_config]
      name = "ci"
      unknown = 1
    [[runners.autoscaler.policy]]
      idle_time = "20m"
    [[runners.autoscaler.policy]]
      periods = ["* 8-18 * * mon-fri"]
      idle_count = 5
      idle_tme = "1h"

[[runners]] # with what newer runners know, and nothing here needs: it is not ignored
  [runners.autoscaler]
    reservation_throttling = false
    instance_operation_time_buckets = [1.5, 60]
    instance_life_duration_buckets = [60.0]
    vm_isolation = { enabled = false, nesting_config = { anything = 1 } }
`

// Everything is decoded as the runner does it, and known by its line.
func TestParse(t *testing.T) {
	for name, text := range map[string]string{"unix": sample, "windows": "\ufeff" + strings.ReplaceAll(sample, "\n", "\r\n")} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("config.toml", text)
			if err != nil {
				t.Fatal(err)
			}
			if f.Concurrent != 10 || f.ListenAddress == "" || len(f.Runners) != 3 || f.Runners[0].Autoscaler != nil {
				t.Fatalf("%+v", f)
			}
			r := f.Runners[1]
			a := r.Autoscaler
			if r.Index != 1 || r.Executor != "docker-autoscaler" || r.Limit != 4 || a.MaxInstances != 10 || a.Connector.Username != "ci" ||
				len(a.Policy) != 2 || a.Policy[0].IdleTime != 20*time.Minute || !a.Policy[1].Preemptive() || a.PluginConfig["name"] != "ci" {
				t.Errorf("%+v\n%+v", r, a)
			}
			want := []string{"runners.1.autoscaler.idle_seconds", "runners.1.autoscaler.connector_config.use_external_address",
				"runners.1.autoscaler.policy.1.idle_tme"}
			if !slices.Equal(f.Ignored, want) {
				t.Errorf("ignored: %q, want %q", f.Ignored, want)
			}
			for key, want := range map[string]string{
				"concurrent":                             "config.toml:2",
				"runners.0.name":                         "config.toml:6",
				"runners.1":                              "config.toml:9",
				r.Key("autoscaler.max_instances"):        "config.toml:19",
				r.Key("autoscaler.plugin_config.name"):   "config.toml:23",
				r.Key("autoscaler.policy.0.idle_time"):   "config.toml:26",
				r.Key("autoscaler.policy.1.idle_count"):  "config.toml:29",
				r.Key("autoscaler.policy.1.idle_time"):   "config.toml:27", // not there: its table
				r.Key("autoscaler.state_storage.dir"):    "config.toml:17",
				r.Key("autoscaler.policy.1.idle_tme"):    "config.toml:30",
				f.Ignored[1]:                             "config.toml:21",
				"nothing":                                "config.toml",
				r.Key("autoscaler.connector_config.os"):  "config.toml:21",
				"runners.7.autoscaler.policy":            "config.toml",
				r.Key("docker.wait.max_instances"):       "config.toml:16",
				r.Key("autoscaler.policy.1.periods.0.x"): "config.toml:28",
			} {
				if got := f.At(key); got != want {
					t.Errorf("%s is at %s, want %s", key, got, want)
				}
			}
			if !f.Has("runners.1.autoscaler.max_instances") || f.Has("runners.1.autoscaler.update_interval") {
				t.Error("Has is wrong")
			}
		})
	}
}

// What cannot be read says where and why.
func TestParseFaults(t *testing.T) {
	for text, want := range map[string]string{
		"concurrent = 1\nconcurrent = 2\n": "config.toml:2: ",
		"\x01":                             "config.toml:1: ",
		"concurrent = \n":                  "config.toml:1: ",
		"concurrent = 1\n[[runners\n":      "config.toml:2: ",
		"[[runners]]\n[runners.autoscaler]\nmax_instances = \"3\"\n":      "config.toml:3: runners.autoscaler.max_instances: ",
		"[[runners]]\n[runners.autoscaler]\nupdate_interval = \"soon\"\n": "config.toml:3: runners.autoscaler.update_interval: ",
		"runners = 3\n": "config.toml:1: runners: ",
		"[[runners]]\n[runners.autoscaler]\nmax_instances = 99999999999999999999\n": "config.toml:3: ",
	} {
		if _, err := Parse("config.toml", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s...", text, err, want)
		}
	}
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("of a file that is not there: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("of a directory: %v", err)
	}
}

func TestPreemptiveModeFollowsIdleCountUnlessSet(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		want   bool
	}{
		{Policy{IdleCount: 0}, false},
		{Policy{IdleCount: 2}, true},
		{Policy{IdleCount: 2, PreemptiveMode: new(false)}, false},
		{Policy{IdleCount: 0, PreemptiveMode: new(true)}, true},
	} {
		if got := tt.policy.Preemptive(); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.policy, got, tt.want)
		}
	}
}

func TestOurPlugin(t *testing.T) {
	for plugin, want := range map[string]bool{
		"fleeting-plugin-digitalocean":                                                  true,
		"/usr/local/bin/fleeting-plugin-digitalocean":                                   true,
		`C:\GitLab\fleeting-plugin-digitalocean.exe`:                                    true,
		"registry.gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean:latest": true,
		"fleeting-digitalocean/fleeting-plugin-digitalocean":                            true,
		"registry.example.com/x/fleeting-plugin-digitalocean@sha256:0123":               true,
		"fleeting-plugin-aws":                                                           false,
		"fleeting-plugin-digitalocean-other":                                            false,
		"":                                                                              false,
		"aws:latest":                                                                    false,
	} {
		if got := (Runner{Autoscaler: &Autoscaler{Plugin: plugin}}).OurPlugin(); got != want {
			t.Errorf("%q: %t, want %t", plugin, got, want)
		}
	}
	if (Runner{}).OurPlugin() {
		t.Error("a runner without an autoscaler has our plugin")
	}
}

// No text makes it panic, and what it reads has a line.
func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("[[a.b]]\nc = [{d = 1}, {d = 2}]\n[a.b.e]\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("config.toml", text)
		if err != nil {
			return
		}
		for i, r := range file.Runners {
			if !strings.HasPrefix(file.At(r.Key("name")), "config.toml:") && file.Has("runners") {
				t.Errorf("runner %d has no line in %q", i, text)
			}
		}
	})
}

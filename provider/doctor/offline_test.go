package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// sound is a config.toml without a warning.
const sound = `concurrent = 20
[[runners]]
  docker = { image = "alpine:latest" }
  executor = "docker-autoscaler"
  limit = 20
  request_concurrency = 4
  [runners.autoscaler]
    plugin = "fleeting-plugin-digitalocean"
    capacity_per_instance = 2
    max_use_count = 20
    max_instances = 10
    update_interval = "30s"
    update_interval_when_expecting = "2s"
    instance_ready_command = "(cloud-init status --wait || test $? -eq 2) && docker info"
    delete_instances_on_shutdown = false
    state_storage = { enabled = true }
    [runners.autoscaler.plugin_config]
      name = "ci"
      token = "dop_v1_0123"
      region = ["fra1", "nyc3"]
      size = ["s-2vcpu-4gb", "s-4vcpu-8gb"]
      image = "docker-20-04"
      user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"
      ssh_key_file = "/var/lib/gitlab-runner/key"
      max_instances = 12
    [runners.autoscaler.connector_config]
      use_external_addr = true
    [[runners.autoscaler.policy]]
      idle_count = 2
      idle_time = "10m"
      scale_factor = 1.5
      scale_factor_limit = 8
      preemptive_mode = false
    [[runners.autoscaler.policy]]
      periods = ["* 8-17 * * mon-fri"]
      timezone = "Europe/Berlin"
      idle_count = 5
      idle_time = "20m"
      preemptive_mode = true
`

// monday is when tests happen: no change of the clocks is near.
var monday = time.Date(2026, 1, 12, 9, 30, 0, 0, time.UTC)

// subject is the group of the first [[runners]] of text, on a host where nothing is wrong.
func subject(t *testing.T, text string) Subject {
	t.Helper()
	file, err := runnerconfig.Parse("config.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	s := Subject{File: file, Runner: file.Runners[0], Host: Host{Now: monday, RunnerVersion: "19.3.0"}}
	data, err := json.Marshal(s.Runner.Autoscaler.PluginConfig)
	if err != nil {
		t.Fatal(err)
	}
	host := config.Host{Getenv: func(string) string { return "" }, ReadFile: func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist }}
	s.Config, s.Faults = config.Parse(data, host)
	s.Account, _ = config.ParseAccount(data, host)
	return s
}

// changed is sound with changes, a line each: "old => new". A line "+ more" below is more of new; without an old it is added
// at the end.
func changed(t *testing.T, changes string) string {
	t.Helper()
	text := sound
	for _, change := range strings.Split(strings.ReplaceAll(changes, "\n+ ", "\r"), "\n") {
		old, fresh, _ := strings.Cut(strings.ReplaceAll(change, "\r", "\n")+" ", " => ")
		switch fresh = strings.TrimSuffix(fresh, " "); {
		case change == "":
		case old == "":
			text += fresh + "\n"
		case !strings.Contains(text, old):
			t.Fatalf("%q is not there", old)
		default:
			text = strings.Replace(text, old, fresh, 1)
		}
	}
	return text
}

// offlineCase is a change of the sound configuration or its host, and what is found then beyond what is found without.
type offlineCase struct {
	name, changes string
	host          func(*Host)
	want          []string
}

// readCases reads testdata/offline.txt.
func readCases(t *testing.T) (all []offlineCase) {
	t.Helper()
	text, err := os.ReadFile("testdata/offline.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n")[1:] {
		lines := strings.Split(block, "\n")
		c := offlineCase{name: lines[0]}
		for _, line := range lines[1:] {
			if finding, ok := strings.CutPrefix(line, "> "); ok {
				c.want = append(c.want, finding)
			} else {
				c.changes += line + "\n"
			}
		}
		all = append(all, c)
	}
	return all
}

// brief is what scripts and operators rely on in findings: check, level, line or place, and hint.
func brief(findings []Finding) (lines []string) {
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %s", f.Check, f.Level, strings.TrimPrefix(f.Where, "config.toml:"))
		if f.Hint != "" {
			line += " | " + strings.ReplaceAll(f.Hint, "\n", " / ")
		} else if f.Level == Fault || f.Level == Warning {
			line += " | NO HINT"
		}
		lines = append(lines, line)
	}
	return lines
}

// beyond returns the findings that are not among those of the basis, wherever these are now. shown collects checks.
func beyond(basis, found []Finding, shown map[string]bool) []Finding {
	known := map[Finding]bool{}
	for _, f := range basis {
		f.Where = ""
		known[f] = true
	}
	return slices.DeleteFunc(slices.Clone(found), func(f Finding) bool {
		shown[f.Check] = shown[f.Check] || f.Level != OK
		f.Where = ""
		return known[f]
	})
}

// TestOffline breaks one thing after the other, and pins what is found beyond what is found without.
func TestOffline(t *testing.T) {
	basis, cost := Examine(t.Context(), nil, subject(t, sound))
	want := []string{
		"plugin-config ok 17",
		"shutdown note 15 | where the runner is stopped for good: delete_instances_on_shutdown = true",
		"host ok this host",
		"cost ok 28",
	}
	if diff := cmp.Diff(want, brief(basis)); diff != "" {
		t.Errorf("of a sound configuration, expected (-) and found (+):\n%s", diff)
	}
	if diff := cmp.Diff(&Cost{IdleDroplets: 1.6, MaxInstances: 10}, cost); diff != "" {
		t.Error(diff)
	}

	shown := map[string]bool{}
	const otherPlugin = `plugin = "fleeting-plugin-digitalocean" => plugin = `
	for _, tt := range append(readCases(t), []offlineCase{
		{"an unknown version", "", func(h *Host) { h.RunnerVersion = "" }, []string{
			"version note 17 | after a rotation of the token: gitlab-runner restart"}},
		{"17.11", "max_use_count = 20 => log_internal_ip = true\n+ deletion_retry_interval = \"1m\"\n+ max_use_count = 20",
			func(h *Host) { h.RunnerVersion = "17.11.4" }, []string{
				"version note 19 | after a rotation of the token: gitlab-runner restart",
				"version warning 11 | upgrade the runner, or remove the line",
				"version warning 10 | upgrade the runner, or remove the line",
				"version warning 35 | upgrade the runner, or remove the line",
				"version warning 41 | upgrade the runner, or remove the line",
			}},
		{"18.2, without what 18.3 brought", "on_shutdown = false => on_shutdown = true\nconcurrent = 20 => concurrent = 20\n+ shutdown_timeout = 60",
			func(h *Host) { h.RunnerVersion = "18.2.0" }, []string{
				"version note 18 | after a rotation of the token: gitlab-runner restart"}},

		{"a path to nothing", otherPlugin + `"/opt/x"`, func(h *Host) { h.PluginFault = "no such file" }, []string{
			`plugin fault 8 | plugin = "fleeting-plugin-digitalocean"`}},
		{"a name that is nowhere", "", func(h *Host) { h.PluginFault = "it is not installed" }, []string{
			"plugin warning 8 | sudo install fleeting-plugin-digitalocean /usr/local/bin/"}},
		{"not installed", otherPlugin + `"registry.gitlab.com/x/y:1"`, func(h *Host) { h.PluginFault = "it is not installed" }, []string{
			"plugin warning 8 | gitlab-runner fleeting install --upgrade && gitlab-runner fleeting list"}},

		{"secrets for everybody", "", func(h *Host) { h.Readable = []string{"/key"} }, []string{"secrets warning /key | chmod 600 /key"}},
		{"keys", "", func(h *Host) {
			h.KeyFaults = map[string]string{"autoscaler.plugin_config.ssh_key_file": "no", "autoscaler.connector_config.key_path": "no"}
		}, []string{"secrets fault 24 | ssh-keygen -t ed25519 -N '' -f FILE makes a key",
			"secrets fault 26 | ssh-keygen -t ed25519 -N '' -f FILE makes a key"}},

		{"no state directory", "", func(h *Host) { h.StateFault = errors.New("read-only file system; set XDG_STATE_HOME") }, []string{
			"host fault this host | set XDG_STATE_HOME"}},
		{"a manager", "", func(h *Host) { h.Holder = "4711" }, []string{"host ok this host"}},
		{"a start that was refused", "", func(h *Host) { h.Refused = &state.Refusal{At: monday.Add(-2 * time.Minute), Text: "no"} }, []string{
			"host warning this host | fix what it says; the runner starts the plugin again by itself"}},
		{"a start that was refused long ago", "", func(h *Host) { h.Refused = &state.Refusal{At: monday.Add(-lately), Text: "no"} }, nil},
	}...) {
		t.Run(tt.name, func(t *testing.T) {
			s := subject(t, changed(t, tt.changes))
			if tt.host != nil {
				tt.host(&s.Host)
			}
			found, _ := Examine(t.Context(), nil, s)
			more := beyond(basis, found, shown)
			more = slices.DeleteFunc(more, func(f Finding) bool {
				return f.Check == "cost"
			})
			if diff := cmp.Diff(tt.want, brief(more)); diff != "" {
				t.Errorf("expected (-) and found (+):\n%s", diff)
			}
		})
	}
	for _, c := range checks {
		if c.offline != nil && !shown[c.name] && c.name != "cost" {
			t.Errorf("nothing shows the check %s", c.name)
		}
	}
}

// A group that is given on the command line has no file to be wrong.
func TestWithoutFile(t *testing.T) {
	found, cost := Examine(t.Context(), nil, Subject{Account: config.Account{Name: "ci"}, Host: Host{}})
	if diff := cmp.Diff([]string{"host ok this host"}, brief(found)); diff != "" || cost != nil {
		t.Errorf("%v\n%s", cost, diff)
	}
}

// The example that people copy has nothing worse than notes, and of those only what is a choice.
func TestExampleIsSound(t *testing.T) {
	text, err := os.ReadFile("../../examples/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	withToken := strings.Replace(string(text), `token_file = "/etc/gitlab-runner/digitalocean-token"`, `token = "x"`, 1)
	found, _ := Examine(t.Context(), nil, subject(t, withToken))
	for _, f := range found {
		if f.Level != OK && f.Check != "shutdown" {
			t.Errorf("%+v", f)
		}
	}
}

package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
      max_instances = 10
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

// subject is the group of the first [[runners]] of text, on a host where nothing is
// amiss.
func subject(t *testing.T, text string) Subject {
	t.Helper()
	file, err := runnerconfig.Parse("config.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	s := Subject{File: file, Runner: file.Runners[0], Host: Host{Now: monday, UID: 0, ConfigUID: 0, Program: Program{Path: "/usr/local/bin/fleeting-plugin-digitalocean", Dir: "/p"}}}
	data, err := json.Marshal(s.Runner.Autoscaler.PluginConfig)
	if err != nil {
		t.Fatal(err)
	}
	host := config.Host{
		Getenv:   func(string) string { return "" },
		ReadFile: func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist },
	}
	s.Config, s.Faults = config.Parse(data, host)
	s.Account, _ = config.ParseAccount(data, host)
	return s
}

// written is how tests write findings.
func written(findings []Finding) (lines []string) {
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %s: %s", f.Check, f.Mark, strings.TrimPrefix(f.Where, "config.toml:"), f.What)
		if f.Hint != "" {
			line += " | " + f.Hint
		} else if f.Mark == Fault || f.Mark == Warning {
			line += " | NO HINT"
		}
		lines = append(lines, line)
	}
	return lines
}

// change is a replacement in sound, or, if old is "", more at its end.
type change struct{ old, new string }

// plugin is another plugin = "...".
func plugin(name string) []change {
	return []change{{`plugin = "fleeting-plugin-digitalocean"`, fmt.Sprintf("plugin = %q", name)}}
}

// locked is the finding about the firewall, as written.
func locked(line, hint string) string {
	return "firewall warning " + line + ": the 1-Click image's firewall takes six SSH connections in 30 seconds from an address, and then none: the runner locks itself out | " + hint
}

// TestOffline breaks one thing after the other, and pins what is found, beyond what is
// found without.
func TestOffline(t *testing.T) {
	found, cost := Examine(t.Context(), nil, subject(t, sound))
	basis := written(found)
	want := []string{
		"plugin-config ok 16: plugin_config is accepted",
		"idle-count note 28: idle_count counts jobs: room for 2 is 1 Droplet",
		"idle-count note 36: idle_count counts jobs: room for 5 is 3 Droplets",
		"shutdown note 14: Droplets stay, and are billed, while the runner is stopped | where the runner is stopped for good: delete_instances_on_shutdown = true",
		"manager ok this host: no process manages the group now",
		"cost ok 27: idle: 3 Droplets for 50 h, 1 Droplet for 118 h of a week",
		"cost note 16: guard: none but max_instances",
	}
	if diff := cmp.Diff(want, basis); diff != "" {
		t.Errorf("of a sound configuration, expected (-) and found (+):\n%s", diff)
	}
	if diff := cmp.Diff(&Cost{Idle: []Idle{{50, 3}, {118, 1}}, MaxInstances: 10}, cost); diff != "" {
		t.Error(diff)
	}

	shown := map[string]bool{}
	for _, tt := range []struct {
		name    string
		changes []change
		host    func(*Host)
		want    []string
	}{
		{"executor", []change{{`executor = "docker-autoscaler"`, `executor = "docker"`}}, nil,
			[]string{`executor fault 4: executor is "docker": only "docker-autoscaler" and "instance" use [runners.autoscaler] | executor = "docker-autoscaler"`}},
		{"instance executor", []change{{`executor = "docker-autoscaler"`, `executor = "instance"`}}, nil, nil},

		{"no [runners.docker]", []change{{`docker = { image = "alpine:latest" }`, ""}}, nil, []string{
			"docker fault 4: there is no [runners.docker], which docker-autoscaler needs: no job can run | [runners.docker]\n  image = \"alpine:latest\"",
		}},
		{"no [runners.docker], nor needed", []change{{`docker = { image = "alpine:latest" }`, ""}, {"docker-autoscaler", "instance"}}, nil, nil},
		{"what docker+machine left", []change{{`docker = { image = "alpine:latest" }`, `docker = { host = "tcp://10.0.0.1:2376", tls_cert_path = "/c", tls_verify = true }`}}, nil, []string{
			"docker warning 3: tls_cert_path is of no use: Docker is reached over SSH, on the Droplet | remove it",
			"docker warning 3: tls_verify is of no use: Docker is reached over SSH, on the Droplet | remove it",
			"docker note 3: host has to be a socket on the Droplet, such as unix:///run/podman/podman.sock: Docker is reached over SSH, on the Droplet | remove it, unless it is such a socket",
		}},

		{"a registry with a port", plugin("127.0.0.1:5000/x/fleeting-plugin-digitalocean:1"), nil, []string{
			`plugin fault 7: plugin is "127.0.0.1:5000/x/fleeting-plugin-digitalocean:1": the runner's installer refuses a registry with a port | plugin = "fleeting-plugin-digitalocean"`,
		}},
		{"a path to nothing", plugin("/opt/fleeting-plugin-digitalocean"), func(h *Host) {
			h.Program = Program{Path: "/opt/fleeting-plugin-digitalocean", Fault: "does not exist"}
		}, []string{
			`plugin fault 7: plugin /opt/fleeting-plugin-digitalocean does not exist: the runner cannot start it | plugin = "fleeting-plugin-digitalocean"`,
		}},
		{"a path to no program", plugin("/opt/fleeting-plugin-digitalocean"), func(h *Host) {
			h.Program = Program{Path: "/opt/fleeting-plugin-digitalocean", Fault: "is not executable"}
		}, []string{
			"plugin fault 7: plugin /opt/fleeting-plugin-digitalocean is not executable: the runner cannot start it | chmod 755 /opt/fleeting-plugin-digitalocean",
		}},
		{"a path", plugin("./bin/fleeting-plugin-digitalocean"), func(h *Host) { h.Program = Program{Path: "./bin/fleeting-plugin-digitalocean"} }, nil},
		{"a name that is nowhere", nil, func(h *Host) { h.Program.Path = "" }, []string{
			"plugin warning 7: plugin fleeting-plugin-digitalocean is neither in PATH nor in /p: the runner cannot start it | sudo install fleeting-plugin-digitalocean /usr/local/bin/",
		}},
		{"a name with a version", plugin("fleeting-plugin-digitalocean:latest"), func(h *Host) { h.Program.Path = "" }, []string{
			`plugin warning 7: plugin is "fleeting-plugin-digitalocean:latest": with a version, a name without a / means registry.gitlab.com/gitlab-org/fleeting/plugins/fleeting-plugin-digitalocean:latest | plugin = "fleeting-plugin-digitalocean"`,
		}},
		{"not installed", plugin("registry.gitlab.com/x/fleeting-plugin-digitalocean:1"), func(h *Host) { h.Program.Path = "" }, []string{
			"plugin warning 7: plugin registry.gitlab.com/x/fleeting-plugin-digitalocean:1 is not installed in /p: the runner cannot start it | gitlab-runner fleeting install",
		}},
		{"installed", plugin("registry.gitlab.com/x/fleeting-plugin-digitalocean:1"), nil, nil},

		{"short timeouts", []change{{"use_external_addr", "timeout = \"30s\"\nuse_external_addr"}, {"max_use_count = 20", "max_use_count = 20\ninstance_acquire_timeout = \"1m\""}}, nil, []string{
			`timeouts warning 27: timeout is 30s: a Droplet takes some 30s to become active, and 10s to 30s more until SSH | timeout = "5m"`,
			`timeouts warning 10: instance_acquire_timeout is 1m0s: a Droplet takes some 30s to become active, and 10s to 30s more until SSH | instance_acquire_timeout = "15m"`,
		}},
		{"timeouts", []change{{"use_external_addr", "timeout = \"1m\"\nuse_external_addr"}, {"max_use_count = 20", "max_use_count = 20\ninstance_acquire_timeout = \"2m\""}}, nil, nil},

		{"misspelt keys", []change{{"max_use_count = 20", "max_use_count = 20\n    idle_tme = 1\n    idle_count = 3\n    usernam = 1\n    zzz = 1\n    regoin = 1"}}, nil, []string{
			"ignored-keys warning 10: the runner ignores idle_tme: [runners.autoscaler] has no such key | remove it; docs/configuration.md has what the runner reads here",
			"ignored-keys warning 11: the runner ignores idle_count: [runners.autoscaler] has no such key | it belongs into [runners.autoscaler.policy]",
			"ignored-keys warning 12: the runner ignores usernam: [runners.autoscaler] has no such key | remove it; docs/configuration.md has what the runner reads here",
			"ignored-keys warning 13: the runner ignores zzz: [runners.autoscaler] has no such key | remove it; docs/configuration.md has what the runner reads here",
			"ignored-keys warning 14: the runner ignores regoin: [runners.autoscaler] has no such key | remove it; docs/configuration.md has what the runner reads here",
		}},
		{"misspelt keys of tables", []change{{"use_external_addr = true", "use_external_addr = true\n use_external_address = true"}, {"idle_count = 2", "idle_count = 2\n idel_count = 4\n"}}, nil, []string{
			"ignored-keys warning 27: the runner ignores use_external_address: [runners.autoscaler.connector_config] has no such key | did you mean use_external_addr?",
			"ignored-keys warning 30: the runner ignores idel_count: [runners.autoscaler.policy] has no such key | did you mean idle_count?",
		}},
		{"the keys of another runner", []change{{"", "[[runners]]\n[runners.autoscaler]\nnothing = 1\n"}}, nil, nil},

		{"values", []change{{"max_use_count = 20", "max_use_count = -1"}, {`idle_time = "10m"`, "idle_time = 600"}, {`update_interval = "30s"`, `update_interval = "-30s"`}}, nil, []string{
			"values fault 9: max_use_count is -1: it must not be negative | remove it, or write what is meant",
			"values fault 11: update_interval is -30s: it must not be negative | remove it, or write what is meant",
			`values fault 29: idle_time is 600ns: a number without a unit counts nanoseconds | idle_time = "600s"`,
		}},

		{"plugin_config", []change{{`region = ["fra1", "nyc3"]`, "regoin = \"fra1\""}, {`max_instances = 10
    [runners`, `max_instances = 0
    [runners`}}, nil, []string{
			"plugin-config fault 24: plugin_config.max_instances: must be a whole number from 1 to 100000, not 0 | docs/configuration.md tells what plugin_config takes",
			`plugin-config fault 19: plugin_config.regoin: unknown key | did you mean "region"?`,
		}},

		{"one group twice", []change{{"", "[[runners]]\n[runners.autoscaler]\nplugin=\"fleeting-plugin-digitalocean\"\nplugin_config = { Name = \"ci\" }\n"}}, nil, []string{
			`group-name fault 17: config.toml:42 has a group "ci" too: the second plugin that starts is refused, and its jobs fail | name = "ci-2"`,
		}},
		{"the same name elsewhere", []change{{"", "[[runners]]\n[runners.autoscaler]\nplugin=\"fleeting-plugin-digitalocean\"\nplugin_config = { name = \"ci\", api_url = \"https://do.example.com\" }\n" +
			"[[runners]]\n[runners.autoscaler]\nplugin=\"fleeting-plugin-aws\"\nplugin_config = { name = \"ci\" }\n"}}, nil, nil},

		{"concurrent", []change{{"concurrent = 20", "concurrent = 10"}}, nil, []string{
			"jobs warning 1: concurrent is 10, and the Droplets have room for 20 jobs (10 x capacity_per_instance 2): some of them are never used | concurrent = 20",
		}},
		{"no concurrent", []change{{"concurrent = 20\n", "\n"}}, nil, []string{
			"jobs warning config.toml: concurrent is 1, and the Droplets have room for 20 jobs (10 x capacity_per_instance 2): some of them are never used | concurrent = 20",
		}},
		{"concurrent 0", []change{{"concurrent = 20", "concurrent = 0"}}, nil, []string{"jobs fault 1: concurrent is 0: the runner does not start | concurrent = 10"}},
		{"limit", []change{{"limit = 20", "limit = 3"}}, nil, []string{
			"jobs warning 5: limit is 3, and the Droplets have room for 20 jobs (10 x capacity_per_instance 2): some of them are never used | limit = 20",
		}},
		{"no limit", []change{{"limit = 20", "limit = 0"}}, nil, nil},
		{"two runners", []change{{"", "[[runners]]\n[runners.autoscaler]\nplugin=\"fleeting-plugin-digitalocean\"\nmax_instances = 7\n"}}, nil, []string{
			"jobs note 1: concurrent is 20, and the Droplets of all [[runners]] together have room for 27 jobs: not all are used at once | concurrent = 27",
		}},

		{"max_instances", []change{{"max_instances = 10", "max_instances = 11"}}, nil, []string{
			"max-instances fault 10: max_instances is 11, more than the 10 of plugin_config (config.toml:24): the runner refuses to start the plugin | max_instances = 10",
		}},
		{"the plugin's max_instances alone", []change{{"max_instances = 10\n    update", "update"}}, nil, nil},

		{"no policy", []change{{sound[strings.Index(sound, "    [[runners.autoscaler.policy]]"):], ""}}, nil, []string{
			`policy note 6: there is no [[runners.autoscaler.policy]]: every job waits until a Droplet has booted, and an idle one goes after 5 minutes | policy = [{ idle_count = 1, idle_time = "10m" }]`,
		}},
		{"a period of seven fields", []change{{`"* 8-17 * * mon-fri"`, `"* * 8-17 * * mon-fri *"`}}, nil, []string{
			`policy fault 34: period "* * 8-17 * * mon-fri *" has 7 fields: it takes 5, minute, hour, day of month, month, day of week: the runner then takes none of the policies | periods = ["* 8-17 * * mon-fri"]`,
		}},
		{"no such timezone", []change{{"Europe/Berlin", "Europe/Berlln"}}, nil, []string{
			`policy fault 34: timezone "Europe/Berlln": this host does not know it: the runner then takes none of the policies | timezone = "Europe/Berlin"`,
		}},
		{"a range that wraps", []change{{`"* 8-17 * * mon-fri"`, `"* 22-6 * * mon-fri"`}}, nil, []string{
			"policy warning 34: the range 22-6 begins after its end: the runner takes it for everything | write it as two, such as 22-23,0-6 for 22-6",
		}},
		{"the default last", []change{{`periods = ["* 8-17 * * mon-fri"]`, ""}}, nil, []string{
			"policy warning 27: this policy never counts: of several that contain the present the last wins, and a later one always does | put the policy that always counts first",
		}},
		{"an impossible day", []change{{`"* 8-17 * * mon-fri"`, `"* 8-17 31 2,4 *"`}}, nil, []string{
			"policy warning 33: this policy never counts: its periods contain no minute of a year | periods = [\"* * * * *\"], which is always",
		}},
		{"hours without a policy", []change{{"[[runners.autoscaler.policy]]\n      idle_count = 2", "[[runners.autoscaler.policy]]\n periods = [\"* 0-6 * * *\"]\n      idle_count = 2"}}, nil, []string{
			"policy note 27: no policy counts for 69 hours of a week: no Droplet is kept ready then, and an idle one goes after 5 minutes | put a policy without periods first, for the rest of the week",
		}},

		{"no idle_time", []change{{`idle_time = "10m"`, ""}}, nil, []string{
			`idle-time warning 27: idle_time is not set, which is 0s: a Droplet is destroyed as soon as its job ends, and the next job waits for another | idle_time = "10m"`,
		}},
		{"idle_count", []change{{"idle_count = 5", "idle_count = 21"}}, nil, []string{
			"idle-count warning 36: idle_count is 21 jobs, and 10 Droplets x capacity_per_instance 2 have room for 20: it is never reached | idle_count = 20",
		}},
		{"one job a Droplet", []change{{"capacity_per_instance = 2", "capacity_per_instance = 1"}}, nil, nil},
		{"scale_factor 0.5", []change{{"scale_factor = 1.5", "scale_factor = 0.5"}}, nil, []string{
			"scale-factor warning 30: scale_factor is 0.5, and multiplies the jobs that run: up to 1 it makes no room for more | scale_factor = 1.5",
		}},
		{"no scale_factor_limit", []change{{"scale_factor_limit = 8", ""}}, nil, []string{
			"scale-factor note 30: scale_factor has no scale_factor_limit: max_instances alone limits how many are kept ready | scale_factor_limit = 8",
		}},
		{"no scale_factor", []change{{"scale_factor = 1.5", ""}}, nil, []string{
			"scale-factor warning 31: scale_factor_limit has no effect without scale_factor | scale_factor = 1.5",
		}},
		{"no preemptive_mode", []change{{"preemptive_mode = false", ""}}, nil, []string{
			"preemptive-mode note 27: preemptive_mode is not set, which is true with an idle_count: jobs are taken only when a Droplet is ready, and a long queue grows the group by 2 at a time | preemptive_mode = false",
		}},

		{"no state_storage", []change{{"state_storage = { enabled = true }", ""}}, nil, []string{
			`restart warning 6: without state_storage a restarted runner destroys every Droplet that it finds, and makes new ones | state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`,
		}},
		{"no state_storage, no Droplets", []change{{"state_storage = { enabled = true }", ""}, {"on_shutdown = false", "on_shutdown = true"}}, nil, []string{
			`restart note 6: without state_storage a runner that crashed destroys every Droplet that it finds when it starts again | state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`,
		}},
		{"no key", []change{{`ssh_key_file = "/var/lib/gitlab-runner/key"`, ""}}, nil, []string{
			`restart warning 16: without ssh_key_file each start makes a new key, which does not open the Droplets that state_storage keeps over a restart | ssh_key_file = "/var/lib/gitlab-runner/fleeting-ssh-key"`,
		}},
		{"the runner's key", []change{{`ssh_key_file = "/var/lib/gitlab-runner/key"`, ""}, {"use_external_addr", "key_path = \"/k\"\n use_external_addr"}}, nil, nil},

		{"no ready command", []change{{`instance_ready_command = "(cloud-init status --wait || test $? -eq 2) && docker info"`, ""}}, nil, []string{
			`ready-command warning 6: there is no instance_ready_command: a Droplet is given jobs while cloud-init still works on it | instance_ready_command = "(cloud-init status --wait || test $? -eq 2) && docker info"`,
		}},
		{"no wait", []change{{`"(cloud-init status --wait || test $? -eq 2) && docker info"`, `"true"`}}, nil, []string{
			`ready-command warning 13: instance_ready_command does not wait for cloud-init: a Droplet is given jobs while that still works on it | instance_ready_command = "(cloud-init status --wait || test $? -eq 2) && docker info"`,
			`ready-command warning 13: instance_ready_command does not wait for Docker, which every job needs | instance_ready_command = "(cloud-init status --wait || test $? -eq 2) && docker info"`,
		}},
		{"a wait that fails", []change{{`(cloud-init status --wait || test $? -eq 2)`, `cloud-init status --wait >/dev/null 2>&1`}}, nil, []string{
			`ready-command warning 13: cloud-init exits with 2 when it is done and had something to complain about: such Droplets are replaced for ever | instance_ready_command = "(cloud-init status --wait || test $? -eq 2) && docker info"`,
		}},
		{"a wait that does not", []change{{`(cloud-init status --wait || test $? -eq 2)`, `cloud-init status --wait >/dev/null 2>&1 || true`}}, nil, nil},
		{"another wait", []change{{`(cloud-init status --wait || test $? -eq 2)`, `while ! test -e /var/lib/cloud/instance/boot-finished; do sleep 1; done`}}, nil, nil},
		{"nothing of Docker, nor needed", []change{{" && docker info", ""}, {"docker-autoscaler", "instance"}}, nil, nil},

		{"update intervals", []change{{`update_interval = "30s"`, ""}, {`expecting = "2s"`, `expecting = "0s"`}}, nil, []string{
			`update-interval warning 6: update_interval is 0, or not set: some releases of the runner take that for 0, and ask without a pause | update_interval = "1m"`,
			`update-interval warning 12: update_interval_when_expecting is 0, or not set: some releases of the runner take that for 0, and ask without a pause | update_interval_when_expecting = "2s"`,
		}},
		{"max_use_count", []change{{"max_use_count = 20", ""}}, nil, []string{
			"use-count note 6: max_use_count is not set: a busy Droplet is used for ever, until its disk is full of what jobs leave | max_use_count = 20",
		}},

		{"private addresses of two", []change{{"use_external_addr = true", ""}}, nil, []string{
			"address note 25: use_external_addr is false: Droplets are dialed by their private addresses, so this host has to be in their VPC | where this host is in no VPC with them: use_external_addr = true",
		}},
		{"private addresses alone", []change{{"use_external_addr = true", ""}, {`name = "ci"`, "name = \"ci\"\npublic_networking = false"}}, nil, []string{
			"address note 26: Droplets have private addresses alone, so this host has to be in their VPC",
		}},
		{"no public address", []change{{`name = "ci"`, "name = \"ci\"\npublic_networking = false"}}, nil, []string{
			"address warning 27: use_external_addr is true, and with public_networking = false Droplets have private addresses alone | use_external_addr = false",
		}},
		{"connector", []change{{"use_external_addr", "os = \"windows\"\nprotocol = \"winrm\"\nprotocol_port = 70000\nusername = \"ci\"\nuse_external_addr"}}, nil, []string{
			`connector fault 26: os is "windows": Droplets run linux, and the plugin refuses all else | os = "linux"`,
			`connector fault 27: protocol is "winrm": Droplets are reached by ssh, and the plugin refuses all else | protocol = "ssh"`,
			"connector fault 28: protocol_port is 70000: it must be from 1 to 65535 | protocol_port = 22",
			`connector warning 29: username is "ci": DigitalOcean's images know root alone, and user_data does not make another | username = "root"`,
		}},
		{"another port", []change{{"use_external_addr", "os = \"linux\"\nprotocol = \"ssh\"\nprotocol_port = 2222\nusername = \"root\"\nuse_external_addr"}}, nil, []string{
			"connector note 28: protocol_port is 2222: the image's SSH server has to listen there",
		}},
		{"another user", []change{{"use_external_addr", "username = \"ci\"\nuse_external_addr"}, {"ufw allow ssh", "ufw allow ssh && adduser ci"}}, nil, nil},

		{"user data that is none", []change{{`#cloud-config\nruncmd`, `runcmd`}}, nil, []string{
			"user-data warning 22: user_data does not begin with #cloud-config or #!: cloud-init ignores it | begin it with the line #cloud-config, or #!/bin/sh",
		}},
		{"user data that is no YAML", []change{{`ufw allow ssh\n`, `ufw allow ssh\n  - echo a: b: c\n`}}, nil, []string{
			`user-data fault 22: line 4 of user_data: no YAML: mapping values are not allowed in this context: cloud-init ignores all of it | a text with ": " in it needs quotes`,
		}},
		{"user data with a key twice", []change{{`ufw allow ssh\n`, `ufw allow ssh\nruncmd:\n  - echo\n`}}, nil, []string{
			`user-data warning 22: line 4 of user_data: runcmd is there a second time, and the one of line 2 does not count | make one of both`,
		}},
		{"secrets in user data", []change{{`ufw allow ssh\n`, `ufw allow ssh\n  - docker login -u x -p hunter2\n  - TOKEN=glpat-0123456789abcdefghij\n# dop_v1_0123456789abcdef\npassword: correct-horse\n`}}, nil, []string{
			"user-data warning 22: user_data seems to have a DigitalOcean token in it: every job can read user data, at 169.254.169.254 | put it into the jobs' CI/CD variables, or into the image's registry, and change it",
			"user-data warning 22: user_data seems to have a GitLab token in it: every job can read user data, at 169.254.169.254 | put it into the jobs' CI/CD variables, or into the image's registry, and change it",
			"user-data warning 22: user_data seems to have a password in it: every job can read user data, at 169.254.169.254 | put it into the jobs' CI/CD variables, or into the image's registry, and change it",
			"user-data warning 22: user_data seems to have a registry's password in it: every job can read user data, at 169.254.169.254 | put it into the jobs' CI/CD variables, or into the image's registry, and change it",
		}},
		{"no secrets in user data", []change{{`ufw allow ssh\n`, `ufw allow ssh\nssh_pwauth: false\n# password: see the vault\nchpasswd: { expire: false }\n`}}, nil, nil},
		{"the firewall", []change{{`ufw allow ssh`, `true`}}, nil, []string{
			`firewall warning 22: the 1-Click image's firewall takes six SSH connections in 30 seconds from an address, and then none: the runner locks itself out | below runcmd: of user_data:   - ufw allow ssh`,
		}},
		{"the firewall, no user_data", []change{{`user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"`, ``}}, nil, []string{
			locked("16", `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"`),
		}},
		{"the firewall, without runcmd", []change{{`runcmd:\n  - ufw allow ssh\n`, `packages: [git]\n`}}, nil, []string{
			locked("22", "add the line to user_data: runcmd: [ufw allow ssh]"),
		}},
		{"the firewall, a script", []change{{`#cloud-config\nruncmd:\n  - ufw allow ssh\n`, `#!/bin/sh\n# ufw allow ssh\nufw limit ssh\n`}}, nil, []string{
			locked("22", "add the line: ufw allow ssh"),
		}},
		{"the firewall, a list", []change{{`#cloud-config\nruncmd:\n  - ufw allow ssh\n`, `#include\nhttps://example.com/ufw\n`}}, nil, []string{
			locked("22", "let user_data run: ufw allow ssh"),
		}},
		{"the firewall off", []change{{`ufw allow ssh`, `[ufw, --force, disable]`}}, nil, nil},
		{"no firewall", []change{{`ufw allow ssh`, `true`}, {"docker-20-04", "debian-13-x64"}}, nil, nil},

		{"secrets that others can read", nil, func(h *Host) {
			h.Secrets = []SecretFile{{"config.toml", "plugin_config.token", 0o644, "autoscaler.plugin_config.token"}, {"/key", "a private key", 0o640, ""}, {"/own", "a private key", 0o600, ""}}
		}, []string{
			"secret-files warning 18: other users of this host can read plugin_config.token: config.toml has the mode 0644 | chmod 600 config.toml",
			"secret-files warning /key: other users of this host can read a private key: /key has the mode 0640 | chmod 600 /key",
		}},
		{"a plaintext token", nil, func(h *Host) {
			h.Secrets = []SecretFile{{"config.toml", "plugin_config.token", 0o600, "autoscaler.plugin_config.token"}}
		}, []string{
			`secret-files note 18: the token is in config.toml: in a file of its own it can be replaced without a restart | token_file = "/etc/gitlab-runner/digitalocean-token"`,
		}},
		{"keys", nil, func(h *Host) {
			h.Keys = []KeyFile{
				{Key: "autoscaler.plugin_config.ssh_key_file", Path: "/a", Missing: true}, {Key: "autoscaler.connector_config.key_path", Path: "/b", Missing: true},
				{Key: "autoscaler.connector_config.key_path", Path: "/c", Fault: "the key needs a passphrase"}, {Key: "autoscaler.connector_config.key_path", Path: "/d", Fingerprint: "3b:16"},
			}
		}, []string{
			"key-file ok 23: ssh_key_file /a does not exist yet: the first start makes it",
			"key-file fault 25: key_path /b does not exist: the runner cannot start the plugin | ssh-keygen -t ed25519 -N '' -f /b",
			"key-file fault 25: key_path /c cannot be used: the key needs a passphrase | ssh-keygen -t ed25519 -N '' -f /c.new",
		}},
		{"no state directory", nil, func(h *Host) {
			h.StateFault = errors.New("state directory: mkdir /x: read-only file system; set XDG_STATE_HOME")
		}, []string{
			"state fault : the plugin cannot start: state directory: mkdir /x: read-only file system | set XDG_STATE_HOME",
		}},
		{"another user's PATH", nil, func(h *Host) { h.UID, h.Program.Path = 1000, "" }, []string{
			"plugin note 7: plugin fleeting-plugin-digitalocean is neither in PATH nor in /p: the runner's user may have it elsewhere | sudo install fleeting-plugin-digitalocean /usr/local/bin/",
			"user note config.toml: it belongs to the user 0, and doctor runs as 1000: what it finds of files, HOME and locks is this user's, not the runner's | sudo fleeting-plugin-digitalocean doctor",
		}},
		{"another user's", nil, func(h *Host) { h.UID = 1000 }, []string{
			"user note config.toml: it belongs to the user 0, and doctor runs as 1000: what it finds of files, HOME and locks is this user's, not the runner's | sudo fleeting-plugin-digitalocean doctor",
		}},
		{"another user's, for root", nil, func(h *Host) { h.ConfigUID = 998 }, []string{
			"user note config.toml: it belongs to the user 998, and doctor runs as 0: what it finds of files, HOME and locks is this user's, not the runner's | sudo -u '#998' fleeting-plugin-digitalocean doctor",
		}},
		{"a state file of another host", nil, func(h *Host) { h.Ignored = errors.New("another host wrote it") }, []string{
			"state note this host: what earlier plugin processes remembered is ignored: another host wrote it; the next start begins anew",
		}},
		{"a manager", nil, func(h *Host) { h.Holder = "4711" }, []string{"manager ok this host: process 4711 manages the group"}},
		{"a start that was refused", nil, func(h *Host) {
			h.Refused = &state.Refusal{At: monday.Add(-2 * time.Minute), Text: "plugin_config.size: no\nplugin_config.image: no"}
		}, []string{
			"manager warning this host: the start at 09:28:00 was refused: plugin_config.size: no; plugin_config.image: no | fix what it says; the runner starts the plugin again by itself",
		}},
		{"a start that was refused long ago", nil, func(h *Host) { h.Refused = &state.Refusal{At: monday.Add(-lately), Text: "no"} }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := sound
			for _, c := range tt.changes {
				if c.old == "" {
					text += c.new
				} else if changed := strings.Replace(text, c.old, c.new, 1); changed != text {
					text = changed
				} else {
					t.Fatalf("%q is not there", c.old)
				}
			}
			s := subject(t, text)
			if tt.host != nil {
				tt.host(&s.Host)
			}
			found, _ := Examine(t.Context(), nil, s)
			got := slices.DeleteFunc(slices.Clone(found), func(f Finding) bool {
				line := written([]Finding{f})[0]
				known := slices.ContainsFunc(basis, func(b string) bool { return withoutLine(b) == withoutLine(line) })
				return known || f.Check == "cost" || f.Check == "idle-count" && f.Mark == Note
			})
			if diff := cmp.Diff(tt.want, written(got)); diff != "" {
				t.Errorf("expected (-) and found (+):\n%s", diff)
			}
			for _, f := range got {
				shown[f.Check] = true
			}
		})
	}
	shown["shutdown"] = true // of the sound one
	shown["idle-count"] = true
	for _, c := range Checks() {
		if c.offline != nil && !shown[c.Name] {
			t.Errorf("nothing shows the check %s", c.Name)
		}
	}
}

// withoutLine takes the line number out of a finding as tests write it.
func withoutLine(s string) string {
	fields := strings.SplitN(s, " ", 4)
	fields[2] = ""
	return strings.Join(fields, " ")
}

// Without delete_instances_on_shutdown = false there is nothing to say about a stop.
func TestShutdownDeletes(t *testing.T) {
	s := subject(t, strings.Replace(sound, "on_shutdown = false", "on_shutdown = true", 1))
	found, _ := Examine(t.Context(), nil, s)
	for _, f := range found {
		if f.Check == "shutdown" {
			t.Errorf("%+v", f)
		}
	}
}

// A group that is given by hand has no file to be wrong.
func TestByHand(t *testing.T) {
	found, cost := Examine(t.Context(), nil, Subject{Account: config.Account{Name: "ci"}, Host: Host{ConfigUID: -1}})
	if diff := cmp.Diff([]string{"manager ok this host: no process manages the group now"}, written(found)); diff != "" || cost != nil {
		t.Errorf("%v\n%s", cost, diff)
	}
}

// The example that people copy is sound: what there is to say of it is here.
func TestExampleIsSound(t *testing.T) {
	text, err := os.ReadFile("../../examples/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	s := subject(t, strings.Replace(string(text), `token_file = "/etc/gitlab-runner/digitalocean-token"`, `token = "x"`, 1))
	found, _ := Examine(t.Context(), nil, s)
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s %s", f.Check, f.Mark))
	}
	want := []string{"plugin-config ok", "shutdown note", "manager ok", "cost ok", "cost note"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("expected (-) and found (+):\n%s\n%s", diff, strings.Join(written(found), "\n"))
	}
}

// Look sees files as they are.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	write := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("config.toml", sound, 0o644)
	file, err := runnerconfig.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r := file.Runners[0]
	r.Autoscaler.Connector.KeyPath = write("none.pem", "-----BEGIN NOTHING-----", 0o600)
	c := config.Config{SSHKeyFile: filepath.Join(dir, "missing")}
	h := Look(t.Context(), file, r, c, "https://api.digitalocean.com", "ci")
	if len(h.Secrets) != 2 || h.Secrets[0].Mode != 0o644 || h.Secrets[0].Plain == "" || h.Secrets[1].Mode != 0o600 {
		t.Errorf("secrets %+v", h.Secrets)
	}
	if len(h.Keys) != 2 || !h.Keys[0].Missing || h.Keys[1].Fault != "it is no private key in PEM or OpenSSH form" {
		t.Errorf("keys %+v", h.Keys)
	}
	if h.StateFault != nil || h.Holder != "" || len(h.Addresses) == 0 || h.UID != h.ConfigUID {
		t.Errorf("%+v", h)
	}
	t.Setenv("XDG_STATE_HOME", path) // a file
	if h := Look(t.Context(), nil, runnerconfig.Runner{}, config.Config{}, "https://api.digitalocean.com", "ci"); h.StateFault == nil {
		t.Error("a directory can be in a file")
	}
}

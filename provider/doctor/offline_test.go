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

// subject is the group of the first [[runners]] of text, on a host where nothing is wrong.
func subject(t *testing.T, text string) Subject {
	t.Helper()
	file, err := runnerconfig.Parse("config.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	s := Subject{File: file, Runner: file.Runners[0], Host: Host{Now: monday, RunnerVersion: "19.3.0", Program: Program{Path: "/bin/x", Dir: "/p"}}}
	data, err := json.Marshal(s.Runner.Autoscaler.PluginConfig)
	if err != nil {
		t.Fatal(err)
	}
	host := config.Host{Getenv: func(string) string { return "" }, ReadFile: func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist }}
	s.Config, s.Faults = config.Parse(data, host)
	s.Account, _ = config.ParseAccount(data, host)
	if isPath(s.Runner.Autoscaler.Plugin) {
		s.Host.Program.Dir = ""
	}
	return s
}

// changed is sound with replacements: old, new, old, new... After an old of "" new is added at the end.
func changed(t *testing.T, changes []string) string {
	t.Helper()
	text := sound
	for c := range slices.Chunk(changes, 2) {
		switch next := strings.Replace(text, c[0], c[1], 1); {
		case c[0] == "":
			text += c[1]
		case next == text:
			t.Fatalf("%q is not there", c[0])
		default:
			text = next
		}
	}
	return text
}

// brief is what scripts and operators rely on in findings: check, level, line or place, and hint.
func brief(findings []Finding) (lines []string) {
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %s", f.Check, f.Level, strings.TrimPrefix(f.Where, "config.toml:"))
		if f.Hint != "" {
			line += " | " + f.Hint
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
		"policy note 29",
		"policy note 37",
		"shutdown note 15 | where the runner is stopped for good: delete_instances_on_shutdown = true",
		"manager ok this host",
		"cost ok 28",
	}
	if diff := cmp.Diff(want, brief(basis)); diff != "" {
		t.Errorf("of a sound configuration, expected (-) and found (+):\n%s", diff)
	}
	if diff := cmp.Diff(&Cost{Idle: []Idle{{50, 3}, {118, 1}}, MaxInstances: 10}, cost); diff != "" {
		t.Error(diff)
	}

	const (
		wait      = `"(cloud-init status --wait || test $? -eq 2) && docker info"`
		waitHint  = " | instance_ready_command = " + wait
		userData  = `"#cloud-config\nruncmd:\n  - ufw allow ssh\n"`
		secret    = "user-data warning 23 | put it into the jobs' CI/CD variables, and replace it"
		firewall  = "firewall warning 23 | let user_data run: ufw allow ssh"
		shellTool = "executor = \"instance\""
		table     = "[[runners]]\n[runners.autoscaler]\n"
		ours      = table + "plugin=\"fleeting-plugin-digitalocean\"\n"
	)
	plugin := func(name string) []string {
		return []string{`plugin = "fleeting-plugin-digitalocean"`, fmt.Sprintf("plugin = %q", name)}
	}
	with := func(line string) []string { return []string{"max_use_count = 20", "max_use_count = 20\n" + line} }
	shown := map[string]bool{}
	for name, tt := range map[string]struct {
		changes []string
		host    func(*Host)
		want    []string
	}{
		"executor":          {[]string{`"docker-autoscaler"`, `"docker"`}, nil, []string{`executor fault 4 | executor = "docker-autoscaler"`}},
		"instance executor": {[]string{`executor = "docker-autoscaler"`, shellTool, `docker = { image = "alpine:latest" }`, "", " && docker info", ""}, nil, nil},
		"no runners.docker": {[]string{`docker = { image = "alpine:latest" }`, ""}, nil,
			[]string{"docker fault 4 | [runners.docker]\n  image = \"alpine:latest\""}},
		"what docker+machine left": {[]string{`image = "alpine:latest"`, `host = "tcp://10.0.0.1:2376", tls_cert_path = "/c", tls_verify = true`}, nil,
			[]string{"docker warning 3 | remove it", "docker warning 3 | remove it", "docker note 3 | remove it, unless it is a socket on the Droplet"}},

		"an unknown version": {nil, func(h *Host) { h.RunnerVersion = "" }, []string{"version note 17 | on the runner's host: gitlab-runner --version"}},
		"19.1":               {nil, func(h *Host) { h.RunnerVersion = "19.1.2" }, []string{"version note 17 | after a rotation of the token: gitlab-runner restart"}},
		"17.11": {with(`log_internal_ip = true
			deletion_retry_interval = "1m"`), func(h *Host) { h.RunnerVersion = "17.11.4" }, []string{
			"version note 19 | after a rotation of the token: gitlab-runner restart",
			"version warning 12 | upgrade the runner, or remove the line",
			"version warning 11 | upgrade the runner, or remove the line",
			"policy warning 31 | upgrade the runner, or idle_count = 0",
			"policy warning 39 | upgrade the runner, or idle_count = 0",
		}},

		"a registry with a port": {plugin("127.0.0.1:5000/x/y:1"), nil, []string{`plugin fault 8 | plugin = "fleeting-plugin-digitalocean"`}},
		"a version with a v":     {plugin("registry.gitlab.com/x/y:v0.1.0"), nil, []string{`plugin fault 8 | plugin = "registry.gitlab.com/x/y:0.1.0"`}},
		"a path to nothing": {plugin("/opt/x"), func(h *Host) { h.Program.Fault = "does not exist" },
			[]string{`plugin fault 8 | plugin = "fleeting-plugin-digitalocean"`}},
		"a path to no program": {plugin("/opt/x"), func(h *Host) { h.Program.Fault = "is not executable" }, []string{"plugin fault 8 | chmod 755 /opt/x"}},
		"a path":               {plugin("./x"), nil, nil},
		"a name that is nowhere": {nil, func(h *Host) { h.Program.Path = "" },
			[]string{"plugin warning 8 | sudo install fleeting-plugin-digitalocean /usr/local/bin/"}},
		"a name with a version": {plugin("fleeting-plugin-digitalocean:latest"), nil, nil},
		"not installed": {plugin("registry.gitlab.com/x/y:1"), func(h *Host) { h.Program.Path = "" },
			[]string{"plugin warning 8 | gitlab-runner fleeting install && gitlab-runner fleeting list"}},
		"installed": {plugin("x/y"), nil, nil},

		"misspelt keys": {with("idle_tme = 1\n idle_count = 3\n zzz = 1"), nil, []string{
			"ignored-keys warning 11 | remove it",
			"ignored-keys warning 12 | it belongs into [runners.autoscaler.policy]",
			"ignored-keys warning 13 | remove it",
		}},
		"misspelt keys of tables": {[]string{"use_external_addr = true", "use_external_addr = true\n use_external_address = true", "idle_count = 2", "idle_count = 2\n idel_count = 4"}, nil,
			[]string{`ignored-keys warning 28 | did you mean "use_external_addr"?`, `ignored-keys warning 31 | did you mean "idle_count"?`}},
		"the keys of another runner": {[]string{"", table + "nothing = 1\n"}, nil, nil},
		"failure_threshold":          {with("failure_threshold = 3"), nil, []string{"ignored-keys note 11 | remove it"}},

		"values": {[]string{"max_use_count = 20", "max_use_count = -1", `idle_time = "10m"`, "idle_time = 600", `update_interval = "30s"`, `update_interval = "-30s"`}, nil,
			[]string{"values fault 10 | remove it, or write what is meant", "values fault 12 | remove it, or write what is meant", `values fault 30 | idle_time = "600s"`}},
		"plugin_config": {[]string{`region = ["fra1", "nyc3"]`, "regoin = \"fra1\""}, nil, []string{`plugin-config fault 20 | did you mean "region"?`}},
		"no token": {[]string{`token = "dop_v1_0123"`, ""}, nil,
			[]string{`plugin-config fault 17 | token_file = "/etc/gitlab-runner/digitalocean-token", with nothing but the token in that file`}},

		"one group twice": {[]string{"", ours + "plugin_config = { Name = \"ci\" }\n"}, nil, []string{`group-name fault 18 | name = "ci-2"`}},
		"the same name elsewhere": {[]string{"", ours + "plugin_config = { name = \"ci\", api_url = \"https://do.example.com\" }\n" +
			table + "plugin=\"fleeting-plugin-aws\"\nplugin_config = { name = \"ci\" }\n"}, nil, nil},

		"concurrent":     {[]string{"concurrent = 20", "concurrent = 10"}, nil, []string{"jobs warning 1 | concurrent = 20"}},
		"no concurrent":  {[]string{"concurrent = 20\n", "\n"}, nil, []string{"jobs warning config.toml | concurrent = 20"}},
		"concurrent 0":   {[]string{"concurrent = 20", "concurrent = 0"}, nil, []string{"jobs fault 1 | concurrent = 10"}},
		"limit":          {[]string{"limit = 20", "limit = 3"}, nil, []string{"jobs warning 5 | limit = 20"}},
		"no limit":       {[]string{"limit = 20", "limit = 0"}, nil, nil},
		"two runners":    {[]string{"", ours + "max_instances = 7\n"}, nil, []string{"jobs note 1 | concurrent = 27"}},
		"many runners":   {[]string{"concurrent = 20", "concurrent = 1", "max_instances = 10\n    up", "up", "max_instances = 10\n    [r", "max_hourly_cost = 1\n    [r", "", table}, nil, []string{"polling warning 1 | concurrent = 2"}},
		"no concurrency": {[]string{"request_concurrency = 4", ""}, nil, []string{"polling note 2 | request_concurrency = 4"}},
		"a small limit":  {[]string{"request_concurrency = 4", "", "limit = 20", "limit = 2"}, nil, []string{"jobs warning 5 | limit = 20", "polling warning 2 | request_concurrency = 2"}},
		"not adaptive": {[]string{"limit = 20", "limit = 20\n feature_flags = { FF_USE_ADAPTIVE_REQUEST_CONCURRENCY = false }"}, nil,
			[]string{"polling warning 7 | remove FF_USE_ADAPTIVE_REQUEST_CONCURRENCY, which is on by default"}},
		"not adaptive, by the environment": {[]string{"limit = 20", "limit = 20\n environment = [\"FF_USE_ADAPTIVE_REQUEST_CONCURRENCY=0\"]"}, nil,
			[]string{"polling warning 7 | remove FF_USE_ADAPTIVE_REQUEST_CONCURRENCY, which is on by default"}},

		"max_instances":                    {[]string{"max_instances = 10", "max_instances = 11"}, nil, []string{"max-instances fault 11 | max_instances = 10"}},
		"the plugin's max_instances alone": {[]string{"max_instances = 10\n    update", "update"}, nil, nil},
		"no max_instances":                 {[]string{"max_instances = 10\n    up", "up", "max_instances = 10\n    [r", "[r"}, nil, []string{"max-instances warning 7 | max_instances = 10"}},

		"no policy": {[]string{sound[strings.Index(sound, "    [[runners.autoscaler.policy]]"):], ""}, nil,
			[]string{`policy note 7 | policy = [{ idle_count = 1, idle_time = "10m", preemptive_mode = false }]`}},
		"a period of seven fields": {[]string{`"* 8-17 * * mon-fri"`, `"* * 8-17 * * mon-fri *"`}, nil, []string{`policy fault 35 | periods = ["* 8-17 * * mon-fri"]`}},
		"no such timezone":         {[]string{"Europe/Berlin", "Europe/Berlln"}, nil, []string{`policy fault 35 | timezone = "Europe/Berlin"`}},
		"a range that wraps":       {[]string{`"* 8-17 * * mon-fri"`, `"* 22-6 * * mon-fri"`}, nil, []string{"policy warning 35 | write it as two, such as 22-23,0-6 for 22-6"}},
		"the default last": {[]string{`periods = ["* 8-17 * * mon-fri"]`, ""}, nil,
			[]string{"policy warning 28 | put the policy for the rest of the week first, and the special hours last"}},
		"an impossible day": {[]string{`"* 8-17 * * mon-fri"`, `"* 8-17 31 2,4 *"`}, nil,
			[]string{"policy warning 34 | put the policy for the rest of the week first, and the special hours last"}},
		"hours without a policy": {[]string{"[[runners.autoscaler.policy]]\n      idle_count = 2", "[[runners.autoscaler.policy]]\n periods = [\"* 0-6 * * *\"]\n      idle_count = 2"}, nil,
			[]string{"policy note 28 | put a policy without periods first, for the rest of the week"}},
		"no idle_time":               {[]string{`idle_time = "10m"`, ""}, nil, []string{`policy warning 28 | idle_time = "10m"`}},
		"idle_count":                 {[]string{"idle_count = 5", "idle_count = 21"}, nil, []string{"policy warning 37 | idle_count = 20"}},
		"one job a Droplet":          {[]string{"capacity_per_instance = 2", "capacity_per_instance = 1"}, nil, nil},
		"scale_factor 0.5":           {[]string{"scale_factor = 1.5", "scale_factor = 0.5"}, nil, []string{"policy warning 31 | scale_factor = 1.5"}},
		"no scale_factor_limit":      {[]string{"scale_factor_limit = 8", ""}, nil, []string{"policy note 31 | scale_factor_limit = 8"}},
		"no scale_factor":            {[]string{"scale_factor = 1.5", ""}, nil, []string{"policy warning 32 | scale_factor = 1.5"}},
		"no preemptive_mode":         {[]string{"preemptive_mode = false", ""}, nil, []string{"policy note 28 | preemptive_mode = false"}},
		"no preemptive_mode, nor it": {[]string{"preemptive_mode = false", "", "idle_count = 2", "idle_count = 0"}, nil, []string{"policy note 28 | preemptive_mode = false"}},

		"no state_storage": {[]string{"state_storage = { enabled = true }", ""}, nil,
			[]string{`restart warning 7 | state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`}},
		"no key": {[]string{`ssh_key_file = "/var/lib/gitlab-runner/key"`, ""}, nil,
			[]string{`restart warning 17 | ssh_key_file = "/var/lib/gitlab-runner/fleeting-ssh-key"`}},
		"the runner's key": {[]string{`ssh_key_file = "/var/lib/gitlab-runner/key"`, "", "use_external_addr", "key_path = \"/k\"\n use_external_addr"}, nil, nil},
		"no state_storage, no Droplets": {[]string{"state_storage = { enabled = true }", "shutdown_deletion_interval = \"10s\"\nshutdown_deletion_retries = 2", "on_shutdown = false", "on_shutdown = true"}, nil,
			[]string{`restart note 7 | state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`}},
		"deletes nothing": {[]string{"on_shutdown = false", "on_shutdown = true", "concurrent = 20", "concurrent = 20\nshutdown_timeout = 60"}, nil,
			[]string{"shutdown warning 16 | shutdown_deletion_interval = \"10s\"\nshutdown_deletion_retries = 3"}},
		"is cut off": {[]string{"on_shutdown = false", "on_shutdown = true\nshutdown_deletion_interval = \"20s\"\nshutdown_deletion_retries = 3", "concurrent = 20", "concurrent = 20\nshutdown_timeout = 60"}, nil,
			[]string{"shutdown warning 2 | shutdown_timeout = 90"}},

		"no ready command":     {[]string{"instance_ready_command = " + wait, ""}, nil, []string{"ready-command warning 7" + waitHint}},
		"no wait":              {[]string{wait, `"true"`}, nil, []string{"ready-command warning 14" + waitHint, "ready-command warning 14" + waitHint}},
		"a wait that fails":    {[]string{`(cloud-init status --wait || test $? -eq 2)`, `cloud-init status --wait >/dev/null 2>&1`}, nil, []string{"ready-command warning 14" + waitHint}},
		"a wait that does not": {[]string{`(cloud-init status --wait || test $? -eq 2)`, `cloud-init status --wait >/dev/null 2>&1 || true`}, nil, nil},
		"another wait":         {[]string{`(cloud-init status --wait || test $? -eq 2)`, `while ! test -e /var/lib/cloud/instance/boot-finished; do sleep 1; done`}, nil, nil},
		"update intervals": {[]string{`update_interval = "30s"`, "", `expecting = "2s"`, `expecting = "0s"`}, nil,
			[]string{`update-interval warning 7 | update_interval = "1m"`, `update-interval warning 13 | update_interval_when_expecting = "2s"`}},
		"max_use_count": {[]string{"max_use_count = 20", ""}, nil, []string{"use-count note 7 | max_use_count = 20"}},

		"private addresses of two": {[]string{"use_external_addr = true", ""}, nil,
			[]string{"connector note 26 | where this host is not in the Droplets' VPC: use_external_addr = true"}},
		"private addresses alone": {[]string{"use_external_addr = true", "", `name = "ci"`, "name = \"ci\"\npublic_networking = false"}, nil, []string{"connector note 27"}},
		"no public address": {[]string{`name = "ci"`, "name = \"ci\"\npublic_networking = false"}, nil,
			[]string{"connector warning 28 | use_external_addr = false"}},
		"connector": {[]string{"use_external_addr", "os = \"windows\"\nprotocol = \"winrm\"\nprotocol_port = 70000\nusername = \"ci\"\nuse_external_addr"}, nil, []string{
			`connector fault 27 | os = "linux"`, `connector fault 28 | protocol = "ssh"`, "connector fault 29 | protocol_port = 22", `connector warning 30 | username = "root"`}},
		"another port": {[]string{"use_external_addr", "os = \"linux\"\nprotocol = \"ssh\"\nprotocol_port = 2222\nusername = \"root\"\nuse_external_addr"}, nil, []string{"connector note 29"}},
		"another user": {[]string{"use_external_addr", "username = \"ci\"\nuse_external_addr", "ufw allow ssh", "ufw allow ssh && adduser ci"}, nil, nil},
		"short timeouts": {[]string{"use_external_addr", "timeout = \"30s\"\nuse_external_addr", "max_use_count = 20", "max_use_count = 20\ninstance_acquire_timeout = \"1m\""}, nil,
			[]string{`connector warning 28 | timeout = "5m"`, `connector warning 11 | instance_acquire_timeout = "15m"`}},
		"timeouts": {[]string{"use_external_addr", "timeout = \"1m\"\nuse_external_addr", "max_use_count = 20", "max_use_count = 20\ninstance_acquire_timeout = \"2m\""}, nil, nil},

		"user data that is none":     {[]string{`#cloud-config\nruncmd`, `runcmd`}, nil, []string{"user-data warning 23 | begin it with the line #cloud-config, or #!/bin/sh"}},
		"user data with a key twice": {[]string{`ufw allow ssh\n`, `ufw allow ssh\nruncmd:\n  - echo\n`}, nil, []string{"user-data warning 23 | make one of both"}},
		"secrets in user data": {[]string{`ufw allow ssh\n`, `ufw allow ssh\n  - docker login -u x -p hunter2\n  - TOKEN=glpat-0123456789abcdefghij\n# dop_v1_0123456789abcdef\npassword: correct-horse\n`}, nil,
			[]string{secret, secret, secret, secret}},
		"no secrets in user data":    {[]string{`ufw allow ssh\n`, `ufw allow ssh\nssh_pwauth: false\n# password: see the vault\nchpasswd: { expire: false }\n`}, nil, nil},
		"the firewall":               {[]string{`ufw allow ssh`, `true`}, nil, []string{firewall}},
		"the firewall, no user_data": {[]string{`user_data = ` + userData, ``}, nil, []string{"firewall warning 17 | user_data = " + userData}},
		"the firewall, a script":     {[]string{`#cloud-config\nruncmd:\n  - ufw allow ssh\n`, `#!/bin/sh\n# ufw allow ssh\nufw limit ssh\n`}, nil, []string{firewall}},
		"the firewall off":           {[]string{`ufw allow ssh`, `[ufw, --force, disable]`}, nil, nil},
		"no firewall":                {[]string{`ufw allow ssh`, `true`, "docker-20-04", "debian-13-x64"}, nil, nil},

		"debug logs":            {[]string{"concurrent = 20", "concurrent = 20\nlog_level = \"debug\""}, nil, []string{`secret-files warning 2 | log_level = "info"`}},
		"debug logs, no secret": {[]string{"concurrent = 20", "concurrent = 20\nlog_level = \"debug\"", `token = "dop_v1_0123"`, ""}, nil, []string{`plugin-config fault 18 | token_file = "/etc/gitlab-runner/digitalocean-token", with nothing but the token in that file`}},
		"secrets for everybody": {nil, func(h *Host) {
			h.Secrets = []SecretFile{{"config.toml", "plugin_config.token", 0o644, "autoscaler.plugin_config.token"}, {"/key", "a private key", 0o640, ""}, {"/own", "a private key", 0o600, ""}}
		}, []string{"secret-files warning 19 | chmod 600 config.toml", "secret-files warning /key | chmod 600 /key"}},
		"a plaintext token": {nil, func(h *Host) {
			h.Secrets = []SecretFile{{"config.toml", "plugin_config.token", 0o600, "autoscaler.plugin_config.token"}}
		}, []string{`secret-files note 19 | token_file = "/etc/gitlab-runner/digitalocean-token"`}},
		"keys": {nil, func(h *Host) {
			h.Keys = []KeyFile{{"autoscaler.plugin_config.ssh_key_file", "/a", fs.ErrNotExist}, {"autoscaler.connector_config.key_path", "/b", fs.ErrNotExist},
				{"autoscaler.connector_config.key_path", "/c", errors.New("no")}, {"autoscaler.connector_config.key_path", "/d", nil}}
		}, []string{"key-file ok 24", "key-file fault 26 | ssh-keygen -t ed25519 -N '' -f /b", "key-file fault 26 | ssh-keygen -t ed25519 -N '' -f /c.new"}},
		"no state directory":           {nil, func(h *Host) { h.StateFault = errors.New("read-only file system; set XDG_STATE_HOME") }, []string{"state fault  | set XDG_STATE_HOME"}},
		"another user's":               {nil, func(h *Host) { h.Owner = "998" }, []string{"user note config.toml | sudo -u '#998' fleeting-plugin-digitalocean doctor"}},
		"a state file of another host": {nil, func(h *Host) { h.Ignored = errors.New("another host wrote it") }, []string{"state note this host"}},
		"a manager":                    {nil, func(h *Host) { h.Holder = "4711" }, []string{"manager ok this host"}},
		"a start that was refused": {nil, func(h *Host) { h.Refused = &state.Refusal{At: monday.Add(-2 * time.Minute), Text: "no"} },
			[]string{"manager warning this host | fix what it says; the runner starts the plugin again by itself"}},
		"a start that was refused long ago": {nil, func(h *Host) { h.Refused = &state.Refusal{At: monday.Add(-lately), Text: "no"} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := subject(t, changed(t, tt.changes))
			if tt.host != nil {
				tt.host(&s.Host)
			}
			found, _ := Examine(t.Context(), nil, s)
			more := beyond(basis, found, shown)
			more = slices.DeleteFunc(more, func(f Finding) bool {
				return f.Check == "cost" || f.Check == "policy" && f.Level == Note && f.Hint == ""
			})
			if diff := cmp.Diff(tt.want, brief(more)); diff != "" {
				t.Errorf("expected (-) and found (+):\n%s", diff)
			}
		})
	}
	for _, c := range Checks() {
		if c.offline != nil && !shown[c.Name] && c.Name != "cost" {
			t.Errorf("nothing shows the check %s", c.Name)
		}
	}
}

// A group that is given on the command line has no file to be wrong.
func TestWithoutFile(t *testing.T) {
	found, cost := Examine(t.Context(), nil, Subject{Account: config.Account{Name: "ci"}, Host: Host{}})
	if diff := cmp.Diff([]string{"manager ok this host"}, brief(found)); diff != "" || cost != nil {
		t.Errorf("%v\n%s", cost, diff)
	}
}

// The example that people copy has nothing worse than notes, and of those only what is a choice.
func TestExampleIsSound(t *testing.T) {
	text, err := os.ReadFile("../../examples/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	found, _ := Examine(t.Context(), nil, subject(t, strings.Replace(string(text), `token_file = "/etc/gitlab-runner/digitalocean-token"`, `token = "x"`, 1)))
	for _, f := range found {
		if f.Level != OK && f.Check != "shutdown" {
			t.Errorf("%+v", f)
		}
	}
}

package doctor

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
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
	s := Subject{File: file, Runner: file.Runners[0], Host: Host{Now: monday, RunnerVersion: "19.3.0"}, Rm: "rm --orphans"}
	data, err := json.Marshal(s.Runner.Autoscaler.PluginConfig)
	if err != nil {
		t.Fatal(err)
	}
	host := config.Host{Getenv: func(string) string { return "" }, ReadFile: func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist }}
	s.Config, s.Faults = config.Parse(data, host)
	s.Account, _ = config.ParseAccount(data, host)
	return s
}

// world is the simulator's, with answers of its own to paths that the simulator does not know.
type world struct {
	*dosim.Sim
	answers map[string]string // by path
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusOK, w.answers[r.URL.Path]
	if body == "" && strings.HasSuffix(r.URL.Path, "/subnets") {
		body = "404" // as on an account without the preview
	}
	if code, err := strconv.Atoi(body); err == nil {
		status, body = code, `{"id": "refused", "message": "no"}`
	}
	if body == "" {
		return w.Transport().RoundTrip(r)
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (w *world) client(t *testing.T) *digitalocean.Client {
	t.Helper()
	api, err := digitalocean.New(digitalocean.Options{URL: "https://api.digitalocean.com", Transport: w,
		Token: func() (string, error) { return dosim.DefaultToken, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// prepare makes true what a line of cases.txt says of the host or the account.
func (w *world) prepare(t *testing.T, h *Host, line string) {
	t.Helper()
	what, rest, _ := strings.Cut(line, " ")
	first, second, _ := strings.Cut(rest, " ")
	switch what {
	case "runner":
		h.RunnerVersion = strings.TrimPrefix(rest, "?")
	case "no-program":
		h.PluginFault = rest
	case "exposed":
		h.Exposed = true
	case "no-state":
		h.StateFault = errors.New(rest)
	case "held-by":
		h.Holder = rest
	case "address":
		h.Addresses = append(h.Addresses, netip.MustParseAddr(rest))
	case "fault":
		f, err := dosim.ParseFault(rest + " times forever")
		if err != nil {
			t.Fatal(err)
		}
		w.Inject(f)
	case "answer":
		w.answers[first] = second
	case "droplet":
		w.AddDroplet(dosim.Droplet{Name: first, Tags: []string{"fleeting", "fleeting-group:" + second}})
	case "custom-image":
		w.AddImage(dosim.Image{ID: 300000001, Name: "docker", Type: "custom", Status: "pending", Regions: []string{"fra1", "nyc3"}})
	case "droplet-limit":
		n, _ := strconv.Atoi(rest)
		w.SetDropletLimit(n)
	case "account":
		w.SetAccount(func(a *dosim.Account) { a.Status, a.StatusMessage, a.EmailVerified = first, second, false })
	default:
		t.Fatalf("unknown: %s", line)
	}
}

// brief is what scripts and operators rely on in findings: check, level, line or place, and hint.
func brief(findings []Finding) (lines []string) {
	for _, f := range findings {
		line := f.Check + " " + string(f.Level) + " " + strings.TrimPrefix(f.Where, "config.toml:")
		if f.Hint != "" {
			line += " | " + strings.ReplaceAll(f.Hint, "\n", " / ")
		} else if f.Level == Fault || f.Level == Warning {
			line += " | NO HINT"
		}
		lines = append(lines, line)
	}
	return lines
}

// live examines the sound group, changed as lines of cases.txt say, on an account of which nothing may change.
func live(t *testing.T, lines ...string) []Finding {
	t.Helper()
	sim := dosim.New(dosim.Options{})
	defer sim.Close()
	w := &world{sim, map[string]string{}}
	text, host := sound, Host{Now: monday, RunnerVersion: "19.3.0", Program: "/opt/it's here/plugin"}
	for _, change := range strings.Split(strings.ReplaceAll(strings.Join(lines, "\n"), "\n+ ", "\r"), "\n") {
		old, fresh, _ := strings.Cut(strings.ReplaceAll(change, "\r", "\n")+" ", " => ")
		fresh = strings.TrimSuffix(fresh, " ")
		prepared, is := strings.CutPrefix(change, "@")
		switch {
		case change == "":
		case is:
			w.prepare(t, &host, prepared)
		case old == "":
			text += fresh + "\n"
		case !strings.Contains(text, old):
			t.Fatalf("%q is not there", old)
		default:
			text = strings.Replace(text, old, fresh, 1)
		}
	}
	s := subject(t, text)
	s.Host, s.Shared = host, &Shared{}
	before := len(sim.Droplets()) + len(sim.Keys()) + len(sim.Tags())
	found := Examine(t.Context(), w.client(t), s)
	if after := len(sim.Droplets()) + len(sim.Keys()) + len(sim.Tags()); after != before || len(sim.Violations()) > 0 {
		t.Errorf("%d things on the account, then %d, and %v", before, after, sim.Violations())
	}
	for _, r := range sim.Requests() {
		if r.Method != http.MethodGet && r.Status < 400 && r.Status > 0 { // else it was not answered
			t.Errorf("%s %s was carried out", r.Method, r.Path)
		}
	}
	return found
}

// What is found of a sound group: with DigitalOcean, without, and without a config.toml.
func TestSound(t *testing.T) {
	offline := []string{
		"plugin-config ok 17",
		"restart note 16 | rotate the runner's token while no job runs",
		"restart note 15 | where the runner is stopped for good: delete_instances_on_shutdown = true",
		"host ok this host",
	}
	found := live(t)
	if diff := cmp.Diff(append(slices.Clone(offline), "token ok GET /v2/account", "scopes ok scopes", "catalog ok 21", "cost ok 28", "cost ok 11"),
		brief(found)); diff != "" {
		t.Errorf("expected (-) and found (+):\n%s", diff)
	}
	costs := []string{"idle Droplets: 1.6 on average, 41.59 USD a month: s-2vcpu-4gb at 0.03571 USD an hour; " +
		"DigitalOcean's price of one for a whole month is 24 USD", "at most: 0.7143 USD an hour: 10 x s-4vcpu-8gb"}
	for i, f := range found[len(found)-2:] {
		if f.What != costs[i] {
			t.Errorf("%s, expected %s", f.What, costs[i])
		}
	}
	if diff := cmp.Diff(append(offline, "cost ok 28"), brief(Examine(t.Context(), nil, subject(t, sound)))); diff != "" {
		t.Errorf("offline: expected (-) and found (+):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"host ok this host"}, brief(Examine(t.Context(), nil, Subject{Account: config.Account{Name: "ci"}}))); diff != "" {
		t.Errorf("by hand: expected (-) and found (+):\n%s", diff)
	}
	// What a rotation of the runner's token does is said once.
	for change, check := range map[string]string{"@runner ?": "version", "@runner 19.1.9": "version", "@runner 19.2.0": "restart",
		"state_storage = { enabled = true } =>": ""} {
		noted := ""
		for _, f := range live(t, change) {
			if strings.Contains(f.Hint+f.What, "rotation") {
				noted += f.Check
			}
		}
		if noted != check {
			t.Errorf("%s: %q", change, noted)
		}
	}
	// Idle Droplets are of the first size that is available, and no more than there may be.
	found = live(t, `["s-2vcpu-4gb", "s-4vcpu-8gb"] => ["m-2vcpu-16gb", "s-4vcpu-8gb"]`, "idle_count = 5 => idle_count = 50",
		"idle_count = 2 => idle_count = 50")
	if what := found[len(found)-2].What; !strings.HasPrefix(what, "idle Droplets: 10 on average, ") || !strings.Contains(what, ": s-4vcpu-8gb at ") {
		t.Error(what)
	}
}

// TestCases breaks one thing after the other, as testdata/cases.txt has it, and pins what is found beyond what is found without.
func TestCases(t *testing.T) {
	basis := live(t)
	text, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{"cost": true} // which has no complaints
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n")[1:] {
		lines := strings.Split(block, "\n")
		var want, changes []string
		for _, line := range lines[1:] {
			if finding, ok := strings.CutPrefix(line, "> "); ok {
				want = append(want, finding)
			} else {
				changes = append(changes, line)
			}
		}
		t.Run(lines[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				found := live(t, changes...)
				if took := time.Since(began); took > 2*liveBound {
					t.Errorf("it took %s", took)
				}
				var more []Finding
				for _, f := range found {
					known := slices.ContainsFunc(basis, func(b Finding) bool { return b.Check == f.Check && b.What == f.What })
					if f.Level != OK && !known {
						more = append(more, f)
						shown[f.Check] = true
					}
				}
				if diff := cmp.Diff(want, brief(more)); diff != "" {
					t.Errorf("expected (-) and found (+):\n%s", diff)
				}
			})
		})
	}
	for _, c := range checks {
		if !shown[c.name] {
			t.Errorf("nothing shows the check %s", c.name)
		}
	}
}

// The example that people copy has nothing worse than notes, and of those only what is a choice.
func TestExampleIsSound(t *testing.T) {
	text, err := os.ReadFile("../../examples/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	withToken := strings.Replace(string(text), `token_file = "/etc/gitlab-runner/digitalocean-token"`, `token = "x"`, 1)
	for _, f := range Examine(t.Context(), nil, subject(t, withToken)) {
		if f.Level != OK && f.Check != "restart" {
			t.Errorf("%+v", f)
		}
	}
}

// A minute's requests, 250, do for 20 runners on one token: what is of the token and of the catalog is asked for once. What
// one found is found by the others too.
func TestManyRunners(t *testing.T) {
	sim := dosim.New(dosim.Options{})
	defer sim.Close()
	sim.Inject(dosim.Fault{Op: "DELETE /v2/tags/{tag}", Status: http.StatusForbidden, Times: 1}) // asked again it would be there
	w := &world{Sim: sim}
	var shared Shared
	for i := range 20 {
		s := subject(t, sound)
		s.Shared = &shared
		found := Examine(t.Context(), w.client(t), s)
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Check == "scopes" && f.Level == Note }) {
			t.Errorf("runner %d: %q", i, brief(found))
		}
	}
	if n := len(sim.Requests()); n > 250 {
		t.Errorf("%d requests for 20 runners: %v", n, sim.RequestCounts())
	}
}

// A test Droplet has a group of its own, which no other group owns.
func TestBootGroup(t *testing.T) {
	for _, name := range []string{"ci", strings.Repeat("a", 39) + "-b", strings.Repeat("a", 45)} {
		got := config.BootGroup(NewBootName(name))
		if config.CheckName(got) != nil || got == config.BootGroup(NewBootName(name)) {
			t.Errorf("of %s it is %s (%v)", name, got, config.CheckName(got))
		}
		d := instancegroup.Droplet{Name: got + "-aaaa7k2m9a",
			Tags: []string{instancegroup.CommonTag, instancegroup.GroupTag(got), instancegroup.GroupTag(name)}}
		if instancegroup.Owns(name, d) {
			t.Errorf("%s owns %s", name, d.Name)
		}
	}
}

// What cloud-init reads has no fault, and what it does not has one that repeats no value.
func TestMisread(t *testing.T) {
	for _, data := range []string{
		"", "#cloud-config\nruncmd: [ufw allow ssh]\n", "#cloud-config\n", "#cloud-config\n---", "\n#Cloud-Config # mine\r\nruncmd:\r\n- x\r\n",
		"#cloud-config\nwrite_files:\n- path: x\n  content: |\n    a: b: c\n   #\n",
		"#cloud-config\nmounts: !x [a]\n1: {2: 3}\n<<: {b: 1}\n",
		// What cloud-init acts on otherwise is not looked into.
		"#!/bin/sh\n: [", "## template: jinja\n#cloud-config\na: {{ b }}", "#cloud-config-archive\n- a", "#cloud-config-jsonp\n[]", "#cloud-boothook\n",
		"#include\nhttps://x", "Content-Type: multipart/mixed", "MIME-Version: 1.0",
	} {
		if got := misread(data); got != "" {
			t.Errorf("%q: %s", data, got)
		}
	}
	for data, want := range map[string]string{
		"#cloud-config\na: [\n":                      "line 2",
		"#cloud-config\nruncmd:\n\t- x\n":            "line 3",
		"#cloud-config\nruncmd:\n- a: b: c\n":        "line 3",
		"#cloud-config\nruncmd: [x\npackages: [y]\n": "line",
		"#cloud-config\na: *hunter2\n":               "not known",
		"#cloud-config\na: {{ hunter2 }}\n":          "not known",
		"#cloud-config\n- ufw allow ssh\n":           "line 2",
		"#cloud-config\nhunter2\n":                   "line 2",
		"#cloud-config\na:\n  b: 1\n  c: 2\na: 3\n":  "line 5",
		"\n#!/bin/sh":      "begin",
		"runcmd: []":       "begin",
		"# cloud-config\n": "begin",
		"{}":               "begin",
		"#":                "begin",
	} {
		if got := misread(data); !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%q:\ngot  %s\nwant %s", data, got, want)
		}
	}
}

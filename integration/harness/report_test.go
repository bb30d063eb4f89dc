package harness

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Each fault fails one check, which names it.
func TestChecksFindEachFault(t *testing.T) {
	const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	type run struct {
		Report
		*account
		planned int
	}
	request := func(r *run, method, target, proto string) {
		q := httptest.NewRequest(method, target, nil)
		q.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
		q.Proto = proto
		r.sim.ServeHTTP(httptest.NewRecorder(), q)
	}
	for want, spoil := range map[string]func(*run){
		"": func(r *run) { r.sim.AddKey("fleeting-ci-static", publicKey); r.sim.AddTag("fleeting-group:ci") },
		"no job failed, or ran other than once, but found 1: job 2: dialing ci-1: refused": func(r *run) { r.Jobs[1].Error = "dialing ci-1: refused" },
		"no job failed, or ran other than once, but found 1: job 1 ran 2 times":            func(r *run) { r.Jobs[0].Runs = 2 },
		"no job failed, or ran other than once, but found 2: job 3 was never queued; job 4 was never queued": func(r *run) {
			r.planned = 4
		},
		"at most 2 Droplets at once, max_instances is 1": func(r *run) { r.Config.Autoscaler.MaxInstances = 1 },
		"no Droplet is left or billed, but found 6: a; b; c; d; e; and 1 more": func(r *run) {
			for _, name := range strings.Split("abcdef", "") {
				r.sim.AddDroplet(dosim.Droplet{Name: name})
			}
		},
		"no generated SSH key is left on the account, but found 1: fleeting-ci-x": func(r *run) { r.sim.AddKey("fleeting-ci-x", publicKey) },
		"no delete tag is left on the account, but found 1: fleeting-delete:x":    func(r *run) { r.sim.AddTag("fleeting-delete:x") },
		"no rule of the API was broken, but found 1: GET /x came by HTTP/2.0, which repeats requests by itself": func(r *run) {
			request(r, http.MethodGet, "/x", "HTTP/2.0")
			request(r, http.MethodGet, "/y", "HTTP/2.0")
		},
		`no rule of the API was broken, but found 1: 2000-01-01T00:00:00Z ` +
			`deleted by the tag "ci-golden", which does not begin with "fleeting-delete:"`: func(r *run) {
			request(r, http.MethodDelete, "/v2/droplets?tag_name=ci-golden", "HTTP/1.1")
		},
		"no Droplet is without an SSH server, but found 1: ci-1: refused": func(r *run) { r.unbooted = []string{"ci-1: refused"} },
	} {
		synctest.Test(t, func(t *testing.T) { // in the year 2000
			r := run{account: &account{sim: dosim.New(dosim.Options{})}, planned: 2}
			r.Jobs = []Job{{ID: 1, Runs: 1}, {ID: 2, Runs: 1}}
			r.Config = &Config{Autoscaler: runnerconfig.Autoscaler{MaxInstances: 2}}
			r.Droplets = []Droplet{{Created: 1, Gone: 3}, {Created: 2, Gone: 4}}
			spoil(&r)
			r.checkJobs(r.planned)
			r.account.check(&r.Report)
			if got := strings.Join(failed(&r.Report), "\n"); got != want || r.OK() != (want == "") {
				t.Errorf("failed checks:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func failed(r *Report) (texts []string) {
	for _, c := range r.Checks {
		if !c.OK {
			texts = append(texts, c.Text)
		}
	}
	return texts
}

func TestReport(t *testing.T) {
	for most, droplets := range map[int][]Droplet{
		0: nil,
		1: {{Created: 1, Gone: 2}, {Created: 2, Gone: 3}, {Created: 4, Gone: 5}}, // one makes room for the other
		2: {{Created: 1}, {Created: 9, Gone: 10}},
		3: {{Created: 1, Gone: 5}, {Created: 2, Gone: 4}, {Created: 3, Gone: 9}},
	} {
		if got := (&Report{Droplets: droplets}).MostDroplets(); got != most {
			t.Errorf("%v: %d at once, want %d", droplets, got, most)
		}
	}
	r := Report{Jobs: []Job{{Queued: 5}}} // never had a Droplet
	if got := r.Wait(0.5); got != 0 {
		t.Errorf("without jobs: %s", got)
	}
	for i := time.Duration(20); i >= 1; i-- { // waits of 1 to 20, out of order
		r.Jobs = append(r.Jobs, Job{Queued: 5, Started: 5 + i})
	}
	for share, want := range map[float64]time.Duration{0.01: 1, 0.5: 10, 0.95: 19, 1: 20} {
		if got := r.Wait(share); got != want {
			t.Errorf("Wait(%v) = %d, want %d", share, got, want)
		}
	}
}

// A job's and a Droplet's way through a run, as the samples show it.
func TestSamplesFollowDropletsAndJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		started := func(j *Job, now time.Duration) { j.Droplet, j.Started = "ci-a", now }
		ended := func(err string) func(*Job, time.Duration) {
			return func(j *Job, now time.Duration) { j.Finished, j.Error = now, err }
		}
		for i, step := range []struct {
			do   func()
			want Sample
		}{
			{func() { r.queued(1); r.queued(2) }, Sample{Queued: 2}},
			{func() { r.droplet("ci-a", creating); r.droplet("ci-b", creating) }, Sample{Queued: 2, Creating: 2}},
			{func() { r.droplet("ci-a", ready) }, Sample{Queued: 2, Creating: 1, Idle: 1}},
			{func() { r.job(1, started); r.job(2, started) }, Sample{Running: 2, Creating: 1, Busy: 1}},
			{func() { r.job(1, ended("")) }, Sample{Running: 1, Done: 1, Creating: 1, Busy: 1}}, // until the last has ended
			{func() { r.job(2, ended("exit status 1")) }, Sample{Done: 1, Failed: 1, Creating: 1, Idle: 1}},
			{func() {
				for _, name := range []string{"ci-a", "ci-b", "ci-unheard-of"} {
					r.droplet(name, deleting)
				}
			}, Sample{Done: 1, Failed: 1, Deleting: 2}},
			{func() { r.droplet("ci-b", ready) }, Sample{Done: 1, Failed: 1, Deleting: 2}}, // it does not come back
			{func() { r.droplet("ci-a", gone); r.droplet("ci-b", gone) }, Sample{Done: 1, Failed: 1}},
		} {
			step.do()
			step.want.At = time.Since(r.begin)
			if diff := cmp.Diff(step.want, r.sample(Sample{})); diff != "" {
				t.Errorf("step %d: -want +got:\n%s", i, diff)
			}
			if r.settled() != (step.want.Creating == 0 && r.droplets["ci-b"] != creating) {
				t.Errorf("step %d: settled %t", i, r.settled())
			}
			time.Sleep(time.Second)
		}
	})
}

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

func TestConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	load := func(text string) (*Config, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadConfig(path)
	}
	got, err := load(minimal)
	want := &Config{Jobs: 3, Autoscaler: runnerconfig.Autoscaler{ // the runner's defaults
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
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v; -want +got:\n%s", err, diff)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"concurrent = 4", "concurrent = 0", ": concurrent is 0"},
		{"[[runners.autoscaler.policy]]\n", "[[runners]]\n[runners.autoscaler]\n[[runners.autoscaler.policy]]\n", ": 2 [[runners]] have"},
		{minimal, "concurrent = 1\n[[runners]]\nexecutor = \"shell\"\n", ": 0 [[runners]] have"},
	} {
		if _, err := load(strings.Replace(minimal, tt.old, tt.new, 1)); err == nil || !strings.HasPrefix(err.Error(), path+tt.want) {
			t.Errorf("%s: got %v, want %q", tt.new, err, tt.want)
		}
	}
	if _, err := LoadConfig("none.toml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Only what leads to a real account is replaced, in any case.
func TestSimulated(t *testing.T) {
	there := t.TempDir()
	for want, config := range map[string]map[string]any{
		`{"api_url":"http://sim","name":"ci","token":"T","vpc_uuid":{"fra1":"u"}}`: {"name": "ci", "vpc_uuid": map[string]any{"fra1": "u"}},
		`{"api_url":"http://sim","token":"T"}`: {
			"API_URL": "https://api.digitalocean.com", "Token": "real", "Token_File": "/etc/token",
		},
		`{"api_url":"http://sim","ssh_key_file":"` + there + `","token":"T"}`:     {"ssh_key_file": there},
		`{"api_url":"http://sim","ssh_key_file":"/run/keys/ssh_key","token":"T"}`: {"ssh_key_file": there + "/none"},
	} {
		if got, err := simulated(config, "http://sim", "T", "/run/keys"); err != nil || string(got) != want {
			t.Errorf("%v: %s, %v", config, got, err)
		}
	}
}

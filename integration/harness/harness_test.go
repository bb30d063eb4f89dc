package harness

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	exampleConfig = "../../examples/config.toml"
	demoConfig    = "../../examples/demo/config.toml"
)

// quick is a plan that needs more Droplets than idle_count gives, and then
// watches for longer than the demo's idle_time: several times what a machine with
// nothing else to do needs to get to rest, since other packages' tests run beside it.
var quick = Plan{
	Settled: true,
	Bursts:  []Burst{{Pause: time.Second, Jobs: 12, MinWork: 300 * time.Millisecond, MaxWork: 600 * time.Millisecond}},
	Tail:    18 * time.Second,
}

// The demo's config with values changed: each run has to differ in just that respect.
func TestConfigDecidesTheRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                                             string
		edits                                            []string // old, new ...
		idleJobs, maxUseCount, maxInstances, perInstance int
	}{
		{"smaller", []string{"idle_count = 2", "idle_count = 1", "max_use_count = 4", "max_use_count = 2", "max_instances = 6", "max_instances = 4"}, 1, 2, 4, 1},
		{"denser", []string{"capacity_per_instance = 1", "capacity_per_instance = 2", "max_instances = 6", "max_instances = 3"}, 2, 4, 3, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, Options{Config: edited(t, tt.edits...), Plan: quick})
			allWell(t, r)
			kept(t, r, tt.idleJobs/tt.perInstance)
			if got := r.MostDroplets(); got != tt.maxInstances {
				t.Errorf("at most %d Droplets at once, want %d", got, tt.maxInstances)
			}
			for _, d := range r.Droplets {
				if d.Jobs > tt.maxUseCount {
					t.Errorf("%s had %d jobs, max_use_count is %d", d.Name, d.Jobs, tt.maxUseCount)
				}
			}
			if got := mostJobsAtOnceOnADroplet(r); got != tt.perInstance {
				t.Errorf("a Droplet ran at most %d jobs at once, capacity_per_instance is %d", got, tt.perInstance)
			}
		})
	}
}

// The example for a real account has real intervals, a key file and a token
// file; all that is simulated is the account.
func TestTheExampleForARealAccountRuns(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig(exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	allWell(t, run(t, Options{Config: c, Plan: Plan{
		Bursts: []Burst{{Jobs: 4, MinWork: 200 * time.Millisecond, MaxWork: 400 * time.Millisecond}},
	}}))
}

func TestARunThatIsCutShortLeavesNothing(t *testing.T) {
	t.Parallel()
	r := run(t, Options{
		Config:  edited(t),
		Plan:    Plan{Bursts: []Burst{{Jobs: 12, MinWork: time.Minute, MaxWork: time.Minute}}},
		Timeout: 5 * time.Second,
	})
	var failed []string
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c.Text)
		}
	}
	if len(failed) != 2 || !strings.Contains(failed[0], "12 of 12 jobs did not run exactly once") || failed[1] != "the run took longer than 5s: give it more time, or fewer jobs" {
		t.Errorf("failed checks: %q", failed)
	}
}

// run carries out one run of the real plugin and keeps its log for a failure.
func run(t *testing.T, o Options) *Report {
	t.Helper()
	o.Plugin, o.Host = plugin, host
	path := filepath.Join(t.ArtifactDir(), "run.log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	o.Log = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug})

	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatalf("%v\nlog:\n%s", err, tail(path))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", tail(path))
		}
	})
	return r
}

// tail is the end of a log, enough to see why a run failed.
func tail(path string) string {
	text, _ := os.ReadFile(path)
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-200):], "\n")
}

var (
	plugin string
	host   *Host
)

func TestMain(m *testing.M) { os.Exit(main(m)) }

func main(m *testing.M) int {
	// The runs wait most of their time, so they need not wait for each other:
	// without this only as many go on at once as there are processors.
	flag.Parse()
	err := flag.Set("test.parallel", "16")
	dir := ""
	if err == nil {
		dir, err = os.MkdirTemp("", "harness-test-")
		defer os.RemoveAll(dir)
	}
	if err == nil {
		plugin, err = BuildPlugin(context.Background(), dir)
	}
	if err == nil {
		host, err = NewHost(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// edited is the demo's config with values changed: old, new ...
func edited(t *testing.T, edits ...string) *Config {
	t.Helper()
	text, err := os.ReadFile(demoConfig)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(text), edits[i]) {
			t.Fatalf("%s has no %q", demoConfig, edits[i])
		}
	}
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func allWell(t *testing.T, r *Report) {
	t.Helper()
	for _, c := range r.Checks {
		if !c.OK {
			t.Error(c.Text)
		}
	}
}

// kept asserts that just n Droplets are there, idle, both before the first job
// and when the surplus of the burst has been idle for long enough.
func kept(t *testing.T, r *Report, n int) {
	t.Helper()
	for when, s := range map[string]Sample{"before the jobs": beforeJobs(r), "at the end": beforeTakeDown(r)} {
		if s.Idle != n || s.Droplets() != n {
			t.Errorf("%s: %d Droplets, %d of them idle, want %d", when, s.Droplets(), s.Idle, n)
		}
	}
}

func beforeJobs(r *Report) (last Sample) {
	for _, s := range r.Samples {
		if s.At < r.Jobs[0].Queued {
			last = s
		}
	}
	return last
}

// beforeTakeDown is the last sample of the tail.
func beforeTakeDown(r *Report) (last Sample) {
	var finished time.Duration
	for _, j := range r.Jobs {
		finished = max(finished, j.Finished)
	}
	for _, s := range r.Samples {
		if s.At < finished+quick.Tail {
			last = s
		}
	}
	return last
}

func mostJobsAtOnceOnADroplet(r *Report) int {
	most := 0
	for _, a := range r.Jobs {
		n := 0
		for _, b := range r.Jobs {
			if a.Droplet == b.Droplet && b.Started <= a.Started && a.Started < b.Finished {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

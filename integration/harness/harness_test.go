package harness

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	exampleConfig = "../../examples/config.toml"
	demoConfig    = "../../examples/demo/config.toml"
)

// quick is a plan that needs more Droplets than idle_count gives, and then
// watches for longer than the demo's idle_time. Its pauses are several times what
// a machine with nothing else to do needs to get to rest: every other package's
// tests may run beside it.
var quick = Plan{
	Seed:   1,
	Bursts: []Burst{{Pause: 10 * time.Second, Jobs: 12, MinWork: 300 * time.Millisecond, MaxWork: 600 * time.Millisecond}},
	Tail:   18 * time.Second,
}

// The demo's config as it stands and with one value changed: each run has to
// differ in just that respect.
func TestConfigDecidesTheRun(t *testing.T) {
	t.Parallel()
	const idleCount, maxUseCount, maxInstances = 2, 4, 6 // of the demo's config
	for _, tt := range []struct {
		name     string
		old, new string
		check    func(*testing.T, *Report)
	}{
		{
			name: "as it stands", old: "concurrent = 8", new: "concurrent = 8",
			check: func(t *testing.T, r *Report) {
				kept(t, r, idleCount)
				peak(t, r, maxInstances)
				if most := mostJobsOnADroplet(r); most > maxUseCount {
					t.Errorf("a Droplet had %d jobs, max_use_count is %d", most, maxUseCount)
				}
			},
		},
		{
			name: "idle_count", old: "idle_count = 2", new: "idle_count = 1",
			check: func(t *testing.T, r *Report) { kept(t, r, 1) },
		},
		{
			name: "idle_count 0", old: "idle_count = 2", new: "idle_count = 0",
			check: func(t *testing.T, r *Report) { kept(t, r, 0) },
		},
		{
			name: "idle_time", old: `idle_time = "6s"`, new: `idle_time = "10m"`,
			check: func(t *testing.T, r *Report) {
				// 12 jobs on 6 Droplets retire at most one of them for its use.
				if got := beforeTakeDown(r).Droplets(); got <= idleCount {
					t.Errorf("%d Droplets long before idle_time is over, want more than %d", got, idleCount)
				}
			},
		},
		{
			name: "max_use_count", old: "max_use_count = 4", new: "max_use_count = 1",
			check: func(t *testing.T, r *Report) {
				if most := mostJobsOnADroplet(r); most != 1 {
					t.Errorf("a Droplet had %d jobs, max_use_count is 1", most)
				}
				if got := len(r.Droplets); got < len(r.Jobs) {
					t.Errorf("%d Droplets for %d jobs", got, len(r.Jobs))
				}
				kept(t, r, idleCount)
			},
		},
		{
			name: "max_instances", old: "max_instances = 6", new: "max_instances = 3",
			check: func(t *testing.T, r *Report) { peak(t, r, 3) },
		},
		{
			name: "capacity_per_instance", old: "capacity_per_instance = 1", new: "capacity_per_instance = 2",
			check: func(t *testing.T, r *Report) {
				if got := beforeJobs(r).Idle; got != 1 { // idle_count counts jobs, and two of them fit on one Droplet
					t.Errorf("%d idle Droplets before the jobs, want 1", got)
				}
				if busiest := mostJobsAtOnceOnADroplet(r); busiest != 2 {
					t.Errorf("a Droplet ran at most %d jobs at once, capacity_per_instance is 2", busiest)
				}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, Options{Config: edited(t, tt.old, tt.new), Plan: quick})
			allWell(t, r)
			tt.check(t, r)
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
		Config:  edited(t, "", ""),
		Plan:    Plan{Bursts: []Burst{{Jobs: 12, MinWork: time.Minute, MaxWork: time.Minute}}},
		Timeout: 5 * time.Second,
	})
	var failed []string
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c.Text)
		}
	}
	if len(failed) != 2 || !strings.Contains(failed[0], "12 of 12 jobs did not run exactly once") || failed[1] != "the plan was not through after 5s: give it more time, or fewer jobs" {
		t.Errorf("failed checks: %q", failed)
	}
}

func TestAPluginThatRefusesItsConfigIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Options{
		Config: edited(t, `size = "s-2vcpu-4gb"`, `size = "s-2vcpu-4gbb"`),
		Plugin: plugin(t),
		Host:   host,
		Plan:   quick,
	})
	if err == nil || !strings.Contains(err.Error(), "s-2vcpu-4gbb") {
		t.Errorf("got %v, want an error that names the size", err)
	}
}

// run carries out one run of the real plugin and keeps its log for a failure.
func run(t *testing.T, o Options) *Report {
	t.Helper()
	o.Plugin, o.Host = plugin(t), host
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

// plugin builds the binary, once for all tests.
func plugin(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	buildDir string
	host     *Host // once the plugin is built: the modules it is made of may have to be fetched
)

var buildOnce = sync.OnceValues(func() (path string, err error) {
	if path, err = BuildPlugin(context.Background(), buildDir); err == nil {
		host, err = NewHost(buildDir)
	}
	return path, err
})

func TestMain(m *testing.M) { os.Exit(main(m)) }

func main(m *testing.M) int {
	// The runs wait most of their time, so they need not wait for each other:
	// without this only as many go on at once as there are processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}

	var err error
	if buildDir, err = os.MkdirTemp("", "harness-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(buildDir)
	return m.Run()
}

// edited is the demo's config with one value changed.
func edited(t *testing.T, old, new string) *Config {
	t.Helper()
	text, err := os.ReadFile(demoConfig)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", demoConfig, old)
	}
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
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

// peak asserts that the queue drove the group to its limit.
func peak(t *testing.T, r *Report, n int) {
	t.Helper()
	if got := r.MostDroplets(); got != n {
		t.Errorf("at most %d Droplets at once, want %d", got, n)
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

func mostJobsOnADroplet(r *Report) int {
	most := 0
	for _, d := range r.Droplets {
		most = max(most, d.Jobs)
	}
	return most
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

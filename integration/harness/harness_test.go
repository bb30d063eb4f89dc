package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/txtar"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
)

var (
	plugin string
	host   *Host
)

func TestMain(m *testing.M) { os.Exit(main(m)) }

func main(m *testing.M) int {
	// The runs wait most of their time, so they need not wait for each other: without this only as many go on at once as
	// there are processors.
	flag.Parse()
	dir, err := os.MkdirTemp("", "harness-test-")
	defer os.RemoveAll(dir)
	if err = errors.Join(err, flag.Set("test.parallel", "16")); err == nil {
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

// quick is a plan that needs more Droplets than idle_count gives, and then watches for longer than the demo's idle_time:
// several times what a machine with nothing else to do needs to get to rest, since other packages' tests run beside it.
var quick = Plan{
	Settled: true,
	Bursts:  []Burst{{time.Second, 12}},
	MinWork: 300 * time.Millisecond, MaxWork: 600 * time.Millisecond,
	Tail: 18 * time.Second,
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
			r := run(t, demo(t, tt.edits...), quick)
			allWell(t, r)
			kept(t, r, tt.idleJobs/tt.perInstance)
			uses, most := map[string]int{}, 0
			for _, a := range r.Jobs {
				uses[a.Droplet]++
				now := 0
				for _, b := range r.Jobs {
					if a.Droplet == b.Droplet && b.Started <= a.Started && a.Started < b.Finished {
						now++
					}
				}
				most = max(most, now)
			}
			for name, n := range uses {
				if n > tt.maxUseCount {
					t.Errorf("%s had %d jobs, max_use_count is %d", name, n, tt.maxUseCount)
				}
			}
			if r.MostDroplets() != tt.maxInstances || most != tt.perInstance {
				t.Errorf("at most %d Droplets with %d jobs each, want %d with %d", r.MostDroplets(), most, tt.maxInstances, tt.perInstance)
			}
		})
	}
}

// The example for a real account has real intervals, a key file and a token file; all that is simulated is the account.
func TestTheExampleForARealAccountRuns(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig("../../examples/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	allWell(t, run(t, c, Plan{Bursts: []Burst{{0, 4}}, MinWork: 200 * time.Millisecond, MaxWork: 400 * time.Millisecond}))
}

func TestARunThatIsCutShortLeavesNothing(t *testing.T) {
	t.Parallel()
	long := Plan{Bursts: []Burst{{0, 12}}, MinWork: time.Minute, MaxWork: time.Minute}
	got := failed(runWith(t, Options{Config: demo(t), Plan: long, Timeout: 5 * time.Second}))
	if len(got) != 2 || !strings.Contains(got[0], "but found 12: job 1: ") || !strings.HasPrefix(got[1], "the run took longer than 5s: ") {
		t.Errorf("failed checks: %q", got)
	}
}

// What migrate makes of a docker+machine runner, that of the tutorial of 2018, runs: the real plugin, the runner's own
// autoscaler, Droplets that boot. It keeps IdleCount of them, and those beyond it for IdleTime seconds.
func TestAMigratedConfigRuns(t *testing.T) {
	t.Parallel()
	const idleCount, idleTime, limit = 2, 5 * time.Second, 6
	a, err := txtar.ParseFile("../../provider/migrate/testdata/tutorial-2018.txtar")
	if err != nil {
		t.Fatal(err)
	}
	old := edit(t, string(a.Files[0].Data), "limit = 10", "limit = 6", "IdleCount = 1", "IdleCount = 2", "IdleTime = 600", "IdleTime = 5")
	m := migrate.Migrate("config.toml", old, migrate.Options{
		TokenFile: "/etc/gitlab-runner/digitalocean-token",
		StateDir:  "/var/lib/gitlab-runner",
		Host:      config.Host{Getenv: func(string) string { return "" }, ReadFile: config.ThisHost().ReadFile},
	})
	if m.Has(migrate.Error) || !m.Changed {
		t.Fatalf("%+v", m.Notes)
	}
	// Shortened, as in the demo's config: what takes half a minute otherwise.
	c := load(t, edit(t, m.Text, `update_interval = "30s"`, `update_interval = "1s"`,
		`update_interval_when_expecting = "2s"`, `update_interval_when_expecting = "1s"`))
	// More jobs at once than idle_count, more than once: the runner takes a job only when a Droplet is idle, as
	// docker+machine did, and so grows a step at a time.
	plan := quick
	plan.Bursts, plan.MinWork, plan.MaxWork = []Burst{{time.Second, 8}}, 2*time.Second, 3*time.Second
	r := run(t, c, plan)
	allWell(t, r)
	kept(t, r, idleCount)
	if most := r.MostDroplets(); most <= idleCount || most > limit {
		t.Errorf("at most %d Droplets at once, want more than idle_count %d and no more than limit %d", most, idleCount, limit)
	}
	var surplusGone time.Duration
	for _, s := range r.Samples {
		if s.Droplets() > idleCount && s.At < lastJob(r)+quick.Tail {
			surplusGone = s.At
		}
	}
	// The last of them had its job up to 3 s before the last job. Removal is looked at every second, and takes the account
	// another; and what else runs on this machine takes its time.
	if stayed := surplusGone - lastJob(r); stayed < idleTime-3*time.Second || stayed > idleTime+12*time.Second {
		t.Errorf("the surplus of Droplets stayed for %s after the last job, IdleTime is %s", stayed.Round(100*time.Millisecond), idleTime)
	}
}

// What docker-autoscaler does: jobs in containers of the Droplet's Docker, two at once on a Droplet, with output, exit
// status and a volume that outlives them; and a Droplet that dies under a container.
func TestJobsInContainers(t *testing.T) {
	t.Parallel()
	d, err := guest.FindDocker(t.Context(), "")
	if err != nil {
		t.Skip(err)
	}
	r, account := dockerRunner(t, d)
	start := func(id int, script, output string) (end <-chan error) {
		j, ended := job{id: id, script: script, output: output}, make(chan error, 1)
		r.rec.queued(id)
		go func() { ended <- errors.Join(r.reserve(t.Context(), j), r.run(t.Context(), j)) }()
		return ended
	}
	succeed := func(end <-chan error) {
		t.Helper()
		if err := <-end; err != nil {
			t.Fatal(err)
		}
	}
	droplet := func(id int) (name string) {
		r.rec.job(id, func(j *Job, _ time.Duration) { name = j.Droplet })
		return name
	}

	// Each of two jobs waits for the other; the third finds what they left in the volume.
	first := start(1, "touch /cache/a\nawait /cache/b\necho first\n", "first\n")
	second := start(2, "touch /cache/b\nawait /cache/a\ncomplain second\n", "second\n")
	succeed(first)
	succeed(second)
	succeed(start(3, "ls /cache\n", "a\nb\n"))

	err = <-start(4, "exit 3\n", "")
	if status, ok := errors.AsType[docker.ExitStatus](err); !ok || status != 3 {
		t.Errorf("a script that exits with 3 is heard of as: %v", err)
	}

	lost := start(5, "touch /cache/working\nawait /cache/never\n", "")
	succeed(start(6, "await /cache/working\n", ""))
	if droplet(1) != droplet(2) || droplet(5) != droplet(6) {
		t.Error("capacity_per_instance is 2, and two jobs ran on two Droplets")
	}
	for _, d := range account.sim.Droplets() {
		if d.Name == droplet(5) {
			account.sim.Destroy(d.ID)
		}
	}
	err = <-lost
	if _, ok := errors.AsType[docker.ExitStatus](err); ok || err == nil || !strings.Contains(err.Error(), "instance externally removed") {
		t.Errorf("a Droplet that died under a job is heard of as: %v", err)
	}
	succeed(start(7, "echo elsewhere\n", "elsewhere\n"))
	if droplet(7) == droplet(5) {
		t.Errorf("a job ran on the dead Droplet %s", droplet(7))
	}

	runs, err := r.jobs.engine.Runs(t.Context())
	want := map[string]int{"job-001": 1, "job-002": 1, "job-003": 1, "job-004": 1, "job-005": 1, "job-006": 1, "job-007": 1}
	if diff := cmp.Diff(want, runs); diff != "" || err != nil {
		t.Errorf("containers (-want +got; %v):\n%s", err, diff)
	}
}

// dockerRunner makes what jobs in containers need. What is left of it fails the test.
func dockerRunner(t *testing.T, d *guest.Docker) (*runner, *account) {
	t.Helper()
	engine, err := docker.Open(t.Context(), d.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
		for _, list := range [][]string{
			{"ps", "-aq", "--filter", "label=" + engine.Name()},
			{"images", "-q", engine.Name()},
			{"volume", "ls", "-q", "--filter", "name=" + engine.Name()},
		} {
			if left, err := exec.Command("docker", append([]string{"-H", d.Host}, list...)...).Output(); len(left) > 0 || err != nil {
				t.Errorf("docker %s: %s (%v)", list[0], left, err)
			}
		}
	})
	c := demo(t, "capacity_per_instance = 1", "capacity_per_instance = 2", "max_use_count = 4", "max_use_count = 100",
		"idle_count = 2", "idle_count = 0", `idle_time = "6s"`, `idle_time = "10m"`)
	c.Autoscaler.DeleteInstancesOnShutdown = true
	rec := newRecorder()
	a, err := openAccount(host, c.Autoscaler.Connector, d, rec, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	config, err := simulated(c.Autoscaler.PluginConfig, a.url, dosim.DefaultToken, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := a.dial(ctx, network, address)
		return &mute{Conn: conn, closed: make(chan struct{})}, err
	}
	r := &runner{config: c, dial: dial, rec: rec, jobs: workplace{engine: engine}}
	if err := r.start(t.Context(), plugin, config, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.takeDown(context.Background(), a); err != nil {
			t.Error(err)
		}
		var report Report
		a.check(&report)
		allWell(t, &report)
	})
	return r, a
}

// mute is a connection to a Droplet that vanishes without a word, as a destroyed one does: it is the plugin's list by which
// the runner learns of it.
type mute struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *mute) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if err != nil {
		<-m.closed
	}
	return n, err
}

func (m *mute) Close() error {
	m.once.Do(func() { close(m.closed) })
	return m.Conn.Close()
}

func run(t *testing.T, c *Config, p Plan) *Report {
	t.Helper()
	return runWith(t, Options{Config: c, Plan: p, Timeout: 90 * time.Second})
}

// runWith carries out one run of the real plugin and keeps its log for a failure.
func runWith(t *testing.T, o Options) *Report {
	t.Helper()
	path := filepath.Join(t.ArtifactDir(), "run.log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(path)
			lines := strings.Split(string(text), "\n")
			t.Logf("log:\n%s", strings.Join(lines[max(0, len(lines)-200):], "\n"))
		}
	})
	o.Plugin, o.Host, o.Log = plugin, host, hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug})
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// demo is the demo's config with values changed: old, new ...
func demo(t *testing.T, edits ...string) *Config {
	t.Helper()
	text, err := os.ReadFile("../../examples/demo/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	return load(t, edit(t, string(text), edits...))
}

func edit(t *testing.T, text string, edits ...string) string {
	t.Helper()
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("there is no %q", edits[i])
		}
	}
	return strings.NewReplacer(edits...).Replace(text)
}

func load(t *testing.T, text string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
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
	for _, text := range failed(r) {
		t.Error(text)
	}
}

func lastJob(r *Report) (ended time.Duration) {
	for _, j := range r.Jobs {
		ended = max(ended, j.Finished)
	}
	return ended
}

// kept asserts that just n Droplets are there, idle, both before the first job and, by the end of the tail, when the
// surplus of the burst has been idle for long enough.
func kept(t *testing.T, r *Report, n int) {
	t.Helper()
	for when, moment := range map[string]time.Duration{"before the jobs": r.Jobs[0].Queued, "at the end": lastJob(r) + quick.Tail} {
		var last Sample
		for _, s := range r.Samples {
			if s.At < moment {
				last = s
			}
		}
		if last.Idle != n || last.Droplets() != n {
			t.Errorf("%s: %d Droplets, %d of them idle, want %d", when, last.Droplets(), last.Idle, n)
		}
	}
}

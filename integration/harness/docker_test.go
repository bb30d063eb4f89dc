package harness

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/taskscaler"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// What docker-autoscaler does: jobs in containers of the Droplet's Docker, two at once on
// a Droplet, with output, exit status and a volume that outlives them; and a Droplet that
// dies under a container.
func TestJobsInContainers(t *testing.T) {
	t.Parallel()
	host, err := guest.FindDocker(t.Context(), "")
	if err != nil {
		t.Skip(err)
	}
	r, account := dockerRunner(t, host)
	start := func(id int, script, output string) (end <-chan error) {
		j, ended := job{id: id, script: script, output: output}, make(chan error, 1)
		r.rec.jobQueued(j)
		go func() {
			for r.scaler.Reserve(j.key()) != nil && pause(t.Context(), reserveInterval) == nil {
			}
			err := r.run(t.Context(), j)
			r.rec.jobFinished(j, err)
			ended <- err
		}()
		return ended
	}
	succeed := func(end <-chan error) {
		t.Helper()
		if err := <-end; err != nil {
			t.Fatal(err)
		}
	}
	droplet := func(id int) string { return r.rec.results()[id-1].Droplet }

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
		t.Errorf("capacity_per_instance is 2, and the jobs ran on: %v", r.rec.results())
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

	c := edited(t, "capacity_per_instance = 1", "capacity_per_instance = 2", "max_use_count = 4", "max_use_count = 100",
		"idle_count = 2", "idle_count = 0", `idle_time = "6s"`, `idle_time = "10m"`)
	rec := newRecorder()
	a, err := openAccount(host, c.Autoscaler.Connector, d, rec, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	config, err := pluginConfig(c.Autoscaler.PluginConfig, simulated{a.url, dosim.DefaultToken, t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := a.dial(ctx, network, address)
		return &mute{Conn: conn, closed: make(chan struct{})}, err
	}
	r, err := startRunner(t.Context(), plugin, c, config, dial, rec, hclog.NewNullLogger(), taskscaler.WithDeleteInstancesOnShutdown())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		faults := takeDown(context.Background(), r, a)
		findings, more := a.findings()
		report := new(Report)
		report.addChecks(0, findings, append(faults, more...))
		allWell(t, report)
	})
	r.jobs.engine = engine
	return r, a
}

// mute is a connection to a Droplet that vanishes without a word, as a destroyed one does:
// it is the plugin's list by which the runner learns of it.
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

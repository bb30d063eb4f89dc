//go:build unix

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
)

// A word that the plugin does not know must not start a server that waits for a
// runner which never comes.
func TestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"frobnicate"}, 2, "", "error: unknown command \"frobnicate\"\nhint: fleeting-plugin-digitalocean help\n"},
		{[]string{"help"}, 0, "Usage:", ""},
		{[]string{"--help"}, 0, "Usage:", ""},
		{[]string{"version"}, 0, "Name:         fleeting-plugin-digitalocean\n", ""},
		{[]string{"-version"}, 0, "Name:         fleeting-plugin-digitalocean\n", ""},
		{[]string{}, 1, "This binary is a plugin", ""},
		{[]string{"serve"}, 1, "This binary is a plugin", ""},
		{[]string{"bootstrap"}, 1, "bootstrap requires plugin repository path", ""},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var stdout, stderr strings.Builder
			cmd := exec.CommandContext(t.Context(), binary, c.args...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			// go-plugin writes its words for people to either.
			if c.stdout != "" && !strings.Contains(stdout.String()+stderr.String(), c.stdout) {
				t.Errorf("it prints %q, want %q", stdout.String()+stderr.String(), c.stdout)
			}
			if c.stderr != "" && stderr.String() != c.stderr {
				t.Errorf("stderr %q, want %q", stderr.String(), c.stderr)
			}
		})
	}
}

// systemd signals the whole control group when the runner stops. The plugin must
// live on, or nobody would be there for Shutdown.
func TestSignalsAreLeftToTheRunner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	r := startRunner(t, w, "signals")
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGINT} {
		if err := syscall.Kill(r.plugin, s); err != nil {
			t.Fatal(err)
		}
	}
	r.provisioner.Request(2)
	eventually(t, 20*time.Second, func() error { return r.running(2) })
	for _, i := range r.provisioner.Instances() {
		i.Delete()
	}
	r.provisioner.Shutdown(t.Context())
	r.Kill()
	w.assertNothingLeft(t)
	eventually(t, 5*time.Second, func() error { return gone(r.plugin) })
}

// A runner that is killed leaves its plugin behind. The plugin notices, takes its
// key off the account and goes; the next start finds the Droplets again.
func TestParentDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)

	cmd := exec.CommandContext(t.Context(), os.Args[0])
	config, err := json.Marshal(w.config(map[string]any{"name": "orphan"}))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), runnerEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "running\n" {
		t.Fatalf("the runner says %q, %v", line, err)
	}
	plugin := pidOf(t, "orphan")
	if n := len(w.sim.Droplets()); n != 2 {
		t.Fatalf("%d Droplets, want 2", n)
	}
	begin := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	eventually(t, 10*time.Second, func() error { return gone(plugin) })
	t.Logf("the plugin was gone %s after its runner", time.Since(begin).Round(100*time.Millisecond))
	if keys := w.sim.Keys(); len(keys) > 0 {
		t.Errorf("keys are left: %v", keys)
	}

	r := startRunner(t, w, "orphan")
	if err := r.running(2); err != nil {
		t.Errorf("the next start: %v", err)
	}
	for _, i := range r.provisioner.Instances() {
		if i.Cause() != fleeting.CausePreexisted {
			t.Errorf("%s is %s", i.ID(), i.Cause())
		}
		i.Delete()
	}
	r.provisioner.Shutdown(t.Context())
	r.Kill()
	w.assertNothingLeft(t)
}

// Two [[runners]] sections with one group name on one host would delete each
// other's Droplets. The second fails, and says who has the group.
func TestSecondManagerOnOneHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	first := startRunner(t, w, "twice")
	begin := time.Now()
	_, err := initRunner(t.Context(), w.config(map[string]any{"name": "twice"}))
	want := fmt.Sprintf(`group "twice" is managed by another plugin process on this host, pid %d`, first.plugin)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the second says %v, want %s", err, want)
	}
	if waited := time.Since(begin); waited < 11*time.Second || waited > 15*time.Second {
		t.Errorf("it waited %s for an orphan to go, want 12s", waited)
	}
	first.provisioner.Shutdown(t.Context())
	first.Kill()
	w.assertNothingLeft(t)
}

// runner is the part of GitLab Runner that drives the plugin.
type runner struct {
	*fleeting.Runner
	provisioner *fleeting.Provisioner
	plugin      int // process id
}

func startRunner(t *testing.T, w *world, group string) *runner {
	t.Helper()
	r, err := initRunner(t.Context(), w.config(map[string]any{"name": group}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	r.plugin = pidOf(t, group)
	return r
}

func initRunner(ctx context.Context, config map[string]any) (*runner, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	r := &runner{}
	if r.Runner, err = fleeting.RunPlugin(binary, data, fleeting.WithPluginLogger(log)); err != nil {
		return nil, err
	}
	r.provisioner, err = fleeting.Init(ctx, log, r.InstanceGroup(),
		fleeting.WithInstanceGroupSettings(provider.Settings{}),
		fleeting.WithUpdateIntervalWhenExpecting(200*time.Millisecond),
		fleeting.WithShutdownDeletionInterval(200*time.Millisecond))
	if err != nil {
		r.Kill()
		return nil, err
	}
	return r, nil
}

// running is nil once n instances run.
func (r *runner) running(n int) error {
	if c := r.provisioner.Capacity(); c.Running != n {
		return fmt.Errorf("%d instances run, want %d: %+v", c.Running, n, c)
	}
	return nil
}

// runnerEnv makes this test binary a runner process: it holds plugin_config.
const runnerEnv = "TEST_BE_A_RUNNER_WITH"

// beRunner scales to 2, says so, and waits to be killed.
func beRunner() {
	var config map[string]any
	err := json.Unmarshal([]byte(os.Getenv(runnerEnv)), &config)
	if err == nil {
		binary = filepath.Join(os.Getenv("XDG_CACHE_HOME"), "bin", "fleeting-plugin-digitalocean")
		var r *runner
		if r, err = initRunner(context.Background(), config); err == nil {
			r.provisioner.Request(2)
			for r.running(2) != nil {
				time.Sleep(50 * time.Millisecond)
			}
			fmt.Println("running")
			select {}
		}
	}
	fmt.Println(err)
}

// pidOf returns the process that holds a group's lock.
func pidOf(t *testing.T, group string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "fleeting-plugin-digitalocean", group+"-????????.pid"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the lock of group %s: %v %v", group, files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(content))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone is nil once there is no such process, or only its exit status is left
// because nobody has asked for that (in a container whose pid 1 reaps nothing).
func gone(pid int) error {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
		return nil
	}
	return fmt.Errorf("process %d is alive", pid)
}

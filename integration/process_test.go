//go:build unix

package integration

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	hplugin "github.com/hashicorp/go-plugin"
	"gitlab.com/gitlab-org/fleeting/fleeting"
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
		{[]string{"frobnicate"}, 2, "", "error: unknown command \"frobnicate\"\nhint: fleeting-plugin-digitalocean --help\n"},
		{[]string{"help"}, 0, "Usage:", ""},
		{[]string{"--help"}, 0, "Usage:", ""},
		{[]string{"version"}, 0, "Name:         fleeting-plugin-digitalocean\n", ""},
		{[]string{"--version"}, 0, "Name:         fleeting-plugin-digitalocean\n", ""},
		{[]string{}, 0, "Usage:", ""},
		{[]string{"serve"}, 2, "serve is for GitLab Runner", ""},
		{[]string{"serve", "--help"}, 0, "Usage:", ""},
		{[]string{"bootstrap"}, 2, "bootstrap takes one argument, the plugin's repository", ""},
		{[]string{"bootstrap", "--help"}, 0, "Usage:", ""},
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

// Whatever is no runner, and starts the plugin all the same, is told so at once
// instead of being kept waiting.
func TestOnlyARunnerIsServed(t *testing.T) {
	t.Parallel()
	client := hplugin.NewClient(&hplugin.ClientConfig{
		HandshakeConfig:  hplugin.HandshakeConfig{MagicCookieKey: "SOME_OTHER_PROGRAM", MagicCookieValue: "1"},
		VersionedPlugins: map[int]hplugin.PluginSet{0: {}},
		Cmd:              exec.CommandContext(t.Context(), binary),
		AllowedProtocols: []hplugin.Protocol{hplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	defer client.Kill()
	begin := time.Now()
	if _, err := client.Client(); err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("after %s it says %v", time.Since(begin), err)
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

// runnerProcess starts a runner as a process of its own, at the head of a process
// group, and waits until its two instances run.
func runnerProcess(t *testing.T, w *world, plugin, group string, env ...string) (cmd *exec.Cmd, out *bufio.Reader, tmp string) {
	t.Helper()
	tmp, err := os.MkdirTemp("", "runner") // short: the path of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "TMPDIR="+tmp, pluginEnv+"="+plugin,
		runnerEnv+"="+string(mustJSON(t, w.config(map[string]any{"name": group}))))...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out = bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); err != nil || line != "running\n" {
		t.Fatalf("the runner says %q, %v", line, err)
	}
	if n := len(w.sim.Droplets()); n != 2 {
		t.Fatalf("%d Droplets, want 2", n)
	}
	return cmd, out, tmp
}

// A runner that is killed, or dies of a signal to its whole process group, leaves
// its plugin behind. The plugin notices, takes its key off the account and goes;
// the next start finds the Droplets again.
func TestParentDies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		signal  syscall.Signal
		group   bool
		wrapped bool
	}{
		{name: "kill", signal: syscall.SIGKILL},
		{name: "kill-wrapped", signal: syscall.SIGKILL, wrapped: true},
		{name: "term-group", signal: syscall.SIGTERM, group: true},
		{name: "quit-group", signal: syscall.SIGQUIT, group: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			program := binary
			if c.wrapped {
				program = wrapPlugin(t)
			}
			cmd, _, tmp := runnerProcess(t, w, program, c.name)
			plugin := pidOf(t, c.name)
			begin := time.Now()
			target := cmd.Process.Pid
			if c.group {
				target = -target
			}
			if err := syscall.Kill(target, c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed
			eventually(t, 10*time.Second, func() error { return gone(plugin) })
			t.Logf("the plugin was gone %s after its runner", time.Since(begin).Round(100*time.Millisecond))
			if keys := w.sim.Keys(); len(keys) > 0 {
				t.Errorf("keys are left: %v", keys)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("temporary files are left: %v %v", left, err)
			}

			r := startRunner(t, w, c.name)
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
		})
	}
}

// wrapPlugin returns a script that starts the plugin without exec, so that the parent
// of the plugin is a shell which outlives the runner.
func wrapPlugin(t *testing.T) (script string) {
	t.Helper()
	script = filepath.Join(t.TempDir(), "fleeting-plugin-digitalocean")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\n'%s' \"$@\"\ntrue\n", binary), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// systemd's KillMode=control-group signals the runner and its plugin together. A
// runner that then stops in good order still has a plugin to stop with.
func TestSignalToTheGroup(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]syscall.Signal{"stop-term": syscall.SIGTERM, "stop-quit": syscall.SIGQUIT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			cmd, out, tmp := runnerProcess(t, w, binary, name, stopsEnv+"=1")
			plugin := pidOf(t, name)
			if err := syscall.Kill(-cmd.Process.Pid, s); err != nil {
				t.Fatal(err)
			}
			if line, err := out.ReadString('\n'); err != nil || line != "stopped\n" {
				t.Errorf("the runner says %q, %v", line, err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			eventually(t, 10*time.Second, func() error { return gone(plugin) })
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("temporary files are left: %v %v", left, err)
			}
			// Shutdown was called: the key is gone, and the Droplets are as they were.
			if keys, n := w.sim.Keys(), len(w.sim.Droplets()); len(keys) > 0 || n != 2 {
				t.Errorf("%d Droplets, keys %v; want the two and none", n, keys)
			}
		})
	}
}

// Two [[runners]] sections with one group name on one host would delete each
// other's Droplets. The second is refused at once, and told who has the group.
func TestSecondManagerOnOneHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	first := startRunner(t, w, "twice")
	begin := time.Now()
	_, err := initRunner(t.Context(), w.config(map[string]any{"name": "twice"}))
	want := fmt.Sprintf(`group "twice" is managed by another plugin process of this runner, pid %d: two [[runners]] sections have one plugin_config.name`, first.plugin)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the second says %v, want %s", err, want)
	}
	if waited := time.Since(begin); waited > 5*time.Second {
		t.Errorf("it took %s, in which no other runner of the process could start", waited)
	}
	first.provisioner.Shutdown(t.Context())
	first.Kill()
	w.assertNothingLeft(t)
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

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
			target := cmd.Process.Pid
			if c.group {
				target = -target
			}
			if err := syscall.Kill(target, c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed
			assertGone(t, plugin, tmp)
			if keys := w.sim.Keys(); len(keys) > 0 {
				t.Errorf("keys are left: %v", keys)
			}
			takeOver(t, w, startRunner(t, w, c.name), 2)
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

// systemd's KillMode=control-group signals the runner and its plugin together. The plugin
// lives on, whatever the signal, so that a runner that stops in good order has one to stop with.
func TestSignalToTheGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	cmd, out, tmp := runnerProcess(t, w, binary, "stopped", stopsEnv+"=1")
	plugin := pidOf(t, "stopped")
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
		if err := syscall.Kill(plugin, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); err != nil || line != "stopped\n" {
		t.Errorf("the runner says %q, %v", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	assertGone(t, plugin, tmp)
	// Shutdown was called: the key is gone, and the Droplets are as they were, for the next start.
	if keys, n := w.sim.Keys(), len(w.sim.Droplets()); len(keys) > 0 || n != 2 {
		t.Errorf("%d Droplets, keys %v; want the two and none", n, keys)
	}
	takeOver(t, w, startRunner(t, w, "stopped"), 2)
	w.assertNothingLeft(t)
}

// takeOver has a manager take over the n Droplets that another has left, and destroy them.
func takeOver(t *testing.T, w *world, r *runner, n int) {
	t.Helper()
	if err := r.running(n); err != nil {
		t.Errorf("taken over: %v", err)
	}
	for _, i := range r.provisioner.Instances() {
		if i.Cause() != fleeting.CausePreexisted {
			t.Errorf("%s is %s", i.ID(), i.Cause())
		}
		i.Delete()
	}
	r.provisioner.Shutdown(t.Context())
	r.Kill()
	if bills := w.sim.Ledger(); len(bills) != n {
		t.Errorf("%d Droplets were made, want %d", len(bills), n)
	}
	w.awaitEmpty(t)
}

// assertGone waits for the end of a plugin, which leaves no file of its own in tmp.
func assertGone(t *testing.T, plugin int, tmp string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error { return gone(plugin) })
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
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

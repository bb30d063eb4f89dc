//go:build unix

package parent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestMain makes this binary also what it tests: a runner, and the plugin that it starts.
func TestMain(m *testing.M) {
	switch os.Getenv("PARENT_ROLE") {
	case "runner":
		runner(os.Getenv("PARENT_COMMAND"))
	case "plugin":
		os.Stdout = nil // as go-plugin does, whose own file the collector may then close
		runtime.GC()
		runtime.GC()
		fmt.Fprintln(stdout, "serving")
		Gone()
	default:
		os.Exit(m.Run())
	}
}

// runner starts a command that runs the plugin, as go-plugin does, and says that it serves.
func runner(command string) {
	exe, _ := os.Executable()
	cmd := exec.Command("sh", "-c", command, exe)
	cmd.Env = append(os.Environ(), "PARENT_ROLE=plugin")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(os.Stdout, out)
}

// TestRunnerKilled: the plugin ends soon after its runner, whatever is between them, and
// not before it.
func TestRunnerKilled(t *testing.T) {
	commands := map[string]string{
		"direct":           `exec "$0"`,
		"wrapped":          `"$0"; true`,
		"no shell":         `exec find . -prune -exec "$0" \;`,
		"redirected":       `"$0" < /dev/null 2> /dev/null; true`,
		"another reads it": `mkfifo "$FIFO"; cat "$FIFO" & exec "$0" > "$FIFO"`,
	}
	runners := map[string]*exec.Cmd{}
	plugins := map[string]*os.File{}
	for name, command := range commands {
		runners[name], plugins[name] = start(t, command)
	}
	deadline := time.Now().Add(1500 * time.Millisecond)
	for name, plugin := range plugins {
		if ended(t, plugin, deadline) {
			t.Errorf("%s: it ended before its runner", name)
		}
	}
	for _, runner := range runners {
		_ = runner.Process.Kill()
		_ = runner.Wait()
	}
	deadline = time.Now().Add(3 * time.Second)
	for name, plugin := range plugins {
		if !ended(t, plugin, deadline) {
			t.Errorf("%s: it lives 3s after its runner was killed", name)
		}
	}
}

// start returns a runner whose plugin serves, and a pipe that every process below it has
// open, so that it ends with the last of them.
func start(t *testing.T, command string) (runner *exec.Cmd, lives *os.File) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	lives, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lives.Close() })
	defer stderr.Close()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "PARENT_ROLE=runner", "PARENT_COMMAND="+command,
		"FIFO="+filepath.Join(t.TempDir(), "fifo"), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = stderr
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = stdout
	err = cmd.Start()
	stdout.Close()
	if err != nil {
		t.Fatal(err)
	}
	_ = out.SetReadDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "serving\n" {
		t.Fatalf("%s: %q, %v", command, line, err)
	}
	return cmd, lives
}

func ended(t *testing.T, lives *os.File, deadline time.Time) bool {
	t.Helper()
	_ = lives.SetReadDeadline(deadline)
	said, err := io.ReadAll(lives)
	if len(said) > 0 {
		t.Errorf("it says %s", said)
	}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

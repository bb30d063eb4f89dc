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
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]string{
		"direct":           `exec "$0"`,
		"wrapped":          `"$0"; true`,
		"redirected":       `"$0" < /dev/null 2> /dev/null; true`,
		"another reads it": `mkfifo "$FIFO"; cat "$FIFO" & exec "$0" > "$FIFO"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Every process below the runner has stderr open, so that lives ends with the last of them.
			lives, stderr, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer lives.Close()
			runner := exec.Command(exe)
			runner.Env = append(os.Environ(), "PARENT_ROLE=runner", "PARENT_COMMAND="+command,
				"FIFO="+filepath.Join(t.TempDir(), "fifo"), "GORACE=atexit_sleep_ms=0")
			runner.Stderr = stderr
			out, err := runner.StdoutPipe()
			if err := errors.Join(err, runner.Start(), stderr.Close()); err != nil {
				t.Fatal(err)
			}
			kill := func() { _ = runner.Process.Kill() }
			defer kill()
			defer time.AfterFunc(10*time.Second, kill).Stop() // it does not serve
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "serving\n" {
				t.Fatalf("%q, %v", line, err)
			}
			ended := func(within time.Duration) bool {
				_ = lives.SetReadDeadline(time.Now().Add(within))
				said, err := io.ReadAll(lives)
				if len(said) > 0 {
					t.Errorf("it says %s", said)
				}
				return !errors.Is(err, os.ErrDeadlineExceeded)
			}
			if ended(1500 * time.Millisecond) {
				t.Error("it ended before its runner")
			}
			kill()
			_ = runner.Wait()
			if !ended(3 * time.Second) {
				t.Error("it lives 3s after its runner was killed")
			}
		})
	}
}

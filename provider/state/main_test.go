package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

const api = "https://api.digitalocean.com"

// TestMain makes this binary also a runner that starts a plugin, and that plugin.
func TestMain(m *testing.M) {
	switch os.Getenv("STATE_ROLE") {
	case "plugin": // holds the lock until its standard input ends
		s, err := homeIn(os.Getenv("STATE_DIR")).open(context.Background(), hclog.NewNullLogger(), api, "ci", true)
		fmt.Println(os.Getpid(), err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.Drop()
	case "runner":
		exe, _ := os.Executable()
		// A program's name may look like the rest of its line in /proc.
		odd := filepath.Join(os.Getenv("STATE_DIR"), "a) S 1 (")
		_ = os.Symlink(exe, odd)
		cmd := exec.Command(odd)
		cmd.Env = append(os.Environ(), "STATE_ROLE=plugin")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			panic(err)
		}
	default:
		os.Exit(m.Run())
	}
}

// startRunner starts a runner, and returns the pid of its plugin, which holds the lock.
// end ends the plugin, kill the runner.
func startRunner(t *testing.T, dir string) (pid int, end, kill func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "STATE_ROLE=runner", "STATE_DIR="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdin, cmd.Stdout = in, stdout
	err = cmd.Start()
	stdout.Close()
	if err != nil {
		t.Fatal(err)
	}
	wait := sync.OnceFunc(func() { _ = cmd.Wait() })
	t.Cleanup(func() { stdin.Close(); wait() })
	var opened string
	line, _ := bufio.NewReader(out).ReadString('\n')
	if _, err := fmt.Sscan(line, &pid, &opened); err != nil || opened != "<nil>" {
		t.Fatalf("%s: %v", line, err)
	}
	return pid, func() { stdin.Close() }, func() { _ = cmd.Process.Kill(); wait() }
}

func homeIn(dir string) home { return home{dir: dir, host: "droplet-1"} }

func (h home) mustOpen(t *testing.T) *State {
	t.Helper()
	s, err := h.open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h home) mustPeek(t *testing.T) Snapshot {
	t.Helper()
	s, err := h.peek(api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantHeld opens, and returns why that is not to be.
func (h home) wantHeld(t *testing.T, ctx context.Context, want HeldError, text string) error {
	t.Helper()
	_, err := h.open(ctx, hclog.NewNullLogger(), api, "ci", true)
	want.Group = "ci"
	if held, ok := errors.AsType[*HeldError](err); !ok || *held != want || !strings.Contains(held.Error(), text) {
		t.Errorf("got  %+v (%v)\nwant %+v (%s)", held, err, want, text)
	}
	return err
}

func (h home) lock() string {
	lock, _ := h.files(api, "ci")
	return lock
}

// file is the path of state.json of the group "ci".
func (h home) file() string {
	_, path := h.files(api, "ci")
	return path
}

// logTo returns a logger whose lines have no time.
func logTo(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: w, DisableTime: true})
}

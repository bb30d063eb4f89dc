package state

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

const api = "https://api.digitalocean.com"

func TestMain(m *testing.M) {
	switch dir := os.Getenv("STATE_DIR"); os.Getenv("STATE_ROLE") {
	case "plugin":
		plugin(dir)
	case "runner": // which starts a plugin, and ends with it
		exe, _ := os.Executable()
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "STATE_ROLE=plugin")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			panic(err)
		}
	default:
		os.Exit(m.Run())
	}
}

// opened is what a plugin process says of its Open.
type opened struct {
	PID  int
	Err  string
	Held *HeldError
}

// plugin holds the lock until its standard input ends.
func plugin(dir string) {
	s, err := homeIn(dir).open(context.Background(), hclog.NewNullLogger(), api, "ci", true)
	o := opened{PID: os.Getpid()}
	if err != nil {
		o.Err = err.Error()
		o.Held, _ = errors.AsType[*HeldError](err)
	}
	line, _ := json.Marshal(o)
	fmt.Printf("%s\n", line)
	if err == nil {
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.Drop()
	}
}

// start starts a program that runs plugin. end ends the plugin, kill the program.
func start(t *testing.T, dir, role string, argv ...string) (o opened, end, kill func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv = append(argv, exe)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "STATE_ROLE="+role, "STATE_DIR="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = in
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	stdout.Close()
	wait := sync.OnceFunc(func() { _ = cmd.Wait() })
	end = func() { stdin.Close(); wait() }
	t.Cleanup(end)
	defer out.Close()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return o, end, func() { _ = cmd.Process.Kill(); wait() }
}

func homeIn(dir string) home {
	return home{dir: dir, host: "droplet-1", proc: "/proc", lock: tryLock}
}

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

// logTo returns a logger whose lines have no time.
func logTo(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: w, DisableTime: true})
}

func wantContains(t *testing.T, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

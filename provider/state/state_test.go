package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

const api = "https://api.digitalocean.com"

// ci is the group ci, in a directory of the test's own, on a host with an identity.
func ci(t *testing.T) home {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", filepath.Join(t.TempDir(), "a"))
	onHost(t, "QEMU", "1", "")
	return homeOf(api, "ci")
}

// onHost makes this host another one.
func onHost(t *testing.T, vendor, machineID, metadata string) {
	t.Helper()
	before, dir := thisHost, t.TempDir()
	t.Cleanup(func() { thisHost = before })
	thisHost = sources{filepath.Join(dir, "vendor"), filepath.Join(dir, "machine-id"), metadata}
	err := errors.Join(os.WriteFile(thisHost.vendor, []byte(vendor), 0o600), os.WriteFile(thisHost.machineID, []byte(machineID), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, log io.Writer) *State {
	t.Helper()
	s, err := Open(t.Context(), hclog.New(&hclog.LoggerOptions{Output: log, DisableTime: true}), api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPeek(t *testing.T) Snapshot {
	t.Helper()
	s, err := Peek(t.Context(), api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRestarts: each process knows the ones before it, up to 256, and what the last had;
// those that fail at their start push none out of memory.
func TestRestarts(t *testing.T) {
	ci(t)
	var runs []string
	var droplets map[string]int64
	for i := range 350 {
		s := mustOpen(t, nil)
		if !slices.Equal(s.DeadRuns(), runs) || !maps.Equal(s.Droplets(), droplets) {
			t.Fatalf("start %d knows %v and %v, want %v and %v", i, s.DeadRuns(), s.Droplets(), runs, droplets)
		}
		run := fmt.Sprintf("r%03d", i)
		s.Begin(run, "")
		if i%4 == 0 {
			s.Refuse("a1", "no", true)
			s.Drop()
			continue
		}
		droplets = map[string]int64{fmt.Sprintf("ci-%sm9qx%02d", run, i): 1<<40 + int64(i)}
		s.Save(droplets)
		runs = runs[max(0, len(runs)-255):]
		if seen := mustPeek(t); !seen.Held || !slices.Equal(seen.Runs, runs) || !maps.Equal(seen.Droplets, droplets) {
			t.Fatalf("from outside: %+v", seen)
		}
		if i%4 == 3 {
			droplets = nil
			s.Save(droplets)
		}
		s.Drop()
		s.Save(map[string]int64{"ci-late0m9qx": 1}) // a call that outlasts the end
		runs = append(runs, run)
		if seen := mustPeek(t); seen.Held || !slices.Equal(seen.Runs, runs) || !maps.Equal(seen.Droplets, droplets) {
			t.Fatalf("from outside, after the end: %+v", seen)
		}
	}
}

// TestElsewhere: what was saved on another account is not looked for on this one. Until a
// process begins it is not forgotten.
func TestElsewhere(t *testing.T) {
	ci(t)
	droplets := map[string]int64{"ci-x7k2m9qxab": 7}
	for _, step := range []struct {
		account         string
		begins          bool
		elsewhere, left map[string]int64
	}{{"a", true, nil, droplets}, {"", true, nil, droplets}, {"a", true, nil, droplets}, {"b", false, droplets, droplets}, {"a", true, nil, droplets},
		{"b", true, droplets, nil}, {"b", true, nil, nil}} {
		s := mustOpen(t, nil)
		if s.doc.Account == "" {
			s.Save(droplets) // before the account was known
		}
		elsewhere := s.Elsewhere(step.account)
		if step.begins {
			s.Begin("x7k2", step.account)
		} else {
			s.Refuse("config", "refused", true)
		}
		if !maps.Equal(elsewhere, step.elsewhere) || !maps.Equal(s.Droplets(), step.left) {
			t.Errorf("%+v: elsewhere %v, left %v", step, elsewhere, s.Droplets())
		}
		s.Drop()
	}
}

// TestRefusal stands for 30 s from the beginning of the refused Init, for the same
// configuration, and until one succeeds.
func TestRefusal(t *testing.T) {
	for _, tt := range []struct {
		after  time.Duration
		want   string // "" = it does not stand
		config string
		begun  bool
	}{
		{0, "30s", "a1", false}, {29 * time.Second, "1s", "a1", false}, {30 * time.Second, "", "a1", false},
		{-time.Hour, "", "a1", false}, // the clock was set back
		{0, "", "b2", false}, {0, "", "a1", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ci(t)
			s := mustOpen(t, nil)
			s.Refuse("a1", "no", true)
			s.doc.Refused.At = time.Now().Add(-tt.after)
			s.write()
			if tt.begun {
				s.Begin("x7k2", "")
			}
			s.Drop()
			s = mustOpen(t, nil)
			defer s.Drop()
			err := s.Refused(tt.config)
			if (err != nil) != (tt.want != "") || err != nil && err.Error() != "no\n(DigitalOcean is asked again in "+tt.want+")" {
				t.Errorf("%+v: %v", tt, err)
			}
		})
	}
}

// TestIgnoredFiles are named and believed in nothing. They are written anew, unless this
// host does not know its own identity now: then they may be believed again.
func TestIgnoredFiles(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(content string) string
		machine string // that reads it
		want    string
	}{
		"empty":                      {func(string) string { return "" }, "1", "it does not parse"},
		"type":                       {func(s string) string { return strings.Replace(s, ":7}", `:"7"}`, 1) }, "1", "it does not parse"},
		"newer":                      {func(s string) string { return strings.Replace(s, `"version":1`, `"version":2`, 1) }, "1", "it is of version 2; this plugin knows version 1"},
		"a copied disk":              {nil, "2", "another host wrote it (this disk is a copy or was restored)"},
		"of a host without identity": {nil, "", "another host wrote it (this disk is a copy or was restored)"},
		"unknown identity":           {nil, "unknown", "this Droplet does not know its own id now: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := ci(t)
			s := mustOpen(t, nil)
			s.Begin("x7k2", "")
			s.Save(map[string]int64{"ci-x7k2m9qxab": 7})
			s.Refuse("a1", "no", false)
			s.Drop()
			written, err := os.ReadFile(h.state)
			if test.change != nil {
				err = errors.Join(err, os.WriteFile(h.state, []byte(test.change(string(written))), 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			if onHost(t, "QEMU", test.machine, ""); test.machine == "unknown" {
				onHost(t, "DigitalOcean", "1", "http://127.0.0.1:1")
			}
			if s := mustPeek(t); s.Ignored == nil || !strings.HasPrefix(s.Ignored.Error(), test.want) || s.Runs != nil || s.Droplets != nil || s.Refused != nil {
				t.Errorf("from outside: %+v", s)
			}
			var log bytes.Buffer
			s = mustOpen(t, &log)
			if len(s.DeadRuns()) > 0 || s.Droplets() != nil || s.Refused("a1") != nil {
				t.Errorf("believed: %+v", s.doc)
			}
			if !strings.HasPrefix(log.String(), "[WARN]  the state file is not used") || !strings.Contains(log.String(), test.want) {
				t.Error(&log)
			}
			s.Begin("y8m3", "")
			s.Drop()
			after, err := os.ReadFile(h.state)
			if kept := bytes.Equal(after, written); err != nil || kept != (test.machine == "unknown") || !kept && !slices.Equal(mustPeek(t).Runs, []string{"y8m3"}) {
				t.Errorf("afterwards: %s, %v", after, err)
			}
		})
	}
}

// TestWrites: whoever reads the file meanwhile has the old one; so have all while writes
// fail, which is logged once.
func TestWrites(t *testing.T) {
	h := ci(t)
	var log bytes.Buffer
	s := mustOpen(t, &log)
	defer s.Drop()
	s.Begin("x7k2", "")
	read, err := os.Open(h.state)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s.Begin("y8m3", "")
	if content, err := io.ReadAll(read); err != nil || bytes.Contains(content, []byte("y8m3")) {
		t.Errorf("read %s (%v)", content, err)
	}
	before := map[string]int64{"ci-x7k2m9qxab": 7}
	for n := range 2 {
		s.Save(before)
		if err := os.MkdirAll(filepath.Join(h.state+".new", "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		s.Save(nil)
		s.Save(nil)
		if got := mustPeek(t).Droplets; !maps.Equal(got, before) {
			t.Errorf("after a failed write: %v", got)
		}
		os.RemoveAll(h.state + ".new")
		if s.Save(nil); len(mustPeek(t).Droplets) > 0 {
			t.Error("what could not be written is not written later")
		}
		os.Remove(h.state)
		s.Save(nil)
		if _, err := os.Stat(h.state); err == nil {
			t.Error("it is written though nothing has changed")
		}
		if strings.Count(log.String(), "[WARN]  could not write the state file") != n+1 || strings.Count(log.String(), "\n") != n+1 {
			t.Fatalf("logged %s", &log)
		}
	}
}

// TestPeekAndTry make no directory, and Try no state.json. Remove leaves nothing.
func TestPeekAndTry(t *testing.T) {
	h := ci(t)
	sees := func(held bool, runs ...string) {
		t.Helper()
		if s := mustPeek(t); s.Held != held || !slices.Equal(s.Runs, runs) || s.Ignored != nil {
			t.Errorf("%+v", s)
		}
	}
	try := func(apiURL, group string) (*State, error) {
		return Try(t.Context(), hclog.NewNullLogger(), apiURL, group)
	}
	sees(false)
	s, err := try(api, "ci")
	if err != nil || len(s.DeadRuns()) > 0 {
		t.Fatalf("of nothing: %+v, %v", s, err)
	}
	s.Begin("x7k2", "") // is remembered nowhere
	s.Drop()
	if _, err := os.Stat(filepath.Dir(h.dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("made: %v", err)
	}

	manager := mustOpen(t, nil)
	manager.Begin("x7k2", "")
	if _, err = try(api, "ci"); !errors.As(err, new(*HeldError)) {
		t.Errorf("beside a manager: %v", err)
	}
	for _, other := range [][2]string{{api, "ci2"}, {"http://127.0.0.1:8080", "ci"}} { // are of no concern
		if s, err := try(other[0], other[1]); err != nil {
			t.Error(err)
		} else {
			s.Drop()
			Remove(other[0], other[1])
		}
	}
	sees(true)
	if err := os.WriteFile(h.lock, fmt.Append(nil, os.Getpid()), 0o600); err != nil { // of another form
		t.Fatal(err)
	}
	sees(true)
	manager.Drop()
	before, _ := os.ReadFile(h.state)
	s, err = try(api, "ci")
	if err != nil || !slices.Equal(s.DeadRuns(), []string{"x7k2"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if s := mustPeek(t); runtime.GOOS == "linux" && (s.Held || !s.Command || s.PID != os.Getpid() || !slices.Equal(s.Runs, []string{"x7k2"})) {
		t.Errorf("while a command holds the lock: %+v", s)
	}
	s.Drop()
	if after, err := os.ReadFile(h.state); err != nil || !bytes.Equal(before, after) {
		t.Errorf("Try wrote %s (%v)", after, err)
	}
	sees(false, "x7k2")
	Remove(api, "ci")
	if files, err := os.ReadDir(h.dir); len(files) > 0 || err != nil {
		t.Errorf("left: %v, %v", files, err)
	}
}

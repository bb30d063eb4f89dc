package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

const api = "https://api.digitalocean.com"

// ciIn is the group ci of a host with an identity.
func ciIn(dir string) home {
	h := homeIn(dir, api, "ci")
	h.host = "droplet-1"
	return h
}

func (h home) mustOpen(t *testing.T, log io.Writer) *State {
	t.Helper()
	s, err := h.open(t.Context(), hclog.New(&hclog.LoggerOptions{Output: log, DisableTime: true}), true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h home) mustPeek(t *testing.T) Snapshot {
	t.Helper()
	s, err := h.peek()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRestarts: each process knows the ones before it, up to 256, and what the last had;
// those that fail at their start push none out of memory.
func TestRestarts(t *testing.T) {
	h := ciIn(t.TempDir())
	var runs []string
	var droplets map[string]int64
	for i := range 350 {
		s := h.mustOpen(t, io.Discard)
		if !slices.Equal(s.DeadRuns(), runs) || !maps.Equal(s.Droplets(), droplets) {
			t.Fatalf("start %d knows %v and %v, want %v and %v", i, s.DeadRuns(), s.Droplets(), runs, droplets)
		}
		run := fmt.Sprintf("r%03d", i)
		s.Begin(run)
		if i%4 == 0 {
			s.Refuse("a1", "no", true)
			s.Drop()
			continue
		}
		droplets = map[string]int64{fmt.Sprintf("ci-%sm9qx%02d", run, i): 1<<40 + int64(i)}
		s.Save(droplets)
		runs = runs[max(0, len(runs)-255):]
		if seen := h.mustPeek(t); !seen.Held || !slices.Equal(seen.DeadRuns(), runs) || !maps.Equal(seen.Droplets, droplets) {
			t.Fatalf("from outside: %+v", seen)
		}
		if i%4 == 3 {
			droplets = nil
			s.Save(droplets)
		}
		s.Drop()
		s.Save(map[string]int64{"ci-late0m9qx": 1}) // a call that outlasts the end
		runs = append(runs, run)
		if seen := h.mustPeek(t); seen.Held || !slices.Equal(seen.DeadRuns(), runs) || !maps.Equal(seen.Droplets, droplets) {
			t.Fatalf("from outside, after the end: %+v", seen)
		}
	}
}

// TestOnAccount: what was saved on another account is not looked for on this one.
func TestOnAccount(t *testing.T) {
	h := ciIn(t.TempDir())
	droplets := map[string]int64{"ci-x7k2m9qxab": 7}
	for _, step := range []struct {
		account         string
		elsewhere, left map[string]int64
	}{{"a", nil, droplets}, {"", nil, droplets}, {"a", nil, droplets}, {"b", droplets, nil}, {"b", nil, nil}} {
		s := h.mustOpen(t, io.Discard)
		if s.doc.Account == "" {
			s.Save(droplets) // before the account was known
		}
		if got := s.OnAccount(step.account); !maps.Equal(got, step.elsewhere) || !maps.Equal(s.Droplets(), step.left) {
			t.Errorf("%+v: elsewhere %v, left %v", step, got, s.Droplets())
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
			h := ciIn(t.TempDir())
			s := h.mustOpen(t, io.Discard)
			s.Refuse("a1", "no", true)
			s.doc.Refused.At = time.Now().Add(-tt.after)
			s.write()
			if tt.begun {
				s.Begin("x7k2")
			}
			s.Drop()
			s = h.mustOpen(t, io.Discard)
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
	const rest = `"runs":["x7k2"],"droplets":{"ci-x7k2m9qxab":7},"refused":{"at":"2100-01-01T00:00:00Z","text":"no"}}`
	const ours = `{"version":1,"host":"droplet-1",` + rest
	silent := errors.New("no answer")
	for name, test := range map[string]struct {
		content string
		hostErr error
		want    string
	}{
		"empty":                      {"", nil, "it does not parse: unexpected end of JSON input"},
		"type":                       {strings.Replace(ours, ":7}", `:"7"}`, 1), nil, "it does not parse: json: cannot unmarshal string into Go struct field document.droplets of type int64"},
		"newer":                      {`{"version":2,"host":"droplet-1",` + rest, nil, "it is of version 2; this plugin knows version 1"},
		"a copied disk":              {`{"version":1,"host":"droplet-2",` + rest, nil, "another host wrote it (this disk is a copy or was restored)"},
		"of a host without identity": {`{"version":1,"host":"",` + rest, nil, "another host wrote it (this disk is a copy or was restored)"},
		"unknown identity":           {ours, silent, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			h := ciIn(t.TempDir())
			if h.hostErr = test.hostErr; h.hostErr != nil {
				h.host = ""
			}
			if err := os.WriteFile(h.state, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if s := h.mustPeek(t); s.Ignored == nil || s.Ignored.Error() != test.want || s.Runs != nil || s.Droplets != nil || s.Refused != nil {
				t.Errorf("from outside: %+v", s)
			}
			var log bytes.Buffer
			s := h.mustOpen(t, &log)
			if len(s.DeadRuns()) > 0 || s.Droplets() != nil || s.doc.Refused != nil {
				t.Errorf("believed: %+v", s.doc)
			}
			want := fmt.Sprintf("[WARN]  the state file is not used: Droplets of earlier plugin processes count as unknown: file=%s err=%q\n", h.state, test.want)
			if log.String() != want {
				t.Errorf("got  %s\nwant %s", &log, want)
			}
			s.Begin("y8m3")
			s.Drop()
			wantRuns := []string{"y8m3"}
			if test.hostErr != nil {
				wantRuns = []string{"x7k2"}
			}
			if s := ciIn(h.dir).mustPeek(t); s.Ignored != nil || !slices.Equal(s.DeadRuns(), wantRuns) {
				t.Errorf("afterwards: %+v", s)
			}
		})
	}
}

// TestWrites: whoever reads the file meanwhile has the old one; so have all while writes
// fail, which is logged once.
func TestWrites(t *testing.T) {
	h := ciIn(t.TempDir())
	var log bytes.Buffer
	s := h.mustOpen(t, &log)
	defer s.Drop()
	s.Begin("x7k2")
	read, err := os.Open(h.state)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s.Begin("y8m3")
	if content, err := io.ReadAll(read); err != nil || bytes.Contains(content, []byte("y8m3")) {
		t.Errorf("read %s (%v)", content, err)
	}
	before := map[string]int64{"ci-x7k2m9qxab": 7}
	for n := range 2 {
		s.Save(before)
		obstacle := filepath.Join(h.state+".new", "x")
		if err := os.MkdirAll(obstacle, 0o700); err != nil {
			t.Fatal(err)
		}
		s.Save(nil)
		s.Save(nil)
		if got := h.mustPeek(t).Droplets; !maps.Equal(got, before) {
			t.Errorf("after a failed write: %v", got)
		}
		os.RemoveAll(filepath.Dir(obstacle))
		warning := "[WARN]  could not write the state file: the next plugin process may not know this one's Droplets: file=" + h.state + " err="
		if strings.Count(log.String(), warning) != n+1 || strings.Count(log.String(), "\n") != n+1 {
			t.Fatalf("logged %s", &log)
		}
	}
}

// TestPeekAndTry make no directory, and Try no state.json. Open, Try and Peek mean the
// same files.
func TestPeekAndTry(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	sees := func(held bool, runs, dead int) {
		t.Helper()
		if s, err := Peek(t.Context(), api, "ci"); err != nil || s.Held != held || len(s.Runs) != runs || len(s.DeadRuns()) != dead || s.Ignored != nil {
			t.Errorf("%+v, %v", s, err)
		}
	}
	try := func() (*State, error) { return Try(t.Context(), hclog.NewNullLogger(), api, "ci") }

	sees(false, 0, 0)
	s, err := try()
	if err != nil || len(s.DeadRuns()) > 0 {
		t.Fatalf("of nothing: %+v, %v", s, err)
	}
	s.Begin("x7k2") // is remembered nowhere
	s.Drop()
	if files, err := os.ReadDir(dir); len(files) > 0 || err != nil {
		t.Errorf("made: %v, %v", files, err)
	}

	manager, err := Open(t.Context(), hclog.NewNullLogger(), api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	manager.Begin("x7k2")
	if _, err = try(); !errors.As(err, new(*HeldError)) {
		t.Errorf("beside a manager: %v", err)
	}
	for _, other := range [][2]string{{api, "ci2"}, {"http://127.0.0.1:8080", "ci"}} { // are of no concern
		if s, err := Try(t.Context(), hclog.NewNullLogger(), other[0], other[1]); err != nil {
			t.Error(err)
		} else {
			s.Drop()
		}
	}
	sees(true, 1, 0)
	path := manager.path
	manager.Drop()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err = try()
	if err != nil || !slices.Equal(s.DeadRuns(), []string{"x7k2"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	sees(true, 1, 0) // a command holds the lock
	s.Drop()
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("Try wrote %s (%v)", after, err)
	}
}

// TestRemove: of a group that is over nothing is left, and that is no fault where nothing was.
func TestRemove(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", dir)
	for range 2 {
		s, err := Open(t.Context(), hclog.NewNullLogger(), api, "ci-7k2m-doctor")
		if err != nil {
			t.Fatal(err)
		}
		s.Begin("x7k2")
		s.Drop()
		for range 2 {
			if err := Remove(t.Context(), api, "ci-7k2m-doctor"); err != nil {
				t.Error(err)
			}
		}
		if files, err := filepath.Glob(filepath.Join(dir, "*", "*")); len(files) > 0 || err != nil {
			t.Errorf("left: %v, %v", files, err)
		}
	}
}

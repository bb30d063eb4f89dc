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

// TestRestarts: each process knows the ones before it, up to 256, and what the last had.
func TestRestarts(t *testing.T) {
	h := homeIn(t.TempDir())
	var runs []string
	var droplets map[string]int64
	for i := range 260 {
		s := h.mustOpen(t)
		if !slices.Equal(s.DeadRuns(), runs) || !maps.Equal(s.Droplets(), droplets) {
			t.Fatalf("start %d knows %v and %v, want %v and %v", i, s.DeadRuns(), s.Droplets(), runs, droplets)
		}
		run := fmt.Sprintf("r%03d", i)
		s.Begin(run)
		droplets = map[string]int64{fmt.Sprintf("ci-%sm9qx%02d", run, i): 1<<40 + int64(i)}
		s.Save(droplets)
		runs = runs[max(0, len(runs)-255):]
		if !slices.Equal(s.DeadRuns(), runs) {
			t.Fatalf("its own run is dead: %v", s.DeadRuns())
		}
		if seen := h.mustPeek(t); !seen.Held || !slices.Equal(seen.DeadRuns(), runs) || !maps.Equal(seen.Droplets, droplets) {
			t.Fatalf("from outside: %+v", seen)
		}
		switch i % 3 {
		case 0:
			s.Drop() // killed
		case 1:
			s.Close(false)
		case 2:
			s.Close(true)
			droplets = nil
		}
		runs = append(runs, run)
		if seen := h.mustPeek(t); seen.Held || !slices.Equal(seen.DeadRuns(), runs) || !maps.Equal(seen.Droplets, droplets) {
			t.Fatalf("from outside, after the end: %+v", seen)
		}
	}
}

// TestFailedInits do not push a killed process out of memory.
func TestFailedInits(t *testing.T) {
	h := homeIn(t.TempDir())
	s := h.mustOpen(t)
	s.Begin("k1ll")
	s.Save(map[string]int64{"ci-k1llm9qxab": 12})
	s.Drop()
	for range 2 {
		s := h.mustOpen(t)
		s.Begin("f4il")
		s.Forget()
		s.Refuse(time.Now(), "c", "no")
		s.Drop()
	}
	seen := h.mustPeek(t)
	if !slices.Equal(seen.DeadRuns(), []string{"k1ll"}) || seen.Droplets["ci-k1llm9qxab"] != 12 || seen.Refused.Text != "no" {
		t.Errorf("left: %+v", seen)
	}
}

// TestOnAccount: what was saved on another account is not looked for on this one.
func TestOnAccount(t *testing.T) {
	h := homeIn(t.TempDir())
	droplets := map[string]int64{"ci-x7k2m9qxab": 7}
	for _, step := range []struct {
		account         string
		elsewhere, left map[string]int64
	}{{"a", nil, droplets}, {"", nil, droplets}, {"a", nil, droplets}, {"b", droplets, nil}, {"b", nil, nil}} {
		s := h.mustOpen(t)
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
// configuration.
func TestRefusal(t *testing.T) {
	h := homeIn(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		want := func(config, wantText string, wantLeft time.Duration) {
			t.Helper()
			s := h.mustOpen(t)
			defer s.Drop()
			text, left, ok := s.Refused(config)
			if text != wantText || left != wantLeft || ok != (wantLeft > 0) {
				t.Errorf("%q, %s, %v", text, left, ok)
			}
		}
		refuse := func(at time.Time, text string) {
			s := h.mustOpen(t)
			defer s.Drop()
			s.Refuse(at, "a1", text)
		}
		want("a1", "", 0)
		began := time.Now()
		time.Sleep(10 * time.Second)
		refuse(began, "the token was refused")
		want("a1", "the token was refused", 20*time.Second)
		want("b2", "", 0) // was corrected
		time.Sleep(19 * time.Second)
		want("a1", "the token was refused", time.Second)
		time.Sleep(time.Second)
		want("a1", "", 0)

		refuse(time.Now().Add(time.Hour), "before the clock was set back")
		want("a1", "", 0)
		refuse(time.Now(), "again")
		want("a1", "again", 30*time.Second)
		s := h.mustOpen(t)
		s.ClearRefusal()
		s.Drop()
		want("a1", "", 0)
	})
}

// TestUnknownHost: what cannot be believed now is not lost.
func TestUnknownHost(t *testing.T) {
	h := homeIn(t.TempDir())
	s := h.mustOpen(t)
	s.Begin("x7k2")
	s.Drop()

	silent := home{dir: h.dir, hostErr: errors.New("no answer")}
	s = silent.mustOpen(t)
	if len(s.DeadRuns()) > 0 {
		t.Errorf("believed: %v", s.DeadRuns())
	}
	if seen := silent.mustPeek(t); !seen.Held || seen.Runs != nil || !errors.Is(seen.Ignored, silent.hostErr) {
		t.Errorf("from outside: %+v", seen)
	}
	s.Begin("y8m3")
	s.Close(false)
	if got := h.mustPeek(t).DeadRuns(); !slices.Equal(got, []string{"x7k2"}) {
		t.Errorf("afterwards: %v", got)
	}
}

// TestIgnoredFiles are named, believed in nothing, and written anew.
func TestIgnoredFiles(t *testing.T) {
	const rest = `"runs":["x7k2"],"droplets":{"ci-x7k2m9qxab":7},"refused":{"at":"2100-01-01T00:00:00Z","text":"no"}}`
	const ours = `{"version":1,"host":"droplet-1",` + rest
	for name, test := range map[string][2]string{
		"empty":                      {"", "it does not parse: unexpected end of JSON input"},
		"type":                       {strings.Replace(ours, ":7}", `:"7"}`, 1), "it does not parse: json: cannot unmarshal string into Go struct field document.droplets of type int64"},
		"newer":                      {`{"version":2,"host":"droplet-1",` + rest, "it is of version 2; this plugin knows version 1"},
		"a copied disk":              {`{"version":1,"host":"droplet-2",` + rest, "another host wrote it (this disk is a copy or was restored)"},
		"of a host without identity": {`{"version":1,"host":"",` + rest, "another host wrote it (this disk is a copy or was restored)"},
	} {
		t.Run(name, func(t *testing.T) {
			h := homeIn(t.TempDir())
			if err := os.WriteFile(h.file(), []byte(test[0]), 0o600); err != nil {
				t.Fatal(err)
			}
			if s := h.mustPeek(t); s.Ignored == nil || s.Ignored.Error() != test[1] || s.Runs != nil || s.Droplets != nil || s.Refused != nil {
				t.Errorf("from outside: %+v", s)
			}
			var log bytes.Buffer
			s, err := h.open(t.Context(), logTo(&log), api, "ci", true)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.DeadRuns()) > 0 || s.Droplets() != nil || s.doc.Refused != nil {
				t.Errorf("believed: %+v", s.doc)
			}
			want := fmt.Sprintf("[WARN]  ignoring what earlier plugin processes remembered: Droplets of theirs are taken over as unknown ones: file=%s err=%q\n", h.file(), test[1])
			if log.String() != want {
				t.Errorf("got  %s\nwant %s", &log, want)
			}
			s.Begin("y8m3")
			s.Close(false)
			if s := h.mustPeek(t); s.Ignored != nil || !slices.Equal(s.DeadRuns(), []string{"y8m3"}) {
				t.Errorf("written anew: %+v", s)
			}
		})
	}
}

// TestWritesAreWhole: whoever reads the file meanwhile has the old one.
func TestWritesAreWhole(t *testing.T) {
	h := homeIn(t.TempDir())
	s := h.mustOpen(t)
	defer s.Drop()
	s.Begin("x7k2")
	read, err := os.Open(h.file())
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s.Begin("y8m3")
	if content, err := io.ReadAll(read); err != nil || bytes.Contains(content, []byte("y8m3")) {
		t.Errorf("read %s (%v)", content, err)
	}
}

// TestFailingWrites leave the old file, and are logged once.
func TestFailingWrites(t *testing.T) {
	h := homeIn(t.TempDir())
	var log bytes.Buffer
	s, err := h.open(t.Context(), logTo(&log), api, "ci", true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Drop()
	before := map[string]int64{"ci-x7k2m9qxab": 7}
	for n := range 2 {
		s.Save(before)
		obstacle := filepath.Join(h.file()+".new", "x")
		if err := os.MkdirAll(obstacle, 0o700); err != nil {
			t.Fatal(err)
		}
		s.Save(nil)
		s.Save(nil)
		if got := h.mustPeek(t).Droplets; !maps.Equal(got, before) {
			t.Errorf("after a failed write: %v", got)
		}
		os.RemoveAll(filepath.Dir(obstacle))
		warning := "[WARN]  could not write the state file: a plugin process after this one may not know what it left: file=" + h.file() + " err="
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
	peek := func() Snapshot {
		t.Helper()
		seen, err := Peek(t.Context(), api, "ci")
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	try := func() (*State, error) { return Try(t.Context(), hclog.NewNullLogger(), api, "ci") }

	if seen := peek(); seen.Held || seen.Runs != nil {
		t.Errorf("of nothing: %+v", seen)
	}
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
	_, err = try()
	if _, ok := errors.AsType[*HeldError](err); !ok {
		t.Errorf("beside a manager: %v", err)
	}
	if seen := peek(); !seen.Held || len(seen.Runs) != 1 || len(seen.DeadRuns()) > 0 || seen.Ignored != nil {
		t.Errorf("beside a manager: %+v", seen)
	}
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
	if seen := peek(); !seen.Held {
		t.Errorf("of a command that holds the lock: %+v", seen)
	}
	s.Drop()
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("Try wrote %s (%v)", after, err)
	}
}

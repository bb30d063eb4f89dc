package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// file is the path of state.json of the group "ci".
func (h home) file(t *testing.T) string {
	t.Helper()
	key, err := keyOf(api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(h.dir, key+".json")
}

// TestRestarts: each process knows the ones before it and what the last one had.
func TestRestarts(t *testing.T) {
	h := homeIn(t.TempDir())
	var runs []string
	var droplets map[string]int64
	for i := range 20 {
		s := h.mustOpen(t)
		if !slices.Equal(s.DeadRuns(), runs) || !maps.Equal(s.Droplets(), droplets) {
			t.Fatalf("start %d knows %v and %v, want %v and %v", i, s.DeadRuns(), s.Droplets(), runs, droplets)
		}
		run := instancegroup.NewRun(runs...)
		s.Begin(run)
		droplets = map[string]int64{fmt.Sprintf("ci-%sm9qx%02d", run, i): 1<<40 + int64(i)}
		s.Save(droplets)
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
	for i := range 5 {
		s := h.mustOpen(t)
		s.Begin(instancegroup.NewRun(s.DeadRuns()...))
		s.Forget()
		s.Refuse(time.Now(), "c", fmt.Sprint("no ", i))
		s.Drop()
	}
	s = h.mustOpen(t)
	defer s.Drop()
	if !slices.Equal(s.DeadRuns(), []string{"k1ll"}) || s.Droplets()["ci-k1llm9qxab"] != 12 {
		t.Errorf("left: %v, %v", s.DeadRuns(), s.Droplets())
	}
	if text, _, ok := s.Refused("c"); !ok || text != "no 4" {
		t.Errorf("refused: %q, %v", text, ok)
	}
}

// TestOldRuns are forgotten a month after their end, and the oldest of more than 256.
func TestOldRuns(t *testing.T) {
	h := homeIn(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		h.mustOpen(t).Drop()
		begin := func(run string) {
			s := h.mustOpen(t)
			s.Begin(run)
			s.Drop()
		}
		begin("0000")
		time.Sleep(40 * 24 * time.Hour)
		begin("0001") // and sees that 0000 was killed: its month begins
		time.Sleep(29 * 24 * time.Hour)
		begin("0002")
		if got := h.mustPeek(t).DeadRuns(); !slices.Equal(got, []string{"0000", "0001", "0002"}) {
			t.Errorf("after 29 days: %v", got)
		}
		time.Sleep(2 * 24 * time.Hour)
		s := h.mustOpen(t)
		if got := s.DeadRuns(); !slices.Equal(got, []string{"0001", "0002"}) {
			t.Errorf("after 31 days: %v", got)
		}
		for i := range 300 {
			s.Begin(fmt.Sprintf("1%03d", i))
		}
		s.Drop()
		got := h.mustPeek(t).DeadRuns()
		if len(got) != maxRuns || got[0] != "1044" || got[255] != "1299" {
			t.Errorf("%d runs: %v", len(got), got)
		}
	})
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
		refuse(time.Now(), strings.Repeat("é", maxText))
		want("a1", strings.Repeat("é", maxText/2), 30*time.Second)
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

	silent := h
	silent.host, silent.hostErr = "", errors.New("no answer")
	s = silent.mustOpen(t)
	if s.DeadRuns() != nil {
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
	const rest = `"runs":[{"id":"x7k2"}],"droplets":{"ci-x7k2m9qxab":7},"refused":{"at":"2100-01-01T00:00:00Z","text":"no"}}`
	const ours = `{"version":1,"host":"droplet-1",` + rest
	for _, test := range []struct{ name, content, want string }{
		{"empty", "", "it does not parse: unexpected end of JSON input"},
		{"cut", ours[:len(ours)-1], "it does not parse: unexpected end of JSON input"},
		{"trailing", ours + "{}", "it does not parse: invalid character '{' after top-level value"},
		{"type", strings.Replace(ours, ":7}", `:"7"}`, 1), "it does not parse: json: cannot unmarshal string into Go struct field document.droplets of type int64"},
		{"newer", `{"version":2,"host":{"another":"shape"}}`, "it is of version 2; this plugin knows version 1"},
		{"too large", ours + strings.Repeat(" ", maxContent), "it is larger than 4194304 bytes"},
		{"a copied disk", `{"version":1,"host":"droplet-2",` + rest, "another host wrote it (this disk is a copy or was restored)"},
		{"of a host without identity", `{"version":1,"host":"",` + rest, "another host wrote it (this disk is a copy or was restored)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := homeIn(t.TempDir())
			if err := os.WriteFile(h.file(t), []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if s := h.mustPeek(t); s.Ignored == nil || s.Ignored.Error() != test.want || s.Runs != nil || s.Droplets != nil || s.Refused != nil {
				t.Errorf("from outside: %+v", s)
			}
			var log bytes.Buffer
			s, err := h.open(t.Context(), logTo(&log), api, "ci", true)
			if err != nil {
				t.Fatal(err)
			}
			if s.DeadRuns() != nil || s.Droplets() != nil || s.doc.Refused != nil {
				t.Errorf("believed: %+v", s.doc)
			}
			want := fmt.Sprintf("[WARN]  ignoring what earlier plugin processes remembered: Droplets of theirs are taken over as unknown ones: file=%s err=%q\n", h.file(t), test.want)
			wantContains(t, log.String(), want)
			s.Begin("y8m3")
			s.Close(false)
			if s := h.mustPeek(t); s.Ignored != nil || !slices.Equal(s.DeadRuns(), []string{"y8m3"}) {
				t.Errorf("written anew: %+v", s)
			}
		})
	}
}

// TestForeignEntries: what a group cannot have had is dropped.
func TestForeignEntries(t *testing.T) {
	h := homeIn(t.TempDir())
	content := `{"version":1,"host":"droplet-1","unknown":1,"runs":[{"id":"../x"},{"id":"x7k2"},{"id":""},{"id":"X7K2"}],
		"droplets":{"ci-x7k2m9qxab":7,"ci-database":8,"ci2-x7k2m9qxab":9,"ci-x7k2m9qxac":0,"ci-x7k2m9qxad":-1}}`
	if err := os.WriteFile(h.file(t), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s := h.mustOpen(t)
	defer s.Drop()
	if !slices.Equal(s.DeadRuns(), []string{"x7k2"}) || !maps.Equal(s.Droplets(), map[string]int64{"ci-x7k2m9qxab": 7}) {
		t.Errorf("%v, %v", s.DeadRuns(), s.Droplets())
	}
}

// TestWritesAreWhole: a reader finds one of the documents that were written.
func TestWritesAreWhole(t *testing.T) {
	h := homeIn(t.TempDir())
	s := h.mustOpen(t)
	droplets := map[string]int64{}
	for i := range 2000 {
		droplets[fmt.Sprintf("ci-x7k2%06d", i)] = int64(i + 1)
	}
	s.Save(droplets)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			name := fmt.Sprintf("ci-x7k2%06d", i)
			delete(droplets, name)
			s.Save(droplets)
			droplets[name] = int64(i + 1)
			s.Save(droplets)
		}
	}()
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
		}
		if seen := h.mustPeek(t); seen.Ignored != nil || len(seen.Droplets) < 1999 {
			t.Errorf("%d Droplets, %v", len(seen.Droplets), seen.Ignored)
		}
	}
	s.Drop()
}

// TestFailingWrites leave the old file, and are logged once.
func TestFailingWrites(t *testing.T) {
	h := homeIn(t.TempDir())
	var log bytes.Buffer
	s, err := h.open(t.Context(), logTo(&log), api, "ci", true)
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]int64{"ci-x7k2m9qxab": 7}
	s.Save(before)
	obstacle := filepath.Join(h.file(t)+".new", "x")
	if err := os.MkdirAll(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	s.Save(nil)
	s.Save(nil)
	if got := h.mustPeek(t).Droplets; !maps.Equal(got, before) {
		t.Errorf("after a failed write: %v", got)
	}
	os.RemoveAll(filepath.Dir(obstacle))
	s.Save(nil)
	s.Save(nil)
	if got := h.mustPeek(t); got.Droplets != nil {
		t.Errorf("after it: %v", got.Droplets)
	}
	s.Drop()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("logged %q", lines)
	}
	wantContains(t, lines[0], "[WARN]  could not write the state file: a plugin process after this one may not know what it left: file="+h.file(t)+" err=")
	wantContains(t, lines[1], "[INFO]  the state file can be written again: file="+h.file(t))
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
	try := func() (*State, error) { return Try(t.Context(), hclog.NewNullLogger(), api+":443/", "ci") }

	if seen := peek(); seen.Held || seen.Runs != nil {
		t.Errorf("of nothing: %+v", seen)
	}
	s, err := try()
	if err != nil || s.DeadRuns() != nil {
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
	if held, ok := errors.AsType[*HeldError](err); !ok || held.PID != os.Getpid() {
		t.Errorf("beside a manager: %v", err)
	}
	if seen := peek(); !seen.Held || seen.PID != os.Getpid() || len(seen.Runs) != 1 || seen.DeadRuns() != nil || seen.Ignored != nil {
		t.Errorf("beside a manager: %+v", seen)
	}
	path, lock := manager.path, manager.lock.Path()
	manager.Drop()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err = try()
	if err != nil || !slices.Equal(s.DeadRuns(), []string{"x7k2"}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if seen := peek(); !seen.Held || seen.PID != os.Getpid() {
		t.Errorf("of a command that holds the lock: %+v", seen)
	}
	s.Drop()
	if holder, err := os.ReadFile(lock); err != nil || len(holder) > 0 {
		t.Errorf("the lock that was given up names %s (%v)", holder, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("Try wrote %s (%v)", after, err)
	}
}

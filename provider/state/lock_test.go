package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"
)

// TestOtherProcesses that hold the lock are told apart.
func TestOtherProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	// A shell that does not replace itself, but stays above the plugin.
	wrapped := []string{"sh", "-c", `"$0"; true`}
	for _, test := range []struct {
		name       string
		first      string
		firstArgv  []string
		second     string
		secondArgv []string
		sibling    bool
		wantErr    string
	}{
		{name: "of one runner", first: "plugin", second: "plugin", sibling: true,
			wantErr: `group "ci" is managed by another plugin process of this runner, pid %d: two [[runners]] sections have one plugin_config.name, ` +
				`or the runner's token was rotated (GitLab Runner before 19.2 then starts a second plugin beside the first). ` +
				`Give each section a name of its own, or restart the runner`},
		{name: "of one runner, both wrapped", first: "plugin", firstArgv: wrapped, second: "plugin", secondArgv: wrapped, sibling: true,
			wantErr: "of this runner, pid %d"},
		{name: "of another runner", first: "runner", second: "plugin",
			wantErr: `group "ci" is managed by another process on this host, pid %d: the plugin of another runner, or a command. ` +
				`Give each [[runners]] section a plugin_config.name of its own, or stop that process`},
		{name: "of another runner, both wrapped", first: "runner", firstArgv: wrapped, second: "runner", secondArgv: wrapped,
			wantErr: "on this host, pid %d"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			first, end, _ := start(t, dir, test.first, test.firstArgv...)
			if first.Err != "" {
				t.Fatal(first.Err)
			}
			began := time.Now()
			second, _, _ := start(t, dir, test.second, test.secondArgv...)
			if held := second.Held; held == nil || held.PID != first.PID || held.Sibling != test.sibling || held.Orphan {
				t.Errorf("%+v, %s", held, second.Err)
			}
			wantContains(t, second.Err, fmt.Sprintf(test.wantErr, first.PID))
			if d := time.Since(began); d > orphanWait {
				t.Errorf("refused after %s", d)
			}
			if s := homeIn(dir).mustPeek(t); !s.Held || s.PID != first.PID {
				t.Errorf("seen from outside: %+v", s)
			}
			end()
			homeIn(dir).mustOpen(t).Drop()
		})
	}
}

// TestOrphanGoes: the plugin of a runner that was killed is waited for.
func TestOrphanGoes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	dir := t.TempDir()
	orphan, end, kill := start(t, dir, "runner")
	kill()
	logged := 0
	log := logTo(writer(func(line []byte) {
		wantContains(t, string(line), fmt.Sprintf("[INFO]  waiting for a plugin process whose runner has ended: pid=%d\n", orphan.PID))
		logged++
		end()
	}))
	s, err := homeIn(dir).open(t.Context(), log, api, "ci", true)
	if err != nil || logged != 1 {
		t.Fatalf("logged %d times: %v", logged, err)
	}
	s.Drop()
}

type writer func(line []byte)

func (w writer) Write(line []byte) (int, error) { w(line); return len(line), nil }

// TestWaits: each kind of holder is waited for as long as it is worth.
func TestWaits(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	me := procfs("/proc").self()
	dead := process{PID: me.PID, Start: "1"}
	for _, test := range []struct {
		name string
		who  holder
		want time.Duration
		err  HeldError
		text string
	}{
		{"living", me, 0, HeldError{PID: me.PID, Sibling: true}, "of this runner, pid "},
		{"orphan", holder{me.process, dead}, orphanWait, HeldError{PID: me.PID, Orphan: true},
			fmt.Sprintf(`group "ci" is managed by a plugin process whose runner has ended, pid %d. Stop that process`, me.PID)},
		{"its pid is another's now", holder{dead, me.Runner}, unknownWait, HeldError{}, "on this host, pid unknown: "},
		{"it has written nothing yet", holder{}, unknownWait, HeldError{}, "on this host, pid unknown: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := homeIn(t.TempDir())
				first := h.mustOpen(t)
				note(hclog.NewNullLogger(), first.lock.Path(), test.who)

				began := time.Now()
				var log bytes.Buffer
				_, err := h.open(t.Context(), logTo(&log), api, "ci", true)
				if lines := strings.Count(log.String(), "\n"); lines > 1 || (lines == 1) != test.err.Orphan {
					t.Errorf("logged %q", log.String())
				}
				held, ok := errors.AsType[*HeldError](err)
				test.err.Group = "ci"
				if !ok || *held != test.err {
					t.Errorf("got  %+v (%v)\nwant %+v", held, err, test.err)
				}
				wantContains(t, fmt.Sprint(err), test.text)
				if d := time.Since(began); d != test.want {
					t.Errorf("refused after %s, want %s", d, test.want)
				}
				if test.want == 0 {
					first.Drop()
					return
				}

				ctx, cancel := context.WithTimeout(t.Context(), lockPoll/2)
				defer cancel()
				began = time.Now()
				_, err = h.open(ctx, hclog.NewNullLogger(), api, "ci", true)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != lockPoll/2 {
					t.Errorf("a bounded wait took %s: %v", time.Since(began), err)
				}
				if _, ok := errors.AsType[*HeldError](err); !ok {
					t.Errorf("a bounded wait does not say for what: %v", err)
				}

				time.AfterFunc(test.want/2, func() {
					note(hclog.NewNullLogger(), first.lock.Path(), holder{}) // the first step of Drop
					time.Sleep(2 * lockPoll)
					first.Drop()
				})
				h.mustOpen(t).Drop()
			})
		})
	}
}

// TestOtherGroups, and other accounts, are of no concern.
func TestOtherGroups(t *testing.T) {
	h := homeIn(t.TempDir())
	defer h.mustOpen(t).Drop()
	for _, other := range [][2]string{{api, "ci2"}, {"http://127.0.0.1:8080", "ci"}} {
		s, err := h.open(t.Context(), hclog.NewNullLogger(), other[0], other[1], true)
		if err != nil {
			t.Fatal(err)
		}
		s.Drop()
	}
}

// TestNothingCanBeLocked: the plugin manages its group all the same.
func TestNothingCanBeLocked(t *testing.T) {
	h := homeIn(t.TempDir())
	h.lock = func(*flock.Flock, bool) (bool, error) { return false, fmt.Errorf("flock: %w", errors.ErrUnsupported) }
	var log bytes.Buffer
	s, err := h.open(t.Context(), logTo(&log), api, "ci", true)
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, log.String(), "[WARN]  files cannot be locked here: a second plugin process of this group would go unnoticed, and nothing is remembered")
	s.Begin("x7k2")
	s.Save(map[string]int64{"ci-x7k2m9qxab": 1})
	s.Close(false)
	if files, _ := filepath.Glob(filepath.Join(h.dir, "*.json")); len(files) > 0 {
		t.Errorf("written without the lock: %v", files)
	}
	if s := h.mustPeek(t); s.Held {
		t.Error("it looks held")
	}
}

// TestWithoutProc: what /proc does not say, signals do.
func TestWithoutProc(t *testing.T) {
	fs := procfs(filepath.Join(t.TempDir(), "none"))
	me := fs.self()
	if me.PID != os.Getpid() || me.Runner.PID != os.Getppid() {
		t.Fatalf("%+v", me)
	}
	if e := fs.describe(me); !e.Sibling || e.Orphan || e.PID != me.PID {
		t.Errorf("it lives: %+v", e)
	}
	const noPID = 1 << 30
	if e := fs.describe(holder{me.process, process{PID: noPID}}); e.Sibling || !e.Orphan {
		t.Errorf("its runner has ended: %+v", e)
	}
	if e := fs.describe(holder{process{PID: noPID}, me.Runner}); *e != (HeldError{}) {
		t.Errorf("it has ended: %+v", e)
	}
}

// TestOutsideOfContainer: what was started from outside of a container has no common
// runner.
func TestOutsideOfContainer(t *testing.T) {
	fs := procfs(t.TempDir())
	for _, pid := range []int{7, os.Getpid()} {
		if err := os.Mkdir(fs.path(pid, ""), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fs.path(pid, "stat"), []byte("1 (a) S 0 "+strings.Repeat("0 ", 17)+"4711"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if e := fs.describe(holder{process: process{7, "4711"}}); *e != (HeldError{PID: 7}) {
		t.Errorf("%+v", e)
	}
}

// TestProcStat: a program's name may look like the rest of its line.
func TestProcStat(t *testing.T) {
	fs := procfs(t.TempDir())
	if err := os.Mkdir(fs.path(7, ""), 0o700); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]bool{
		"7 (a) S 9) S 5 " + strings.Repeat("0 ", 17) + "4711 0 0": true,
		"7 (a) S 5 0 0": false,
		"":              false,
	} {
		if err := os.WriteFile(fs.path(7, "stat"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		p, parent, ok := fs.read(7)
		if ok != want || ok && (p != process{7, "4711"} || parent != 5) {
			t.Errorf("%q: %+v %d %v", content, p, parent, ok)
		}
	}
}

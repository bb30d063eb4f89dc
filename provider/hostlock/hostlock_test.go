package hostlock

import (
	"context"
	"fmt"
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

const someAPI = "https://api.digitalocean.com"

// TestLockIsExclusive: a second holder waits for an orphan, and then names the
// process that is in its way.
func TestLockIsExclusive(t *testing.T) {
	ownCache(t)
	synctest.Test(t, func(t *testing.T) {
		log := hclog.NewNullLogger()
		first, err := Take(t.Context(), log, someAPI, "ci")
		if err != nil {
			t.Fatal(err)
		}
		d := took(func() { _, err = Take(t.Context(), log, someAPI, "ci") })
		want := fmt.Sprintf(`group "ci" is managed by another plugin process on this host, pid %d. `+
			`Give each [[runners]] section a plugin_config.name of its own, or stop that process`, os.Getpid())
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if d < orphanWait || d > orphanWait+lockPoll {
			t.Errorf("it waited %s, want %s", d, orphanWait)
		}

		// An orphan that goes in time.
		time.AfterFunc(10*time.Second, first.Release)
		var second *Lock
		d = took(func() { second, err = Take(t.Context(), log, someAPI, "ci") })
		if err != nil || d < 10*time.Second || d > 11*time.Second {
			t.Fatalf("after %s: %v", d, err)
		}
		defer second.Release()

		// Other groups, and other accounts, are of no concern.
		for _, other := range [][2]string{{someAPI, "ci2"}, {"http://127.0.0.1:8080", "ci"}} {
			l, err := Take(t.Context(), log, other[0], other[1])
			if err != nil {
				t.Fatal(err)
			}
			l.Release()
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if d := took(func() { _, err = Take(ctx, log, someAPI, "ci") }); err == nil || d > 2*time.Second {
			t.Errorf("a cancelled wait took %s: %v", d, err)
		}
	})
}

// TestLockRemembersRuns: those that ended without cleaning up, the last 16.
func TestLockRemembersRuns(t *testing.T) {
	ownCache(t)
	var want []string
	for i := range 20 {
		l := take(t)
		if !slices.Equal(l.DeadRuns(), want) {
			t.Errorf("dead runs %v, want %v", l.DeadRuns(), want)
		}
		run := fmt.Sprintf("run%05d", i)
		if err := l.Begin(run); err != nil {
			t.Fatal(err)
		}
		want = append(want, run)
		want = want[max(0, len(want)-maxRuns):]
		l.Release()
	}
	l := take(t)
	if err := os.WriteFile(l.base+".runs", []byte("../../etc x\x00 run00001 RUN00002"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Release()
	l = take(t)
	if !slices.Equal(l.DeadRuns(), []string{"run00001"}) {
		t.Errorf("of a file that somebody wrote to: %q", l.DeadRuns())
	}
	_ = l.Begin("run00002")
	l.Close([]string{"run00002"})
	l = take(t)
	if !slices.Equal(l.DeadRuns(), []string{"run00002"}) {
		t.Errorf("of what is to be remembered: %q", l.DeadRuns())
	}
	l.Close(nil)
	l = take(t)
	defer l.Release()
	if len(l.DeadRuns()) > 0 {
		t.Errorf("after a clean end: %v", l.DeadRuns())
	}
}

// TestLockFiles are for the user alone, and a directory that cannot be had is
// explained.
func TestLockFiles(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	l, err := Take(t.Context(), hclog.NewNullLogger(), someAPI, "ci")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Begin("7k2m9qxa")
	l.NoteRefusal(hclog.NewNullLogger(), time.Now())
	defer l.Release()
	files, _ := filepath.Glob(filepath.Join(cache, "fleeting-plugin-digitalocean", "*"))
	if len(files) != 4 {
		t.Errorf("files %v, want four", files)
	}
	for _, f := range append(files, filepath.Dir(files[0])) {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}

	blocked := filepath.Join(cache, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", blocked)
	_, err = Take(t.Context(), hclog.NewNullLogger(), someAPI, "ci")
	if err == nil || !strings.Contains(err.Error(), "set HOME or XDG_CACHE_HOME to one that can be written") {
		t.Errorf("without a directory: %v", err)
	}
}

// TestLockStaysInItsDirectory: a name that is none of a group's makes no file anywhere.
func TestLockStaysInItsDirectory(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	t.Setenv("XDG_CACHE_HOME", cache)
	for _, name := range []string{"../../evil", "a/b", "/evil"} {
		if l, _, err := Try(someAPI, name); err == nil || l != nil {
			t.Errorf("%q is taken for a group", name)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(cache), "*")); len(files) > 0 {
		t.Errorf("made: %v", files)
	}
}

// TestLockRemembersCount: until an end in good order, and nothing of what
// somebody else wrote.
func TestLockRemembersCount(t *testing.T) {
	ownCache(t)
	l := take(t)
	want := instancegroup.Census{Droplets: 12, At: time.Unix(1700000000, 0)}
	l.Note(hclog.NewNullLogger(), want)
	l.Release()
	l = take(t)
	if got := l.Before(); got != want {
		t.Errorf("before: %+v, want %+v", got, want)
	}
	files, _ := filepath.Glob(l.base + ".count*")
	if info, err := os.Stat(l.base + ".count"); err != nil || info.Mode().Perm() != 0o600 || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, junk := range []string{"", "12", "twelve 1"} {
		if err := os.WriteFile(l.base+".count", []byte(junk), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := l.Before(); got != (instancegroup.Census{}) {
			t.Errorf("of %q: %+v", junk, got)
		}
	}
	l.Close(nil)
	l = take(t)
	defer l.Release()
	if got := l.Before(); got != (instancegroup.Census{}) {
		t.Errorf("after a clean end: %+v", got)
	}
}

// TestLockRemembersLetGo: the latest 256, until an end in good order.
func TestLockRemembersLetGo(t *testing.T) {
	ownCache(t)
	var ids []int
	for id := range 300 {
		ids = append(ids, id)
	}
	l := take(t)
	l.NoteLetGo(hclog.NewNullLogger(), ids)
	l.Release()
	l = take(t)
	if got := l.LetGo(); !slices.Equal(got, ids[44:]) {
		t.Errorf("let go: %v", got)
	}
	if got, err := LetGo(someAPI, "ci"); err != nil || !slices.Equal(got, ids[44:]) {
		t.Errorf("without the lock: %v, %v", got, err)
	}
	if err := os.WriteFile(l.base+".letgo", []byte("7 x\n8"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := l.LetGo(); !slices.Equal(got, []int{7, 8}) {
		t.Errorf("of a file that somebody wrote to: %v", got)
	}
	l.Close(nil)
	if got, err := LetGo(someAPI, "ci"); err != nil || len(got) > 0 {
		t.Errorf("after a clean end: %v, %v", got, err)
	}
}

func take(t *testing.T) *Lock {
	t.Helper()
	l, err := Take(t.Context(), hclog.NewNullLogger(), someAPI, "ci")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// ownCache keeps the lock files of a test to itself.
func ownCache(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

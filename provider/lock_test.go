package provider

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
)

const someAPI = "https://api.digitalocean.com"

// TestLockIsExclusive: a second holder waits for an orphan, and then names the
// process that is in its way.
func TestLockIsExclusive(t *testing.T) {
	ownCache(t)
	synctest.Test(t, func(t *testing.T) {
		log := hclog.NewNullLogger()
		first, err := lockGroup(t.Context(), log, someAPI, "ci")
		if err != nil {
			t.Fatal(err)
		}
		d := took(func() { _, err = lockGroup(t.Context(), log, someAPI, "ci") })
		want := fmt.Sprintf(`group "ci" is managed by another plugin process on this host, pid %d. `+
			`Give each [[runners]] section a plugin_config.name of its own, or stop that process`, os.Getpid())
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if d < orphanWait || d > orphanWait+lockPoll {
			t.Errorf("it waited %s, want %s", d, orphanWait)
		}

		// An orphan that goes in time.
		time.AfterFunc(10*time.Second, first.release)
		var second *hostLock
		d = took(func() { second, err = lockGroup(t.Context(), log, someAPI, "ci") })
		if err != nil || d < 10*time.Second || d > 11*time.Second {
			t.Fatalf("after %s: %v", d, err)
		}
		defer second.release()

		// Other groups, and other accounts, are of no concern.
		for _, other := range [][2]string{{someAPI, "ci2"}, {"http://127.0.0.1:8080", "ci"}} {
			l, err := lockGroup(t.Context(), log, other[0], other[1])
			if err != nil {
				t.Fatal(err)
			}
			l.release()
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if d := took(func() { _, err = lockGroup(ctx, log, someAPI, "ci") }); err == nil || d > 2*time.Second {
			t.Errorf("a cancelled wait took %s: %v", d, err)
		}
	})
}

// TestLockRemembersRuns: those that ended without cleaning up, the last 16.
func TestLockRemembersRuns(t *testing.T) {
	ownCache(t)
	lock := func() *hostLock {
		t.Helper()
		l, err := lockGroup(t.Context(), hclog.NewNullLogger(), someAPI, "ci")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var want []string
	for i := range 20 {
		l := lock()
		if !slices.Equal(l.deadRuns(), want) {
			t.Errorf("dead runs %v, want %v", l.deadRuns(), want)
		}
		run := fmt.Sprintf("run%05d", i)
		if err := l.begin(run); err != nil {
			t.Fatal(err)
		}
		want = append(want, run)
		want = want[max(0, len(want)-maxRuns):]
		l.close(false)
	}
	l := lock()
	if err := os.WriteFile(l.base+".runs", []byte("../../etc x\x00 run00001 RUN00002"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.close(false)
	l = lock()
	if !slices.Equal(l.deadRuns(), []string{"run00001"}) {
		t.Errorf("of a file that somebody wrote to: %q", l.deadRuns())
	}
	l.close(true)
	l = lock()
	defer l.release()
	if len(l.deadRuns()) > 0 {
		t.Errorf("after a clean end: %v", l.deadRuns())
	}
}

// TestLockFiles are for the user alone, and a directory that cannot be had is
// explained.
func TestLockFiles(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	l, err := lockGroup(t.Context(), hclog.NewNullLogger(), someAPI, "ci")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.begin("7k2m9qxa")
	l.noteRefusal(hclog.NewNullLogger(), time.Now())
	defer l.release()
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
	_, err = lockGroup(t.Context(), hclog.NewNullLogger(), someAPI, "ci")
	if err == nil || !strings.Contains(err.Error(), "set HOME or XDG_CACHE_HOME to one that can be written") {
		t.Errorf("without a directory: %v", err)
	}
}

package provider

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestKilledAndStartedAtOnce: the next process counts what the killed one asked
// for last, though lists lag, and so max_instances holds.
func TestKilledAndStartedAtOnce(t *testing.T) {
	ownCache(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{ListLag: 20 * time.Second})
		defer sim.Close()
		killed := start(t, sim, options{"max_instances": 10})
		if n, err := killed.Increase(t.Context(), 8); n != 8 || err != nil {
			t.Fatal(n, err)
		}
		crash(killed)

		next := start(t, sim, options{"max_instances": 10})
		defer func() { _ = next.Shutdown(t.Context()) }()
		if n, err := next.Increase(t.Context(), 10); n != 2 || err != nil {
			t.Errorf("Increase(10) = %d, %v; want the 2 that there is room for", n, err)
		}
		if n := len(sim.Droplets()); n != 10 {
			t.Errorf("%d Droplets, max_instances is 10", n)
		}
	})
}

// TestLockRemembersCount: until an end in good order, and nothing of what
// somebody else wrote.
func TestLockRemembersCount(t *testing.T) {
	ownCache(t)
	lock := func() *hostLock {
		t.Helper()
		l, err := lockGroup(t.Context(), hclog.NewNullLogger(), someAPI, "ci")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := lock()
	want := instancegroup.Census{Droplets: 12, At: time.Unix(1700000000, 0)}
	l.note(hclog.NewNullLogger(), want)
	l.close(false)
	l = lock()
	if got := l.before(); got != want {
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
		if got := l.before(); got != (instancegroup.Census{}) {
			t.Errorf("of %q: %+v", junk, got)
		}
	}
	l.close(true)
	l = lock()
	defer l.release()
	if got := l.before(); got != (instancegroup.Census{}) {
		t.Errorf("after a clean end: %+v", got)
	}
}

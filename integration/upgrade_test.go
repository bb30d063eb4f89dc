//go:build unix

package integration

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting"
)

// A manager is replaced in mid-life, by a newer version or by an older one: the one
// version's Droplets are the other's, with the jobs on them, whether the first has
// stopped in good order or was killed. Both are of today's source.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	versions := map[string]string{"old": filepath.Join(distOf(t, "0.1.0"), hostPlatform, "plugin"), "new": binary}
	for _, c := range []struct {
		name, first, second string
		killed              bool
	}{
		{"upgrade", "old", "new", false},
		{"upgrade-killed", "old", "new", true},
		{"downgrade", "new", "old", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			config := w.config(map[string]any{"name": c.name})
			first, err := initRunnerOf(t.Context(), versions[c.first], config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(first.Kill)
			pid := pidOf(t, c.name)
			first.provisioner.Request(3)
			eventually(t, 20*time.Second, func() error { return first.running(3) })
			if c.killed {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			} else {
				first.provisioner.Shutdown(t.Context())
			}
			first.Kill()
			eventually(t, 10*time.Second, func() error { return gone(pid) })

			second, err := initRunnerOf(t.Context(), versions[c.second], config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Kill)
			drain(t, w, second, 3)
			if c.killed {
				sweep(t, w, config)
			}
			w.assertNothingLeft(t)
		})
	}
}

// drain has a manager take over what another has left, and destroy it.
func drain(t *testing.T, w *world, r *runner, n int) {
	t.Helper()
	if err := r.running(n); err != nil {
		t.Errorf("taken over: %v", err)
	}
	for _, i := range r.provisioner.Instances() {
		if i.Cause() != fleeting.CausePreexisted {
			t.Errorf("%s is %s", i.ID(), i.Cause())
		}
		i.Delete()
	}
	r.provisioner.Shutdown(t.Context())
	r.Kill()
	if bills := w.sim.Ledger(); len(bills) != n {
		t.Errorf("%d Droplets were made, want %d", len(bills), n)
	}
}

// sweep is the next start, which takes away the key of a run that was killed, now
// that no Droplet of it is left.
func sweep(t *testing.T, w *world, config map[string]any) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		if n := len(w.sim.Droplets()); n > 0 {
			return fmt.Errorf("%d Droplets are left", n)
		}
		return nil
	})
	r, err := initRunner(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	r.provisioner.Shutdown(t.Context())
	r.Kill()
}

//go:build unix

package integration

import (
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
	old := builtIn(distOf(t, "0.1.0"))
	for _, c := range []struct {
		name, first, second string
		killed              bool
	}{
		{"upgrade-killed", old, binary, true},
		{"downgrade", binary, old, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			start := func(binary string) *runner {
				r, err := initRunnerOf(t.Context(), binary, w.config(map[string]any{"name": c.name}))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(r.Kill)
				return r
			}
			first := start(c.first)
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
			takeOver(t, w, start(c.second), 3)
			if c.killed { // the next start takes the killed one's key away, now that no Droplet of its is left
				next := start(c.second)
				next.provisioner.Shutdown(t.Context())
				next.Kill()
			}
			w.assertNothingLeft(t)
		})
	}
}

// takeOver has a manager take over the n Droplets that another has left, and destroy them.
func takeOver(t *testing.T, w *world, r *runner, n int) {
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
	w.awaitEmpty(t)
}

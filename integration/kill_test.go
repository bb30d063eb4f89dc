//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestKillAtEveryRequest kills the plugin, which cannot clean up after kill -9,
// around the k-th request of a life: before DigitalOcean has it, and after that
// was carried out and before the plugin has the answer. For every k the next
// start finds every Droplet, and after it nothing is left.
func TestKillAtEveryRequest(t *testing.T) {
	if os.Getenv("TEST_KILL") == "" {
		t.Skip("it takes minutes: set TEST_KILL=1, or type make verify")
	}
	t.Parallel()
	// How many requests a life has is found out by one that is not killed.
	k := newKiller(t, "kill-0", 0, false)
	if err := k.life(t); err != nil {
		t.Fatal(err)
	}
	k.check(t)
	total := k.seen
	t.Logf("a life has %d requests", total)
	if total < 12 {
		t.Fatalf("a life of %d requests shows too little", total)
	}
	for at := 1; at <= total; at++ {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d before=%v", at, before), func(t *testing.T) {
				t.Parallel()
				k := newKiller(t, fmt.Sprintf("kill-%d-%v", at, before), at, before)
				if err := k.life(t); err == nil && k.killed {
					t.Error("the life of a killed plugin went well")
				}
				// The runner starts it again: once to take over, once more to
				// sweep what only a start without Droplets can know to be left over.
				for range 2 {
					if err := k.life(t); err != nil {
						t.Fatalf("after the kill: %v", err)
					}
				}
				k.check(t)
			})
		}
	}
}

// killer is a DigitalOcean that kills its client once.
type killer struct {
	*world
	at     int  // around which request; 0 = none
	before bool // before it is carried out, or after that
	name   string

	mu     sync.Mutex
	seen   int // requests
	killed bool
}

func newKiller(t *testing.T, name string, at int, before bool) *killer {
	k := &killer{at: at, before: before, name: name}
	k.world = newWorld(t, dosim.Options{BootTime: 200 * time.Millisecond, DeleteTime: 200 * time.Millisecond, PerMinute: -1}, k.wrap)
	return k
}

func (k *killer) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		k.seen++
		now := k.seen == k.at
		k.killed = k.killed || now
		k.mu.Unlock()
		if !now {
			next.ServeHTTP(w, r)
			return
		}
		if !k.before {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		if pid, err := host.Holder(k.name); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		panic(http.ErrAbortHandler)
	})
}

// life starts the plugin, scales to 12 if nothing is there and to 0, and closes it.
func (k *killer) life(t *testing.T) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	log := hclog.NewNullLogger()
	config := mustJSON(t, k.config(map[string]any{"name": k.name, "max_instances": 12}))
	r, err := fleeting.RunPlugin(binary, config, fleeting.WithPluginLogger(log))
	if err != nil {
		return err
	}
	defer r.Kill()
	group := r.InstanceGroup()
	if _, err := group.Init(ctx, log, provider.Settings{}); err != nil {
		return err
	}
	states, err := k.until(ctx, group, func(map[string]provider.State) bool { return true })
	if err != nil {
		return err
	}
	if len(states) == 0 && !k.killed {
		if n, err := group.Increase(ctx, 12); err != nil || n != 12 {
			return fmt.Errorf("Increase(12) = %d, %w", n, err)
		}
		if states, err = k.until(ctx, group, func(s map[string]provider.State) bool {
			return count(s, provider.StateRunning) == 12
		}); err != nil {
			return err
		}
	}
	var names []string
	for name := range states {
		names = append(names, name)
	}
	// Refused is no failure: a Droplet that is on its way out already has a
	// pending event. The plugin goes on by itself.
	_, refused := group.Decrease(ctx, names)
	if _, err := k.until(ctx, group, func(s map[string]provider.State) bool {
		return count(s, provider.StateDeleted) == len(s)
	}); err != nil {
		return errors.Join(err, refused)
	}
	return group.Shutdown(ctx)
}

// until updates until done is true of the states shown.
func (k *killer) until(ctx context.Context, group provider.InstanceGroup, done func(map[string]provider.State) bool) (map[string]provider.State, error) {
	for {
		states := map[string]provider.State{}
		if err := group.Update(ctx, func(id string, s provider.State) { states[id] = s }); err != nil {
			return nil, err
		}
		if done(states) {
			return states, nil
		}
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), fmt.Errorf("states: %v", states))
		}
	}
}

func count(states map[string]provider.State, s provider.State) int {
	n := 0
	for _, is := range states {
		if is == s {
			n++
		}
	}
	return n
}

// check asserts that nothing is left, and that no create was repeated.
func (k *killer) check(t *testing.T) {
	t.Helper()
	k.assertNothingLeft(t)
	if n := len(k.sim.Ledger()); n > 12 {
		t.Errorf("%d Droplets were made, want at most 12", n)
	}
}

//go:build unix

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
)

// TestKillAtEveryRequest kills the plugin, which cannot clean up after kill -9, around
// the k-th request of a life: before DigitalOcean has it, and after that was carried out
// and before the plugin has the answer. For every k the next start finds every Droplet,
// and after it nothing is left.
func TestKillAtEveryRequest(t *testing.T) {
	long(t)
	t.Parallel()
	total := killAt(t, 0, false) // which is no request: this life shows how many there are
	t.Logf("a life has %d requests", total)
	if total < 12 {
		t.Fatalf("a life of %d requests shows too little", total)
	}
	for at := 1; at <= total; at++ {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d before=%v", at, before), func(t *testing.T) {
				t.Parallel()
				killAt(t, at, before)
			})
		}
	}
}

// killAt lives a life that ends at a request, before or after that is carried out, and then
// two more: one takes over, and one sweeps what only a start without Droplets can know to be
// left over. It returns how many requests the first one had.
func killAt(t *testing.T, at int, before bool) (requests int) {
	t.Helper()
	name := fmt.Sprintf("kill-%d-%v", at, before)
	var seen, killed atomic.Int32
	w := newWorld(t, dosim.Options{BootTime: 200 * time.Millisecond, DeleteTime: 200 * time.Millisecond, PerMinute: -1},
		func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if int(seen.Add(1)) != at {
					next.ServeHTTP(w, r)
					return
				}
				killed.Store(1)
				if !before {
					next.ServeHTTP(httptest.NewRecorder(), r)
				}
				if pid, err := simulated.Host.Holder(name); err == nil {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				panic(http.ErrAbortHandler)
			})
		})
	config := w.config(map[string]any{"name": name, "max_instances": 12})
	if err := life(t, config, 12); (err != nil) != (killed.Load() == 1) {
		t.Errorf("the first life, killed %d times: %v", killed.Load(), err)
	}
	requests = int(seen.Load())
	for range 2 {
		if err := life(t, config, 0); err != nil {
			t.Fatalf("after the kill: %v", err)
		}
	}
	w.assertNothingLeft(t)
	if n := len(w.Sim.Ledger()); n > 12 {
		t.Errorf("%d Droplets were made, want at most 12", n)
	}
	return requests
}

// life starts the plugin, creates n Droplets, does what comes then, deletes all that there are, and closes the plugin.
func life(t *testing.T, config map[string]any, n int, then ...func()) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	log := hclog.NewNullLogger()
	data, err := json.Marshal(config)
	if err != nil {
		return err
	}
	r, err := fleeting.RunPlugin(simulated.Plugin, data, fleeting.WithPluginLogger(log))
	if err != nil {
		return err
	}
	defer r.Kill()
	group := r.InstanceGroup()
	if _, err := group.Init(ctx, log, provider.Settings{}); err != nil {
		return err
	}
	states := map[string]provider.State{}
	until := func(all ...provider.State) error { // are in one of these
		other := func(s provider.State) bool { return !slices.Contains(all, s) }
		for {
			clear(states)
			err := group.Update(ctx, func(id string, s provider.State) { states[id] = s })
			if err != nil || len(all) == 0 || !slices.ContainsFunc(slices.Collect(maps.Values(states)), other) {
				return err
			}
		}
	}
	if err := until(); err != nil {
		return err
	}
	if n > 0 {
		if got, err := group.Increase(ctx, n); err != nil || got != n {
			return fmt.Errorf("Increase(%d) = %d, %w", n, got, err)
		}
		if err := until(provider.StateRunning); err != nil || len(states) != n {
			return fmt.Errorf("of %d Droplets %d run: %w", n, len(states), err)
		}
	}
	for _, do := range then {
		do()
	}
	// Refused is no failure: a Droplet that is on its way out already has a
	// pending event. The plugin goes on by itself.
	_, refused := group.Decrease(ctx, slices.Collect(maps.Keys(states)))
	if err := until(provider.StateDeleted); err != nil {
		return errors.Join(err, refused)
	}
	return group.Shutdown(ctx)
}

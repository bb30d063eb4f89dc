package provider

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// pooled counts how often its idle connections are closed.
type pooled struct {
	http.RoundTripper
	closed *int
}

func (p pooled) CloseIdleConnections() { *p.closed++ }

// TestNothingIsLeftOfAProcess: after Shutdown and after an Init that failed no
// idle connection stays, whose goroutines would, and the lock is free. A process that
// made nothing is not remembered.
func TestNothingIsLeftOfAProcess(t *testing.T) {
	for name, o := range map[string]options{
		"shutdown": nil, "wrong token": {"token": "wrong"}, "wrong size": {"size": "s-0"},
		"no look-up of its key": {"ssh_key_file": filepath.Join(t.TempDir(), "id")},
	} {
		t.Run(name, func(t *testing.T) {
			onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
				sim.Inject(dosim.Fault{Op: "GET /v2/account/keys/{id}", Status: 503, Times: -1})
				g := configured(t, sim, o)
				closed := 0
				g.transport = pooled{g.transport, &closed}
				_, _, err := tryInit(t, g)
				if (err == nil) != (o == nil) {
					t.Fatal(err)
				}
				if err == nil {
					if closed > 0 {
						t.Error("connections are closed while they are used")
					}
					_ = g.Shutdown(t.Context())
				}
				if closed == 0 {
					t.Error("idle connections stay")
				}
				seen, err := state.Peek(t.Context(), g.config.APIURL, "ci")
				if err != nil || seen.Held || seen.Ignored != nil || len(seen.Droplets) > 0 || (len(seen.Runs) > 0) != (o == nil) {
					t.Errorf("%v; left: %+v", err, seen)
				}
			})
		})
	}
}

// TestDeletesWhileListsHang: an Update that waits for a list still has the time
// to send the deletes that are due.
func TestDeletesWhileListsHang(t *testing.T) {
	onAccount(t, dosim.Options{Latency: 150 * time.Millisecond}, func(t *testing.T, sim *dosim.Sim) {
		g := start(t, sim, nil)
		defer func() { _ = g.Shutdown(t.Context()) }()
		increase(t, g, 1)
		time.Sleep(time.Minute)
		states(t, g)
		refused := dosim.PendingEvent()
		refused.Times = 1
		sim.Inject(refused)
		if _, err := g.Decrease(t.Context(), names(sim)); err == nil {
			t.Fatal("the DELETE was not refused")
		}
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Hang: true, Times: -1})
		time.Sleep(10 * time.Second)
		if d := took(func() { _ = g.Update(t.Context(), func(string, provider.State) {}) }); d > 15*time.Second {
			t.Errorf("Update took %s", d)
		}
		time.Sleep(5 * time.Second)
		if n := len(sim.Droplets()); n != 0 {
			t.Error("the DELETE that was due was not sent")
		}
		sim.ClearFaults()
	})
}

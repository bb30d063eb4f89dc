package provider

import (
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// pooled counts how often its idle connections are let go.
type pooled struct {
	http.RoundTripper
	closed *int
}

func (p pooled) CloseIdleConnections() { *p.closed++ }

// TestNothingIsLeftOfAProcess: after Shutdown and after an Init that failed no
// idle connection stays, whose goroutines would, and no note of a process that
// has ended.
func TestNothingIsLeftOfAProcess(t *testing.T) {
	for name, o := range map[string]options{"shutdown": nil, "wrong token": {"token": "wrong"}, "wrong size": {"size": "s-0"}} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			t.Setenv("XDG_CACHE_HOME", cache)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{})
				defer sim.Close()
				g := configured(t, sim, o)
				closed := 0
				g.transport = pooled{g.transport, &closed}
				_, err := g.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{})
				if (err == nil) != (o == nil) {
					t.Fatal(err)
				}
				if err == nil {
					if closed > 0 {
						t.Error("connections are let go while they are used")
					}
					_ = g.Shutdown(t.Context())
				}
				if closed == 0 {
					t.Error("idle connections stay")
				}
				if left, _ := filepath.Glob(filepath.Join(cache, "*", "*.pid")); len(left) > 0 {
					t.Errorf("%v stay", left)
				}
			})
		})
	}
}

// TestDestroysWhileListsHang: an Update that waits for a list still has the time
// to send the deletes that are due.
func TestDestroysWhileListsHang(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{Latency: 150 * time.Millisecond})
		defer sim.Close()
		g := start(t, sim, nil)
		defer func() { _ = g.Shutdown(t.Context()) }()
		if _, err := g.Increase(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		var name string
		for id := range states(t, g) {
			name = id
		}
		refused := dosim.PendingEvent()
		refused.Times = 1
		sim.Inject(refused)
		if _, err := g.Decrease(t.Context(), []string{name}); err == nil {
			t.Fatal("the DELETE was not refused")
		}
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Hang: true})
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

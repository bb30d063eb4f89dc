package provider

import (
	"testing"
	"testing/synctest"
	"time"

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

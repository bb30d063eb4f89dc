package dosim_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Many clients at once, with hooks that ask back: the race detector watches, and no Droplet is made or lost twice.
func TestManyClientsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made, gone atomic.Int32
		var sim *dosim.Sim
		sim = dosim.New(dosim.Options{PerMinute: -1, PerHour: -1, Latency: 100 * time.Millisecond, Hooks: dosim.Hooks{
			Created: func(dosim.Droplet) { made.Add(1); sim.Droplets() },
			Gone:    func(dosim.Droplet) { gone.Add(1); sim.Ledger() },
		}})
		c := client(t, sim)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				d, _, err := c.Droplets.Create(ctx, single(fmt.Sprint("ci-", i), "fleeting"))
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					if _, _, err := c.Droplets.ListByTag(ctx, "fleeting", &godo.ListOptions{PerPage: 200}); err != nil {
						t.Error(err)
					}
				}
				if _, err := c.Droplets.Delete(ctx, d.ID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		sim.Close()
		if made.Load() != 10 || gone.Load() != 10 || truth(sim) != "" || len(sim.Ledger()) != 10 {
			t.Errorf("made %d, gone %d, left %q, billed %d", made.Load(), gone.Load(), truth(sim), len(sim.Ledger()))
		}
	})
}

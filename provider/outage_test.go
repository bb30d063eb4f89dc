package provider

import (
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestPagesOfSomethingInBetween: the HTML page of a proxy or of a protection service
// says nothing about a Droplet, whatever its status: none is taken for gone.
func TestPagesOfSomethingInBetween(t *testing.T) {
	for _, status := range []int{200, 401, 403, 404} {
		onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
			g := start(t, sim, nil)
			increase(t, g, 2)
			time.Sleep(time.Minute)
			states(t, g)
			page := dosim.Fault{Status: status, Body: dosim.HTMLBody, Times: -1}
			check := func(want provider.State) {
				t.Helper()
				for range 12 {
					time.Sleep(5 * time.Second)
					_ = g.Update(t.Context(), func(id string, s provider.State) {
						if s != want {
							t.Errorf("with pages of status %d %s is shown as %s", status, id, s)
						}
					})
				}
			}
			page.Op = "GET *"
			sim.Inject(page)
			check(provider.StateRunning)
			sim.ClearFaults()

			page.Op = "DELETE *"
			sim.Inject(page)
			_, _ = g.Decrease(t.Context(), names(sim))
			check(provider.StateDeleting)
			if len(sim.Droplets()) != 2 {
				t.Error("Droplets were deleted all the same")
			}
			sim.ClearFaults()
			time.Sleep(time.Minute)
			states(t, g)
			if err := g.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			nothingLeft(t, sim)
		})
	}
}

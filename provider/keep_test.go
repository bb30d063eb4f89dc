package provider

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestKeep: a Droplet with the tag fleeting-keep is a person's. The runner is told
// that it is gone; it is never deleted, counts for max_instances, and is named with
// its price every hour, also after a restart.
func TestKeep(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		o := options{"max_instances": 2}
		var kept string
		for i := range 2 {
			g := configured(t, sim, o)
			_, book, err := tryInit(t, g)
			if err != nil {
				t.Fatal(err)
			}
			increase(t, g, 2-i)
			time.Sleep(time.Minute)
			last := states(t, g)[kept]
			if i == 0 {
				kept = sim.Droplets()[0].Name
				sim.Tag(sim.Droplets()[0].ID, "fleeting-keep")
			}
			for range 3 {
				time.Sleep(50 * time.Minute)
				if state, ok := states(t, g)[kept]; ok {
					last = state
				}
			}
			if i == 0 && last != provider.StateDeleted || i == 1 && last != "" {
				t.Errorf("process %d: shown last as %q", i, last)
			}
			_, _ = g.Decrease(t.Context(), []string{kept})
			if n, err := g.Increase(t.Context(), 1); n != 0 || err != nil {
				t.Errorf("process %d: Increase(1) = %d, %v", i, n, err)
			}
			if lines := book.lines("Droplets are kept by the tag fleeting-keep"); len(lines) < 2 || !strings.Contains(lines[0], "usd_per_hour=0.00893") || !strings.Contains(lines[0], kept) {
				t.Errorf("process %d warned: %q", i, lines)
			}
			for _, name := range names(sim) {
				if name != kept {
					decrease(t, g, name)
				}
			}
			_ = g.Shutdown(t.Context())
			if len(book.lines("Droplets are kept by a person, and billed")) != 1 {
				t.Error(book)
			}
			if !slices.Equal(names(sim), []string{kept}) {
				t.Errorf("process %d leaves %q", i, names(sim))
			}
		}
	})
}

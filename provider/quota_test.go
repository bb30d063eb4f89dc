package provider

import (
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestQuotaIsExplained: with the account's limit, how many Droplets the group
// has, and how many others there are, also while lists lack the youngest.
func TestQuotaIsExplained(t *testing.T) {
	for _, lag := range []time.Duration{0, 5 * time.Second} {
		onAccount(t, dosim.Options{DropletLimit: 5, ListLag: lag}, func(t *testing.T, sim *dosim.Sim) {
			for range 2 {
				sim.AddDroplet(dosim.Droplet{Name: "web", Created: time.Now().Add(-time.Hour)})
			}
			g := start(t, sim, options{"max_instances": 10})
			defer func() { _ = g.Shutdown(t.Context()) }()
			// One request for all four would be refused whole: what fits is asked for.
			if n, err := g.Increase(t.Context(), 4); n != 3 || err != nil {
				t.Fatalf("lag %s: Increase(4) with room for 3 = %d, %v", lag, n, err)
			}
			time.Sleep(10 * time.Second) // the backoff after a refusal
			sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Behaviour: dosim.ListLags, For: 2 * lag, Times: -1})
			_, err := g.Increase(t.Context(), 1)
			want := "the account's limit is 5 Droplets: this group has 3, and there are 2 others on the account"
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("lag %s: it says %v, want %s", lag, err, want)
			}
		})
	}
}

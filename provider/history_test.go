package provider

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
)

// TestHistoryOfLog: what report reads in the plugin's own lines is what DigitalOcean bills, to the cent: of
// Droplets that are deleted, that vanish, that stay over a restart, and that are deleted as the plugin stops.
func TestHistoryOfLog(t *testing.T) {
	onAccount(t, dosim.Options{Latency: 150 * time.Millisecond}, func(t *testing.T, sim *dosim.Sim) {
		var book logBook
		runner := hclog.New(&hclog.LoggerOptions{Output: &book, JSONFormat: true})
		begin := func() *InstanceGroup {
			g := configured(t, sim, options{"size": "s-2vcpu-4gb"})
			if _, err := g.Init(t.Context(), runner, provider.Settings{}); err != nil {
				t.Fatal(err)
			}
			return g
		}
		work := func(g *InstanceGroup, minutes int) {
			for range minutes * 3 {
				states(t, g)
				time.Sleep(20 * time.Second)
			}
		}
		g := begin()
		increase(t, g, 6)
		work(g, 60)
		decrease(t, g, names(sim)[:2]...)
		work(g, 5)
		sim.Destroy(sim.Droplets()[0].ID)
		work(g, 5)
		crash(g)
		g = begin()
		increase(t, g, 1)
		work(g, 90)
		runner.Info("Updating job...")
		crash(g)
		sim.Destroy(sim.Droplets()[0].ID) // while no plugin process runs
		lost := time.Now()
		runner.Info("Starting multi-runner from /etc/gitlab-runner/config.toml...")
		g = begin()
		work(g, 1)
		decrease(t, g, names(sim)[:1]...)
		if err := g.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}

		log := strings.NewReplacer(`"@message"`, `"msg"`, `"@timestamp"`, `"time"`).Replace(book.String()) // as the runner writes it
		h, err := history.Read(strings.NewReader(log), time.Time{}, func(int, time.Time) {})
		if err != nil {
			t.Fatal(err)
		}
		h.To = time.Now()
		billed := 0.0
		for _, bill := range sim.Ledger() {
			billed += bill.Dollars
		}
		u := h.Usage("", time.UTC)
		if len(h.Droplets) != 7 || math.Abs(u.All.USD-billed) > 0.005 {
			t.Errorf("%d Droplets, %v USD; billed are %v\n%+v", len(h.Droplets), u.All.USD, billed, h.Droplets)
		}
		stay := 0
		for _, d := range h.Droplets {
			if d.Active.IsZero() || d.Size != "s-2vcpu-4gb" || d.Region != "nyc3" || d.Group != "ci" || d.PriceHourly == 0 {
				t.Errorf("%+v", d)
			}
			if d.Gone.IsZero() {
				stay++
			} else if d.Gone.After(lost) && slices.Contains(names(sim), d.Name) {
				t.Errorf("%s is there", d.Name)
			}
		}
		if stay != len(sim.Droplets()) {
			t.Errorf("%d Droplets stay, not %d", stay, len(sim.Droplets()))
		}
	})
}

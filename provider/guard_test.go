package provider

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/hostlock"
)

// max_hourly_cost is kept by the number of Droplets, at the price of the dearest
// size, and the log says what holds. What cannot be kept is refused.
func TestMaxHourlyCost(t *testing.T) {
	sizes := []string{"s-1vcpu-1gb", "s-2vcpu-4gb"} // 0.00893 and 0.03571 USD
	for _, c := range []struct {
		usd     float64
		size    []string
		most    int // max_instances; 0 = the account's 25
		unread  bool
		want    int
		says    string
		refused string
	}{
		{usd: 0.1786, size: sizes[:1], want: 20, says: "limited_by=max_hourly_cost"}, // 20 of them cost exactly that
		{usd: 0.1785, size: sizes[:1], want: 19, says: "limited_by=max_hourly_cost"},
		{usd: 0.1786, size: sizes, want: 5, says: "dearest_size=s-2vcpu-4gb"},
		{usd: 0.1786, size: []string{sizes[1], sizes[0]}, want: 5, says: "dearest_size=s-2vcpu-4gb"},
		{usd: 5, size: sizes, want: 25, says: "limited_by=max_instances"},
		{usd: 0.1786, size: sizes, most: 3, want: 3, says: "limited_by=max_instances"},
		{usd: 0.03, size: sizes, refused: "max_hourly_cost: 0.03 USD an hour is less than one Droplet of size s-2vcpu-4gb costs, 0.03571"},
		{usd: 1, size: sizes, unread: true, refused: "give the token the scope sizes:read"},
		{size: sizes, unread: true, want: 25}, // no guard, no need
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			ownState(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{DropletLimit: 25})
				defer sim.Close()
				if c.unread {
					sim.Inject(dosim.Fault{Op: "GET /v2/sizes", Status: 403, Times: -1})
				}
				o := options{"size": c.size}
				if c.usd > 0 {
					o["max_hourly_cost"] = c.usd
				}
				if c.most > 0 {
					o["max_instances"] = c.most
				}
				g := configured(t, sim, o)
				var log strings.Builder
				info, err := g.Init(t.Context(), hclog.New(&hclog.LoggerOptions{Output: &log}), provider.Settings{})
				defer func() { _ = g.Shutdown(t.Context()) }()
				if c.refused != "" {
					if err == nil || !strings.Contains(err.Error(), c.refused) {
						t.Errorf("Init says %v, want %s", err, c.refused)
					}
					return
				}
				if err != nil || info.MaxSize != c.want {
					t.Fatalf("MaxSize is %d, %v; want %d", info.MaxSize, err, c.want)
				}
				if !strings.Contains(log.String(), c.says) {
					t.Errorf("the log lacks %q:\n%s", c.says, log.String())
				}
				if n, err := g.Increase(t.Context(), 30); n != c.want || err != nil {
					t.Errorf("Increase(30) = %d, %v; want %d", n, err, c.want)
				}
			})
		})
	}
}

// A place without capacity is noted where other processes of the host find it,
// until it works again.
func TestRestsAreNoted(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		g := start(t, sim, options{"region": []string{"fra1", "ams3"}})
		defer func() { _ = g.Shutdown(t.Context()) }()
		noted := func() map[instancegroup.Placement]time.Time {
			t.Helper()
			rests, err := hostlock.Rests(g.config.APIURL, g.config.Name)
			if err != nil {
				t.Error(err)
			}
			return rests
		}
		if rests := noted(); len(rests) > 0 {
			t.Errorf("before anything was refused: %v", rests)
		}
		sim.SetRegionAvailable("fra1", false)
		if n, err := g.Increase(t.Context(), 1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		at := instancegroup.Placement{Size: g.config.Sizes[0], Region: "fra1"}
		if rests := noted(); len(rests) != 1 || time.Until(rests[at]) <= 50*time.Second {
			t.Errorf("after %s was refused: %v", at, rests)
		}
		time.Sleep(2 * time.Minute)
		if rests := noted(); len(rests) > 0 {
			t.Errorf("when it rests no longer: %v", rests)
		}
	})
}

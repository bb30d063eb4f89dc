package provider

import (
	"fmt"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestImageTag: Droplets boot the newest image that has the tag. It is looked up every
// ten minutes, and after a refusal; that it cannot be looked up stops nothing.
func TestImageTag(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		golden := func(regions ...string) int {
			return sim.AddImage(dosim.Image{Tags: []string{"golden"}, Regions: regions})
		}
		first := golden("nyc3", "ams3")
		time.Sleep(time.Second) // the next is newer
		second := golden("nyc3")
		g := configured(t, sim, options{"image": nil, "image_tag": "golden", "region": []string{"nyc3", "ams3"}})
		_, book, err := tryInit(t, g)
		if err != nil {
			t.Fatal(err)
		}
		creates := func(image int, region string, lookUps int) {
			t.Helper()
			before := sim.RequestCounts()["GET /v2/images"]
			increase(t, g, 1)
			all := sim.Droplets()
			last := all[len(all)-1]
			if got, want := fmt.Sprint(last.Image, last.Region), fmt.Sprint(image, region); got != want {
				t.Errorf("created %s, not %s", got, want)
			}
			if n := sim.RequestCounts()["GET /v2/images"] - before; n != lookUps {
				t.Errorf("%d look-ups, not %d", n, lookUps)
			}
		}
		creates(second, "nyc3", 0) // as Init saw it
		third := golden("nyc3")
		time.Sleep(9 * time.Minute)
		creates(second, "nyc3", 0)
		time.Sleep(time.Minute)
		creates(third, "nyc3", 1)

		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Status: 422})
		creates(first, "ams3", 0)
		creates(first, "ams3", 1) // it may have been deleted

		for times, f := range []dosim.Fault{{Status: 404, Body: dosim.HTMLBody}, {Hang: true}} {
			f.Op, f.Times = "GET /v2/images", -1
			sim.Inject(f)
			time.Sleep(10 * time.Minute)
			if d := took(func() { increase(t, g, 1); increase(t, g, 1) }); d > 5*time.Second {
				t.Errorf("two creates took %s", d)
			}
			if n := len(book.lines("going on with the last")); n != times+1 {
				t.Errorf("%d warnings", n)
			}
			sim.ClearFaults()
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

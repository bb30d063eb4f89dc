package digitalocean

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Droplets are tagged and deleted together; the tag is made once, and again if
// somebody removes it.
func TestDeleteTagged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := simulated(t)
		var ids []int64
		for range 4 {
			ids = append(ids, int64(sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxa", Tags: []string{"fleeting"}})))
		}
		const tag = "fleeting-delete:ci"
		for _, some := range [][]int64{ids[:2], ids[2:3]} {
			if err := c.TagDroplets(t.Context(), tag, some); err != nil {
				t.Fatal(err)
			}
		}
		if id, err := c.DeleteTagged(t.Context(), tag); err != nil || id == "" {
			t.Fatal(id, err)
		}
		time.Sleep(10 * time.Second)
		left := sim.Droplets()
		if len(left) != 1 || int64(left[0].ID) != ids[3] {
			t.Errorf("left: %v", left)
		}
		if n := sim.RequestCounts()[opCreateTag]; n != 1 || !slices.Contains(sim.Tags(), tag) {
			t.Errorf("the tag was made %d times", n)
		}
		if err := c.RemoveTag(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
		if err := c.TagDroplets(t.Context(), tag, ids[3:]); err != nil || !slices.Contains(sim.Tags(), tag) {
			t.Errorf("a tag that somebody removed: %v", err)
		}
	})
}

// Nothing is ever deleted by a tag that may be on what is to live.
func TestDeleteTaggedRefuses(t *testing.T) {
	var sent int
	c := over(t, always(&sent, 204, ""))
	for _, tag := range []string{"", "fleeting", "fleeting-group:ci", "fleeting-run:7k2m9qxa", "fleeting-delete:", "fleeting-delete:c i", "fleeting-delete:ci-7k2m&x"} {
		if _, err := c.DeleteTagged(t.Context(), tag); !errors.Is(err, ig.ErrRefused) {
			t.Errorf("%q: %v", tag, err)
		}
	}
	if sent > 0 {
		t.Errorf("%d requests were sent", sent)
	}
}

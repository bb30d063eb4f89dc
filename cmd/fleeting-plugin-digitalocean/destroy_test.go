package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// Droplets that are left are named once, with the reason of the first, and those of other groups are not told of.
func TestUndeleted(t *testing.T) {
	g := group{Account: config.Account{Name: "ci"}}
	var left []inventory.Remaining
	for id, why := range []error{errors.New("busy"), errors.New("down"), nil} {
		d := instancegroup.Droplet{ID: int64(id), Name: fmt.Sprintf("ci-w4n27k2m9%d", id)}
		left = append(left, inventory.Remaining{Droplet: d, Why: why})
		g.items = append(g.items, newItem(inventory.Leftover{Kind: inventory.DropletKind, Name: d.Name, Droplet: d}, time.Now()))
	}
	left = append(left, inventory.Remaining{Droplet: instancegroup.Droplet{ID: 9, Name: "big-w4n27k2m9a"}})
	for gone, want := range []string{
		"3 Droplets not confirmed to be gone, and may be billed: ci-w4n27k2m90 ci-w4n27k2m91 ci-w4n27k2m92: " +
			"DigitalOcean was not done within 1m (--timeout): busy",
		"2 Droplets not confirmed to be gone, and may be billed: ci-w4n27k2m91 ci-w4n27k2m92: " +
			"DigitalOcean was not done within 1m (--timeout): down",
		"1 Droplet not confirmed to be gone, and may be billed: ci-w4n27k2m92: DigitalOcean was not done within 1m (--timeout)",
	} {
		err := g.undeleted(left[gone:], overdue{time.Minute, "1m"})
		if err == nil || err.Error() != "group ci: "+want {
			t.Errorf("%v\nwant %s", err, want)
		}
		for i, x := range g.items {
			if x.Deleted != (i < gone) {
				t.Errorf("%s: deleted %t", x.Name, x.Deleted)
			}
		}
	}
	if err := g.undeleted(left[3:], nil); err != nil {
		t.Errorf("all are gone: %v", err)
	}
}

package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// Each Droplet that is left has its own reason, and those of other groups are not told of.
func TestUndeleted(t *testing.T) {
	busy, down := errors.New("busy"), errors.New("down")
	spent := func(message string) error {
		return &instancegroup.CloudError{Op: "GET /v2/droplets/{id}", Class: instancegroup.ErrRateLimited, Message: message}
	}
	left := func(name string, why error) inventory.Remaining {
		return inventory.Remaining{Droplet: instancegroup.Droplet{Name: name, Tags: []string{"fleeting", "fleeting-group:ci"}}, Why: why}
	}
	all := []inventory.Remaining{left("ci-w4n27k2m9a", busy), left("ci-w4n27k2m9b", down), left("ci-w4n27k2m9c", busy), left("ci-w4n27k2m9d", nil),
		left("ci-w4n27k2m9e", spent("wait 11s")), left("ci-w4n27k2m9f", spent("wait 12s"))}
	g := group{Account: config.Account{Name: "ci"}}
	err := g.undeleted(all, overdue{time.Minute, "1m"})
	for _, want := range []string{
		"2 Droplets not confirmed to be gone, and may be billed: ci-w4n27k2m9a ci-w4n27k2m9c: DigitalOcean was not done within 1m (--timeout): busy",
		": ci-w4n27k2m9b: DigitalOcean was not done within 1m (--timeout): down",
		": ci-w4n27k2m9e ci-w4n27k2m9f: DigitalOcean was not done within 1m (--timeout): GET /v2/droplets/{id}: wait 11s",
		": ci-w4n27k2m9d: DigitalOcean was not done within 1m (--timeout)",
	} {
		if err == nil || !strings.Contains(err.Error()+"\n", want+"\n") {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	if err := (group{Account: config.Account{Name: "big"}}).undeleted(all, busy); err != nil {
		t.Errorf("another group: %v", err)
	}
}

// One whose deletion is not answered does not keep the others.
func TestRemoveRestThroughHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		f, err := dosim.ParseFault("DELETE /v2/tags/{tag}: hang")
		if err != nil {
			t.Fatal(err)
		}
		sim.Inject(f)
		api, err := digitalocean.New(digitalocean.Options{URL: "https://api.digitalocean.com", Transport: sim.Transport(),
			Token: func() (string, error) { return dosim.DefaultToken, nil }})
		if err != nil {
			t.Fatal(err)
		}
		hangs := &leftover{found: inventory.Leftover{Kind: inventory.TagKind, Name: "fleeting-delete:ci"}}
		other := &leftover{found: inventory.Leftover{Kind: inventory.TagKind, Name: "fleeting-other:ci"}}
		g := group{Account: config.Account{Name: "ci"}, api: api, leftovers: []*leftover{hangs, other}}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		began := time.Now()
		err = g.removeRest(ctx, nil)
		if err == nil || !strings.Contains(err.Error(), "tag fleeting-delete:ci") || hangs.Deleted || !other.Deleted || time.Since(began) > time.Minute {
			t.Errorf("after %s: %v; %t, %t", time.Since(began), err, hangs.Deleted, other.Deleted)
		}
	})
}

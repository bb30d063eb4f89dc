package main

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
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

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) { return a(req) }

// A tag whose deletion is not answered keeps the next one waiting for 20 s, not for all of --timeout.
func TestDeleteRestIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, err := digitalocean.New(digitalocean.Options{URL: "https://none.example", Token: func() (string, error) { return "t", nil },
			Transport: answers(func(req *http.Request) (*http.Response, error) {
				if req.URL.Path == "/v2/tags/first" {
					<-req.Context().Done()
					return nil, req.Context().Err()
				}
				return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: req}, nil
			})})
		if err != nil {
			t.Fatal(err)
		}
		g := group{Account: config.Account{Name: "ci"}, api: api}
		for _, tag := range []string{"first", "second"} {
			g.items = append(g.items, newItem(inventory.Leftover{Kind: inventory.TagKind, Name: tag}, time.Now()))
		}
		began := time.Now()
		if err := g.deleteRest(t.Context()); err == nil || time.Since(began) != restBound || g.items[0].Deleted || !g.items[1].Deleted {
			t.Errorf("%v after %s; deleted: %t, %t", err, time.Since(began), g.items[0].Deleted, g.items[1].Deleted)
		}
	})
}

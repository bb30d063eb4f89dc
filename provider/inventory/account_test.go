package inventory

import (
	"errors"
	"fmt"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// inject makes faults, as dosim writes them.
func inject(t *testing.T, sim *dosim.Sim, faults ...string) {
	t.Helper()
	for _, text := range faults {
		f, err := dosim.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		sim.Inject(f)
	}
}

func client(t *testing.T, sim *dosim.Sim) *digitalocean.Client {
	t.Helper()
	api, err := digitalocean.New(digitalocean.Options{URL: "https://api.digitalocean.com", Transport: sim.Transport(),
		Token: func() (string, error) { return dosim.DefaultToken, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// many are groups with a Droplet each, on one account.
func many(t *testing.T, n int, faults ...string) (*dosim.Sim, *digitalocean.Client, []string) {
	t.Helper()
	sim := dosim.New(dosim.Options{})
	t.Cleanup(sim.Close)
	var groups []string
	for i := range n {
		group := fmt.Sprintf("ci-%d", i)
		groups = append(groups, group)
		sim.AddDroplet(dosim.Droplet{Name: group + "-x7k2m9qxab", Tags: []string{"fleeting", instancegroup.GroupTag(group)}})
	}
	inject(t, sim, faults...)
	return sim, client(t, sim), groups
}

// More groups than a minute's lists of keys, of which DigitalOcean allows 10: each is
// found out about, with one list.
func TestKeysAreListedOnce(t *testing.T) {
	sim, api, groups := many(t, 15)
	var account Account
	for _, group := range groups {
		l, err := account.Find(t.Context(), api, group, nil)
		if err != nil || len(l.Unread) > 0 || len(l.Droplets) != 1 {
			t.Errorf("%s: %v, unread %v, %v", group, l.Droplets, l.Unread, err)
		}
	}
	asked := sim.RequestCounts()
	if keys, tags := asked["GET /v2/account/keys"], asked["GET /v2/tags"]; keys != 1 || tags != 1 {
		t.Errorf("15 groups took %d lists of keys and %d of tags, want one of each", keys, tags)
	}
}

// What cannot be listed is named, and hides no Droplets; keys and tags are not asked for
// again. But where DigitalOcean refuses the list of GPU Droplets there are none.
func TestUnlistedHidesNoDroplets(t *testing.T) {
	for fault, class := range map[string]error{
		"GET /v2/account/keys: 403 times forever":                       instancegroup.ErrForbidden,
		"GET /v2/account/keys: 429 header Retry-After=30 times forever": instancegroup.ErrRateLimited,
		"GET /v2/tags: 503 times forever":                               instancegroup.ErrUnconfirmed,
		"GET /v2/droplets?type=gpus: 403 times forever":                 instancegroup.ErrForbidden,
		"GET /v2/droplets?type=gpus: 503 times forever":                 instancegroup.ErrUnconfirmed,
		"GET /v2/droplets?type=gpus: 422 times forever":                 nil,
		"GET /v2/droplets?type=gpus: 404 times forever":                 nil,
	} {
		sim, api, groups := many(t, 2, fault)
		var account Account
		var asked []int
		for _, group := range groups {
			l, err := account.Find(t.Context(), api, group, nil)
			if err != nil || len(l.Droplets) != 1 || !errors.Is(errors.Join(l.Unread...), class) {
				t.Errorf("%s: %v, unread %v, %v", fault, l.Droplets, l.Unread, err)
			}
			asked = append(asked, sim.RequestCounts()["GET /v2/account/keys"]+sim.RequestCounts()["GET /v2/tags"])
		}
		if asked[0] != asked[1] {
			t.Errorf("%s: keys and tags were asked for %d times, then again", fault, asked[0])
		}
	}
	for fault, class := range map[string]error{
		"GET /v2/droplets?type=gpus: 401 times forever": instancegroup.ErrUnauthorized,
		"GET /v2/droplets: 403 times forever":           instancegroup.ErrForbidden,
	} {
		_, api, groups := many(t, 1, fault)
		if f, err := Look(t.Context(), api, groups[0]); !errors.Is(err, class) {
			t.Errorf("%s: %v, %v", fault, f, err)
		}
	}
}

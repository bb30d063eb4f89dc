package inventory

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

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

// Keys or tags that cannot be listed are named, and hide no Droplets. They are asked for once,
// also if that fails: DigitalOcean allows 10 lists of keys a minute. Where it does not know
// the list of GPU Droplets there are none; one that it does not grant is named too.
func TestUnlisted(t *testing.T) {
	for fault, class := range map[string]error{
		"": nil,
		"GET /v2/account/keys: 403 times forever":                       instancegroup.ErrForbidden,
		"GET /v2/account/keys: 429 header Retry-After=30 times forever": instancegroup.ErrRateLimited,
		"GET /v2/tags: 503 times forever":                               instancegroup.ErrUnconfirmed,
		"GET /v2/droplets?type=gpus: 403 times forever":                 instancegroup.ErrForbidden,
		"GET /v2/droplets?type=gpus: 422 times forever":                 nil,
		"GET /v2/droplets?type=gpus: 404 times forever":                 nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(dosim.Options{})
			defer sim.Close()
			if fault != "" {
				inject(t, sim, fault)
			}
			api := client(t, sim)
			var account Account
			var asked []int
			for i := range 3 {
				group := fmt.Sprintf("ci-%d", i)
				sim.AddDroplet(dosim.Droplet{Name: group + "-x7k2m9qxab", Tags: []string{"fleeting", instancegroup.GroupTag(group)}})
				l, err := account.Find(t.Context(), api, group, nil)
				if err != nil || droplets(l) != 1 || !errors.Is(errors.Join(l.Unread...), class) {
					t.Errorf("%s: %v, unread %v, %v", fault, l.All, l.Unread, err)
				}
				asked = append(asked, sim.RequestCounts()["GET /v2/account/keys"]+sim.RequestCounts()["GET /v2/tags"])
			}
			if asked[0] != asked[2] || fault == "" && asked[0] != 2 {
				t.Errorf("%s: keys and tags were asked for %d times, then again: %d", fault, asked[0], asked[2])
			}
		})
	}
	for fault, class := range map[string]error{
		"GET /v2/droplets?type=gpus: 401 times forever": instancegroup.ErrUnauthorized,
		"GET /v2/droplets?type=gpus: 503 times forever": instancegroup.ErrUnconfirmed,
		"GET /v2/droplets: 403 times forever":           instancegroup.ErrForbidden,
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(dosim.Options{})
			defer sim.Close()
			inject(t, sim, fault)
			if f, err := Look(t.Context(), client(t, sim), "ci"); !errors.Is(err, class) {
				t.Errorf("%s: %v, %v", fault, f, err)
			}
		})
	}
}

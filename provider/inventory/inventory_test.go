package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// Keys that cannot be listed are named, and hide no Droplets. They are asked for once,
// also if that fails: DigitalOcean allows 10 lists of keys a minute. Where it does not know
// the list of GPU Droplets there are none; one that it does not grant is named too. Without a list of Droplets nothing is known.
func TestUnlisted(t *testing.T) {
	for fault, class := range map[string]error{
		"GET /v2/account/keys: 403 times forever":                       instancegroup.ErrForbidden,
		"GET /v2/account/keys: 429 header Retry-After=30 times forever": instancegroup.ErrRateLimited,
		"GET /v2/account/keys: 503 times forever":                       instancegroup.ErrUnconfirmed,
		"GET /v2/droplets?type=gpus: 403 times forever":                 instancegroup.ErrForbidden,
		"GET /v2/droplets?type=gpus: 422 times forever":                 nil,
		"GET /v2/droplets?type=gpus: 404 times forever":                 nil,
		"GET /v2/droplets?type=gpus: 401 times forever":                 instancegroup.ErrUnauthorized,
		"GET /v2/droplets?type=gpus: 503 times forever":                 instancegroup.ErrUnconfirmed,
		"GET /v2/droplets: 403 times forever":                           instancegroup.ErrForbidden,
	} {
		unknown := strings.Contains(fault, "401") || strings.Contains(fault, "gpus: 503") || strings.HasPrefix(fault, "GET /v2/droplets: 403")
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(dosim.Options{})
			defer sim.Close()
			inject(t, sim, fault)
			var account Account
			for i := range 3 {
				group := fmt.Sprintf("ci-%d", i)
				sim.AddDroplet(dosim.Droplet{Name: group + "-x7k2m9qxab", Tags: []string{"fleeting", instancegroup.GroupTag(group)}})
				asked := sim.RequestCounts()["GET /v2/account/keys"]
				all, found, err := account.Find(t.Context(), client(t, sim), group, nil)
				if unknown != (err != nil) || !unknown && len(all) != 1 || !errors.Is(errors.Join(append(found.Unread, err)...), class) {
					t.Errorf("%s: %v, unread %v, %v", fault, all, found.Unread, err)
				}
				if i > 0 && sim.RequestCounts()["GET /v2/account/keys"] != asked {
					t.Errorf("%s: keys are asked for again", fault)
				}
			}
		})
	}
}

// What is of a dead run of this host is an orphan, what is of another run is one with a
// doubt, and what is of another group is none.
func TestOrphans(t *testing.T) {
	dead := []string{"d0a0", "d0b0"}
	at := func(hour int) time.Time { return time.Date(2026, 11, 29, hour, 0, 0, 0, time.UTC) }
	all := orphans("ci", dead,
		[]instancegroup.Droplet{{ID: 1, Name: "ci-d0a07k2m9q", Created: at(8)},
			{ID: 2, Name: "ci-x7k27k2m9q", Created: at(9)}, {ID: 3, Name: "ci-x7k27k2m9r", Created: at(6)}},
		[]digitalocean.Key{{Name: "fleeting-ci-d0b07k2m9q"}, {Name: "fleeting-ci-x7k27k2m9q"}, {Name: "fleeting-ci-operator"},
			{Name: "fleeting-ci-big-d0b07k2m9q"}, {Name: "fleeting-ci-d0b07k2m9qx"}, {Name: "somebody's"}})
	var got []string
	for _, x := range all {
		got = append(got, fmt.Sprintf("%s %d %s", x, x.Created.Hour(), x.Doubt))
	}
	want := []string{"droplet ci-d0a07k2m9q 8 ", "droplet ci-x7k27k2m9q 9 " + elsewhere,
		"droplet ci-x7k27k2m9r 6 " + elsewhere,
		"key fleeting-ci-d0b07k2m9q 0 ", "key fleeting-ci-x7k27k2m9q 9 " + elsewhere}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// GPU Droplets, which no other list has, are among a group's. What a person keeps is no
// orphan.
func TestLook(t *testing.T) {
	began := time.Now()
	sim := dosim.New(dosim.Options{Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	defer sim.Close()
	add := func(group, suffix, size string, more ...string) {
		sim.AddDroplet(dosim.Droplet{Name: group + "-" + suffix, Size: size, Region: "nyc3", Tags: append([]string{"fleeting", "fleeting-group:" + group}, more...)})
	}
	add("ci", "x7k2m9qxab", "")
	add("ci", "x7k2gpu000", "gpu-h100x1-80gb")
	add("ci", "x7k2m9qxac", "", "Fleeting-Keep")
	add("ci", "database", "")
	add("big", "x7k2m9qxab", "")
	sim.AddDroplet(dosim.Droplet{Name: "ci-x7k2m9qxad", Tags: []string{"fleeting-group:ci"}})
	api := client(t, sim)
	for group, want := range map[string][3]int{"ci": {2, 1, 2}, "": {3, 1, 1}, "big": {1, 0, 0}, "none": {}} {
		f, err := Look(t.Context(), api, group)
		if got := [3]int{len(f.Owned), len(f.Kept), len(f.Foreign)}; got != want || err != nil {
			t.Errorf("%q: owned, kept, foreign %v, want %v (%v)", group, got, want, err)
		}
		if began.Sub(f.Now) < 59*time.Minute {
			t.Errorf("it is %s by DigitalOcean's clock, which is an hour behind", f.Now)
		}
	}
	if all, _, err := new(Account).Find(t.Context(), api, "ci", nil); err != nil || len(all) != 2 {
		t.Errorf("orphans %v, %v", all, err)
	}
}

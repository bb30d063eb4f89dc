package inventory

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// What is of a dead run of this host is a leftover, what is of another run is one with a
// doubt, and what is of another group is none.
func TestSort(t *testing.T) {
	dead := []string{"d0a0", "d0b0"}
	at := func(hour int) time.Time { return time.Date(2026, 11, 29, hour, 0, 0, 0, time.UTC) }
	l := sort("ci", dead,
		[]instancegroup.Droplet{{ID: 1, Name: "ci-d0a07k2m9q", Created: at(8)},
			{ID: 2, Name: "ci-x7k27k2m9q", Created: at(9)}, {ID: 3, Name: "ci-x7k27k2m9r", Created: at(6)}},
		[]digitalocean.Key{{Name: "fleeting-ci-d0b07k2m9q"}, {Name: "fleeting-ci-x7k27k2m9q"}, {Name: "fleeting-ci-operator"},
			{Name: "fleeting-ci-big-d0b07k2m9q"}, {Name: "fleeting-ci-d0b07k2m9qx"}, {Name: "somebody's"}},
		[]digitalocean.Tag{{Name: "fleeting"}, {Name: "fleeting-group:ci"}, {Name: "fleeting-keep"}, {Name: "prod"},
			{Name: "Fleeting-Delete:CI"}, {Name: "fleeting-delete:ci", Resources: struct{ Count int }{1}}, {Name: "fleeting-delete:ci-big"}, {Name: "fleeting-delete:c"}})
	var got []string
	for _, x := range l.All {
		got = append(got, fmt.Sprintf("%s %d %s", x, x.Created.Hour(), x.Doubt))
	}
	want := []string{"Droplet ci-d0a07k2m9q (1) 8 ", "Droplet ci-x7k27k2m9q (2) 9 " + elsewhere,
		"Droplet ci-x7k27k2m9r (3) 6 " + elsewhere,
		"SSH key fleeting-ci-d0b07k2m9q 0 ", "SSH key fleeting-ci-x7k27k2m9q 9 " + elsewhere,
		"tag Fleeting-Delete:CI 0 " + elsewhere}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	doubtless := sort("ci", dead, []instancegroup.Droplet{{Name: "ci-d0a07k2m9q"}},
		[]digitalocean.Key{{Name: "fleeting-ci-d0b07k2m9q"}}, []digitalocean.Tag{{Name: "fleeting-delete:ci"}})
	stranger := sort("ci", nil, nil, nil, []digitalocean.Tag{{Name: "fleeting-delete:ci"}})
	if stranger.All[0].Doubt == "" || len(doubtless.All) != 3 || slices.ContainsFunc(doubtless.All, func(l Leftover) bool { return l.Doubt != "" }) {
		t.Errorf("doubts are wrong: %+v, %+v", doubtless, stranger)
	}
}

// GPU Droplets, which no other list has, are among a group's. What a person keeps is no
// leftover.
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
		if got := [3]int{len(f.Owned), len(f.Kept), len(f.Strangers)}; got != want || err != nil {
			t.Errorf("%q: owned, kept, strangers %v, want %v (%v)", group, got, want, err)
		}
		if began.Sub(f.Now) < 59*time.Minute {
			t.Errorf("it is %s by DigitalOcean's clock, which is an hour behind", f.Now)
		}
	}
	if l, err := new(Account).Find(t.Context(), api, "ci", nil); err != nil || droplets(l) != 2 {
		t.Errorf("leftovers %v, %v", l.All, err)
	}
}

// droplets returns how many there are among leftovers.
func droplets(l Leftovers) (n int) {
	for _, one := range l.All {
		if one.Kind == DropletKind {
			n++
		}
	}
	return n
}

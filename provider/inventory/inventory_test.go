package inventory

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// What is of a run of this host is a leftover, what is of another is one with a
// doubt, and what is of another group is none.
func TestSort(t *testing.T) {
	droplet := func(id int, run string) instancegroup.Droplet {
		return instancegroup.Droplet{ID: id, Tags: []string{"fleeting", instancegroup.GroupTag("ci"), instancegroup.RunTag(run)}}
	}
	l := sort("ci", []string{"dead0000", "dead0001"},
		[]instancegroup.Droplet{droplet(1, "dead0000"), droplet(2, "other000"), droplet(3, "other000")}, nil,
		[]digitalocean.Key{{Name: "fleeting-ci-dead0001"}, {Name: "fleeting-ci-other001"}, {Name: "fleeting-ci-static"},
			{Name: "fleeting-ci-big-other009"}, {Name: "somebody's"}},
		[]digitalocean.Tag{
			{Name: "fleeting", Carriers: 3}, {Name: "fleeting-group:ci", Carriers: 3}, {Name: "prod"},
			{Name: "fleeting-run:dead0000", Carriers: 1}, {Name: "fleeting-run:dead0001"}, {Name: "fleeting-delete:dead0001"},
			{Name: "fleeting-run:other000", Carriers: 2}, {Name: "fleeting-delete:other000", Carriers: 1}, // on something of somebody's
			{Name: "fleeting-run:other001"}, {Name: "fleeting-run:other009"}, {Name: "fleeting-run:nobody00"},
			{Name: "fleeting-run:busy0000", Carriers: 5}, {Name: "fleeting-run:not-minted"},
		})
	var got []string
	for _, d := range l.Droplets {
		got = append(got, fmt.Sprintf("%d %t", d.ID, d.Doubt != ""))
	}
	for _, k := range l.Keys {
		got = append(got, fmt.Sprintf("%s %s %t", k.Name, k.Run, k.Doubt != ""))
	}
	for _, tag := range l.Tags {
		got = append(got, fmt.Sprintf("%s %s %t %t", tag.Name, tag.Run, tag.Doubt != "", tag.Unowned))
	}
	want := []string{"1 false", "2 true", "3 true",
		"fleeting-ci-dead0001 dead0001 false", "fleeting-ci-other001 other001 true",
		"fleeting-run:dead0000 dead0000 false false", "fleeting-run:dead0001 dead0001 false false", "fleeting-delete:dead0001 dead0001 false false",
		"fleeting-run:other000 other000 true false", "fleeting-run:other001 other001 true false", "fleeting-run:nobody00 nobody00 true true"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if !l.Doubtful() || sort("ci", []string{"dead0000"}, []instancegroup.Droplet{droplet(1, "dead0000")}, nil, nil, nil).Doubtful() {
		t.Error("Doubtful is wrong")
	}
}

// What has lost the group's tag is a leftover like others, unless somebody took the tag
// off it on purpose: then it is in doubt, and what it carries is not for a sweep to take.
func TestSortAdrift(t *testing.T) {
	adrift := func(id int, run, doubt string) Adrift {
		return Adrift{instancegroup.Droplet{ID: id, Tags: []string{"fleeting", instancegroup.RunTag(run)}}, doubt}
	}
	back := instancegroup.Droplet{ID: 4, Tags: []string{"fleeting", instancegroup.GroupTag("ci"), instancegroup.RunTag("dead0000")}}
	l := sort("ci", []string{"dead0000", "dead0001"}, []instancegroup.Droplet{back},
		[]Adrift{adrift(1, "dead0000", ""), adrift(2, "other000", ""), adrift(3, "dead0001", meant), adrift(4, "dead0000", "")}, nil,
		[]digitalocean.Tag{{Name: "fleeting-run:dead0000", Carriers: 2}, {Name: "fleeting-run:other000", Carriers: 1}, {Name: "fleeting-run:dead0001", Carriers: 1}})
	var got []string
	for _, d := range l.Droplets {
		got = append(got, fmt.Sprintf("%d %t %s", d.ID, d.Adrift, d.Doubt))
	}
	for _, tag := range l.Tags {
		got = append(got, fmt.Sprintf("%s %s", tag.Name, tag.Doubt))
	}
	want := []string{"4 false ", "1 true ", "2 true " + elsewhere, "3 true " + meant, "fleeting-run:dead0000 ", "fleeting-run:other000 " + elsewhere}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// However many groups there are, what is adrift is listed once, and whether the account
// has a group's tag is asked only of those that have some.
func TestAdrift(t *testing.T) {
	sim, api, groups := many(t, 15)
	sim.DeleteTag("fleeting-group:ci-1") // an accident
	sim.Untag(512000003, "fleeting-group:ci-2")
	var account Account
	var got []string
	for _, group := range append(groups, "ci") {
		found, err := account.Adrift(t.Context(), api, group, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			got = append(got, fmt.Sprint(d.Name, " ", d.Doubt))
		}
	}
	if want := []string{"ci-1-7k2m9qxa ", "ci-2-7k2m9qxa " + meant}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if asked := sim.RequestCounts(); asked["GET /v2/droplets"] != 2 || asked["GET /v2/tags/{tag}"] != 2 {
		t.Errorf("requests: %v", asked)
	}

	for name, tt := range map[string]struct {
		fault string
		letGo []int
		doubt string
		class error // why it may not be all, or not so
	}{
		"it was let go":             {"", []int{512000002}, meant, nil},
		"it is not told":            {"GET /v2/tags/{tag}: 503 times forever", nil, unasked, instancegroup.ErrAmbiguous},
		"it may not be asked":       {"GET /v2/tags/{tag}: 403 times forever", nil, unasked, instancegroup.ErrForbidden},
		"let go, and nothing tells": {"GET /v2/tags/{tag}: 503 times forever", []int{512000002}, meant, nil},
		"GPU Droplets are unread":   {"GET /v2/droplets?type=gpus: 503 times forever", nil, "", instancegroup.ErrAmbiguous},
	} {
		var faults []string
		if tt.fault != "" {
			faults = append(faults, tt.fault)
		}
		found, err := new(Account).Adrift(t.Context(), client(t, sim, faults...), "ci-1", tt.letGo)
		if len(found) != 1 || found[0].Doubt != tt.doubt || !errors.Is(err, tt.class) {
			t.Errorf("%s: %v, %v", name, found, err)
		}
		sim.ClearFaults()
	}
}

// GPU Droplets, which no other list has, are among a group's; an account that knows
// none does not keep the others from being listed.
func TestDroplets(t *testing.T) {
	tags := func(group string) []string {
		return []string{"fleeting", "fleeting-group:" + group, "fleeting-run:dead0000"}
	}
	for _, fault := range []string{"", "GET /v2/droplets?type=gpus: 422"} {
		sim := dosim.New(dosim.Options{})
		sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxa", Tags: tags("ci")})
		sim.AddDroplet(dosim.Droplet{Name: "big-7k2m9qxa", Tags: tags("big")})
		sim.AddDroplet(dosim.Droplet{Name: "ci-db", Tags: tags("ci")})
		want, faults := 2, []string(nil)
		if fault == "" {
			sim.AddDroplet(dosim.Droplet{Name: "ci-gpu0gpu0", Tags: tags("ci"), Size: "gpu-h100x1-80gb", Region: "nyc3"})
		} else {
			want, faults = 1, []string{fault}
		}
		api := client(t, sim, faults...)
		for group, n := range map[string]int{"ci": want, "": want + 1, "big": 1, "none": 0} {
			owned, strangers, err := Droplets(t.Context(), api, group)
			if len(owned) != n || err != nil {
				t.Errorf("%q with %q: %d Droplets, want %d: %v", group, fault, len(owned), n, err)
			}
			if strange := group == "ci" || group == ""; (len(strangers) == 1) != strange {
				t.Errorf("%q: strangers %v", group, strangers)
			}
		}
		sim.Close()
	}
}

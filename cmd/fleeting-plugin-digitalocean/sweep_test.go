package main

import (
	"slices"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// What is old is so by DigitalOcean's clock, whatever this host's says; what young Droplets need
// is spared with them, and what has no age is no finding where it may be a living manager's.
func TestSift(t *testing.T) {
	now := time.Now().Add(-1000 * time.Hour)
	droplet := func(name string, age time.Duration, doubt string) inventory.Droplet {
		return inventory.Droplet{Droplet: instancegroup.Droplet{Name: name, Created: now.Add(-age), PriceHourly: 0.5}, Doubt: doubt}
	}
	key := func(run, doubt string) inventory.Key {
		return inventory.Key{Key: digitalocean.Key{Name: "key-" + run}, Run: run, Doubt: doubt}
	}
	found := inventory.Leftovers{Now: now,
		Droplets: []inventory.Droplet{droplet("ci-old1aaaaaa", 2*time.Hour, ""), droplet("ci-new1aaaaaa", time.Minute, ""), droplet("ci-old2aaaaaa", 2*time.Hour, "?")},
		Keys:     []inventory.Key{key("old1", ""), key("new1", ""), key("old2", "?"), key("idle", "?"), key("dead", "")},
		Tags:     []inventory.Tag{{Name: "unused"}, {Name: "perhaps", Doubt: "?"}}}
	for _, tt := range []struct {
		older time.Duration
		want  []string
		young int
	}{
		{0, []string{"ci-old1aaaaaa", "ci-new1aaaaaa", "ci-old2aaaaaa", "key-old1", "key-new1", "key-old2", "key-idle", "key-dead", "unused", "perhaps"}, 0},
		{time.Hour, []string{"ci-old1aaaaaa", "ci-old2aaaaaa", "key-old1", "key-old2", "key-dead", "unused"}, 1},
		{24 * time.Hour, []string{"key-dead", "unused"}, 3},
	} {
		w := swept{Group: "ci"}
		(&sweeping{olderThan: span{Duration: tt.older}}).sift(found, &w)
		var got []string
		for _, l := range w.Leftovers {
			got = append(got, l.Name)
		}
		if !slices.Equal(got, tt.want) || w.Younger != (younger{tt.young, float64(tt.young) * 0.5}) {
			t.Errorf("--older-than %s: %q and %+v, want %q", tt.older, got, w.Younger, tt.want)
		}
	}
}

package main

import (
	"slices"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// What is old is so by DigitalOcean's clock, whatever this host's says; what young Droplets need
// is spared with them, and what has no age is no finding where it may be a living manager's.
func TestSift(t *testing.T) {
	now := time.Now().Add(-1000 * time.Hour)
	droplet := func(run string, age time.Duration, doubt string) inventory.Leftover {
		return inventory.Leftover{Kind: inventory.DropletKind, Name: "ci-" + run, Run: run, Doubt: doubt,
			Droplet: instancegroup.Droplet{Created: now.Add(-age), PriceHourly: 0.5}}
	}
	key := func(run, doubt string) inventory.Leftover {
		return inventory.Leftover{Kind: inventory.KeyKind, Name: "key-" + run, Run: run, Doubt: doubt}
	}
	found := inventory.Leftovers{Now: now, All: []inventory.Leftover{
		droplet("old1", 2*time.Hour, ""), droplet("new1", time.Minute, ""), droplet("old2", 2*time.Hour, "?"),
		key("old1", ""), key("new1", ""), key("old2", "?"), key("idle", "?"), key("dead", ""),
		{Kind: inventory.TagKind, Name: "unused"}, {Kind: inventory.TagKind, Name: "perhaps", Doubt: "?"}}}
	for _, tt := range []struct {
		older time.Duration
		want  []string
		young int
	}{
		{0, []string{"ci-old1", "ci-new1", "ci-old2", "key-old1", "key-new1", "key-old2", "key-idle", "key-dead", "unused", "perhaps"}, 0},
		{time.Hour, []string{"ci-old1", "ci-old2", "key-old1", "key-old2", "key-dead", "unused"}, 1},
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

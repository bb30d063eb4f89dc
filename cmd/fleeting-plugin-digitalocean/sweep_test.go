package main

import (
	"slices"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// What is old is so by DigitalOcean's clock, whatever this host's says; what young Droplets need
// is spared with them, and what has no age is no finding where it may be a living manager's.
func TestOlderThan(t *testing.T) {
	now := time.Now().Add(-1000 * time.Hour)
	of := func(kind inventory.Kind, name string, age time.Duration, doubt string) inventory.Leftover {
		l := inventory.Leftover{Kind: kind, Name: name, Doubt: doubt}
		if age > 0 {
			l.Created = now.Add(-age)
		}
		return l
	}
	all := []inventory.Leftover{
		of(inventory.DropletKind, "old", 2*time.Hour, ""), of(inventory.DropletKind, "old?", 2*time.Hour, "?"),
		of(inventory.DropletKind, "new", time.Minute, ""), of(inventory.DropletKind, "ageless", 0, ""),
		of(inventory.KeyKind, "key-old", 2*time.Hour, ""), of(inventory.KeyKind, "key-old?", 2*time.Hour, "?"),
		of(inventory.KeyKind, "key-new", time.Minute, ""), of(inventory.KeyKind, "key", 0, ""), of(inventory.KeyKind, "key?", 0, "?"),
		of(inventory.TagKind, "tag", 0, ""), of(inventory.TagKind, "tag?", 0, "?")}
	for older, want := range map[time.Duration][]string{
		0:              {"old", "old?", "new", "ageless", "key-old", "key-old?", "key-new", "key", "key?", "tag", "tag?"},
		time.Hour:      {"old", "old?", "key-old", "key-old?", "key", "tag"},
		24 * time.Hour: {"key", "tag"},
	} {
		var got []string
		for _, l := range all {
			if s := (&sweeping{olderThan: span{Duration: older}}); !s.spares(l, now) {
				got = append(got, l.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("--older-than %s: %q, want %q", older, got, want)
		}
	}
}

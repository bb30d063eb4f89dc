package main

import (
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// A Droplet that two tokens show, of one account, counts once. One of that id behind
// another API is another.
func TestSeen(t *testing.T) {
	at := func(url string) group { return group{Account: config.Account{APIURL: url}} }
	droplets := []instancegroup.Droplet{{ID: 1}, {ID: 2}}
	was := seen{}
	for i, tt := range []struct {
		url  string
		want int
	}{{"https://api.digitalocean.com", 2}, {"https://api.digitalocean.com", 0}, {"http://127.0.0.1:8080", 2}} {
		if got := was.fresh(at(tt.url), droplets); len(got) != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

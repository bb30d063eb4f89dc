package dosim_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Every answer has the hourly budget, refusals included, and says when its oldest request expires; only a burst has a
// retry-after.
func TestRateLimits(t *testing.T) {
	const account, keys, missing = "/v2/account", "/v2/account/keys", "/v2/droplets/1"
	type step struct {
		at     time.Duration
		target string
		want   string // status, remaining, seconds until the reset, retry-after
	}
	for what, test := range map[string]struct {
		options dosim.Options
		steps   []step
	}{
		"an hour": {dosim.Options{PerHour: 2}, []step{
			{0, account, "200 1 3600 -"}, {30 * time.Minute, missing, "404 0 1800 -"}, {30 * time.Minute, account, "429 0 1800 -"},
			{time.Hour, account, "200 0 1800 -"}, {time.Hour, account, "429 0 1800 -"},
		}},
		"a minute": {dosim.Options{PerMinute: 3}, []step{
			{0, account, "200 4999 3600 -"}, {20 * time.Second, account, "200 4998 3580 -"}, {20 * time.Second, account, "200 4997 3580 -"},
			{20 * time.Second, account, "429 4997 3580 40"}, {time.Minute, account, "200 4996 3540 -"}, {time.Minute, account, "429 4996 3540 20"},
		}},
		"the list of keys": {dosim.Options{}, append(
			slices.Repeat([]step{{0, keys, ""}}, 10),
			step{0, keys, "429 4990 3600 60"}, step{0, keys + "/1", "404 4989 3600 -"}, step{time.Minute, keys, "200 4988 3540 -"},
		)},
		"none": {dosim.Options{PerMinute: -1, PerHour: -1}, append(slices.Repeat([]step{{0, keys, ""}}, 300), step{0, keys, "200 5000 3600 -"})},
	} {
		synctest.Test(t, func(t *testing.T) {
			sim, start, throttled := dosim.New(test.options), time.Now(), 0
			for i, s := range test.steps {
				time.Sleep(s.at - time.Since(start))
				w := request(sim, "GET", s.target)
				reset, err := strconv.ParseInt(w.Header().Get("Ratelimit-Reset"), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				got := fmt.Sprint(w.Code, " ", w.Header().Get("Ratelimit-Remaining"), " ", reset-time.Now().Unix(), " ", w.Header().Get("Retry-After"))
				if strings.HasSuffix(got, " ") {
					got += "-"
				}
				if w.Code == 429 {
					throttled++
				}
				if s.want != "" && got != s.want {
					t.Errorf("%s: request %d after %s: %s, want %s", what, i+1, s.at, got, s.want)
				}
			}
			if sim.Throttled() != throttled {
				t.Errorf("%s: %d requests were throttled, want %d", what, sim.Throttled(), throttled)
			}
		})
	}
}

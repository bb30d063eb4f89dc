package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// A list has every page, and GPU Droplets, which DigitalOcean has in a list of their own
// with everybody's, if it is asked for them.
func TestList(t *testing.T) {
	sim, c := simulated(t)
	for i := range 450 {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Tags: []string{groupTag}})
	}
	sim.AddDroplet(dosim.Droplet{Name: "db", Tags: []string{"prod"}})
	sim.AddDroplet(dosim.Droplet{Name: "ci-gpu", Size: "gpu-h100x1-80gb", Tags: []string{"Fleeting-Group:CI"}})
	sim.AddDroplet(dosim.Droplet{Name: "llm", Size: "gpu-h100x1-80gb", Tags: []string{"other"}})
	for requests, gpus := range map[int]bool{3: false, 4: true} {
		before := len(sim.Requests())
		l, err := c.List(t.Context(), groupTag, gpus)
		if n := 447 + requests; err != nil || len(l.Droplets) != n || l.Requests != requests || len(sim.Requests()) != before+requests {
			t.Fatalf("%d Droplets in %d requests, %v; want %d in %d", len(l.Droplets), l.Requests, err, n, requests)
		}
		if last := l.Droplets[len(l.Droplets)-1]; (last.Name == "ci-gpu") != gpus {
			t.Errorf("the last one is %s", last.Name)
		}
		// Pages are read together, so the last answer need not be the last request's.
		if b := l.Budget; b.Limit != 5000 || b.Remaining < 5000-len(sim.Requests()) || b.Remaining > 4999 || time.Since(l.Date).Abs() > time.Minute {
			t.Errorf("budget %+v, date %s: not what the answer's headers say", b, l.Date)
		}
	}
}

// Every list after the first succeeds in the 9 s that a Group gives it, on the slowest
// API that atOnce says a group of that size survives.
func TestSlowLists(t *testing.T) {
	for droplets, latency := range map[int]time.Duration{3200: 7900 * time.Millisecond, 6400: 4400 * time.Millisecond, 230: 7900 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			api := &listing{n: droplets, latency: latency}
			c := over(t, api)
			for n := range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
				l, err := c.List(ctx, groupTag, true)
				cancel()
				if n > 0 && (err != nil || len(l.Droplets) != droplets) {
					t.Errorf("list %d of %d Droplets, %s an answer: %d Droplets, %v", n+1, droplets, latency, len(l.Droplets), err)
				}
				time.Sleep(time.Minute)
			}
			if most := 2 * ((droplets+perPage-1)/perPage + 1); api.requests > most {
				t.Errorf("%d Droplets: %d requests, want at most %d", droplets, api.requests, most)
			}
		})
	}
}

// Pages beyond the end of a list that has shrunk are empty, and not asked for again; a
// list that has grown is complete all the same. None takes longer than two answers.
func TestListChangesItsLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &listing{latency: time.Second}
		c := over(t, api)
		for _, want := range []struct{ droplets, requests int }{{900, 5}, {900, 5}, {150, 5}, {150, 1}, {1000, 5}, {0, 5}, {0, 1}} {
			api.n = want.droplets
			began := time.Now()
			l, err := c.List(t.Context(), groupTag, false)
			if took := time.Since(began); err != nil || len(l.Droplets) != want.droplets || l.Requests != want.requests || took > 2*time.Second {
				t.Errorf("%d Droplets in %d requests and %s, %v; want %+v", len(l.Droplets), l.Requests, took, err, want)
			}
		}
	})
}

// A list whose pages are refused together for a moment takes that moment; one that is
// refused for longer fails at once.
func TestListWaitsForAMoment(t *testing.T) {
	for ask, most := range map[string]time.Duration{"2": 4 * time.Second, "6": 0} {
		synctest.Test(t, func(t *testing.T) {
			api := &listing{n: 900}
			var limited time.Time
			c := over(t, answering(func(r *http.Request) (*http.Response, error) {
				if time.Now().Before(limited) {
					return answer(429, `{"id":"too_many_requests"}`, "Retry-After", ask), nil
				}
				return api.RoundTrip(r)
			}))
			for range 2 {
				began := time.Now()
				l, err := c.List(t.Context(), groupTag, false)
				if took := time.Since(began); took > most || (err == nil) != (len(l.Droplets) == 900) || err != nil && most > 0 {
					t.Errorf("Retry-After %s: %d Droplets after %s, %v", ask, len(l.Droplets), took, err)
				}
				limited = time.Now().Add(time.Second)
			}
		})
	}
}

// A server that knows no page beyond the end fails one list, not all that follow.
func TestPageBeyondTheEnd(t *testing.T) {
	api := &listing{n: 300, strict: true}
	c := over(t, api)
	for i, droplets := range []int{300, 150, 150} {
		api.n = droplets
		if l, err := c.List(t.Context(), groupTag, false); (err != nil) != (i == 1) || err == nil && len(l.Droplets) != droplets {
			t.Errorf("list %d of %d Droplets: %d, error %v", i+1, droplets, len(l.Droplets), err)
		}
	}
}

// One odd field in one Droplet does not fail a list, and costs nothing else of it, unless
// it is one by which a Droplet is decided about.
func TestOddFields(t *testing.T) {
	const sound = `{"id":7,"name":"ci-7k2m9qxabc","status":"active","tags":["` + groupTag + `"],"size_slug":"s-1vcpu-1gb","size":{"price_hourly":0.5},
		"region":{"slug":"nyc3"},"image":{"id":9,"slug":"debian-13-x64"},"created_at":"2026-11-01T00:00:00Z","locked":false,"vpc_uuid":"v",
		"networks":{"v4":[{"type":"public","ip_address":"192.0.2.1","netmask":"255.255.240.0"}],"v6":[{"type":"public","ip_address":"2001:db8::1"}]}}`
	list := func(droplet string) (ig.Droplet, error) {
		l, err := saying(t, `{"droplets":[`+droplet+`,{"id":8,"name":"x","status":"new","tags":["`+groupTag+`"]}],"meta":{"total":2}}`).
			List(t.Context(), groupTag, false)
		if err != nil || len(l.Droplets) != 2 {
			return ig.Droplet{}, fmt.Errorf("%d Droplets, %w", len(l.Droplets), err)
		}
		return l.Droplets[0], nil
	}
	base := ig.Droplet{ID: 7, Name: "ci-7k2m9qxabc", Status: "active", Tags: []string{groupTag}, Region: "nyc3", Size: "s-1vcpu-1gb",
		Image: ig.Image{Slug: "debian-13-x64", ID: 9}, PublicIPv4: "192.0.2.1", PublicIPv6: "2001:db8::1", PriceHourly: 0.5,
		Created: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	for _, tt := range []struct {
		field, value string            // in place of what it is
		change       func(*ig.Droplet) // nil = an error
	}{
		{`false`, `false`, func(*ig.Droplet) {}},
		{`false`, `"no"`, func(*ig.Droplet) {}},
		{`"v"`, `7`, func(*ig.Droplet) {}},
		{`"255.255.240.0"`, `20`, func(*ig.Droplet) {}},
		{`0.5`, `"0.5"`, func(d *ig.Droplet) { d.PriceHourly = 0 }},
		{`{"price_hourly":0.5}`, `[]`, func(d *ig.Droplet) { d.PriceHourly = 0 }},
		{`"s-1vcpu-1gb"`, `5`, func(d *ig.Droplet) { d.Size = "" }},
		{`{"slug":"nyc3"}`, `"nyc3"`, func(d *ig.Droplet) { d.Region = "" }},
		{`"debian-13-x64"`, `null`, func(d *ig.Droplet) { d.Image.Slug = "" }},
		{`"2026-11-01T00:00:00Z"`, `1793491200`, func(d *ig.Droplet) { d.Created = time.Time{} }},
		{`"2026-11-01T00:00:00Z"`, `"yesterday"`, func(d *ig.Droplet) { d.Created = time.Time{} }},
		{`[{"type":"public","ip_address":"2001:db8::1"}]`, `"none"`, func(d *ig.Droplet) { d.PublicIPv6 = "" }},
		{`"networks":{`, `"networks":[],"x":{`, func(d *ig.Droplet) { d.PublicIPv4, d.PublicIPv6 = "", "" }},
		{`"id":7`, `"id":"7"`, nil},
		{`"id":7`, `"id":null`, nil},
		{`"ci-7k2m9qxabc"`, `7`, nil},
		{`"active"`, `[]`, nil},
		{`["` + groupTag + `"]`, `"x"`, nil},
		{`["` + groupTag + `"]`, `[7]`, nil},
	} {
		got, err := list(strings.Replace(sound, tt.field, tt.value, 1))
		if tt.change == nil {
			if !errors.Is(err, ig.ErrUnconfirmed) {
				t.Errorf("%s in place of %s: %v", tt.value, tt.field, err)
			}
			continue
		}
		want := base
		tt.change(&want)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s in place of %s: %v (-want +got)\n%s", tt.value, tt.field, err, diff)
		}
	}
}

// Droplets that come and go between two pages make entries skip or repeat: a list
// that lacks some is read again, once, and then believed though its total lags, unless
// it is empty. A full page is not the last one because no link says so.
func TestListShifts(t *testing.T) {
	var full []int
	for i := range perPage {
		full = append(full, i+1)
	}
	for _, tt := range []struct {
		name     string
		pages    [2][]string // the answers for page 1 and 2, the last one again and again; "" = a 500
		droplets int         // -1 = an error
		requests int
	}{
		{"an entry repeats", [2][]string{{pageOf(3, true, 1, 2)}, {pageOf(3, false, 2, 3)}}, 3, 2},
		{"an entry is skipped once", [2][]string{{pageOf(4, true, 1, 2)}, {pageOf(4, false, 4), pageOf(4, false, 3, 4)}}, 4, 4},
		{"one went in between", [2][]string{{pageOf(4, true, 1, 2)}, {pageOf(3, false, 4)}}, 3, 2},
		{"its total says more, twice", [2][]string{{pageOf(4, true, 1, 2)}, {pageOf(4, false, 4)}}, 3, 4},
		{"the second page fails for good", [2][]string{{pageOf(4, true, 1, 2)}, {""}}, -1, 4},
		{"its total is too low", [2][]string{{pageOf(1, false, 1, 2)}}, 2, 1},
		{"empty, and its total is not", [2][]string{{pageOf(1, false)}}, -1, 2},
		{"full, without a link to the next", [2][]string{{pageOf(perPage+1, false, full...)}, {pageOf(perPage+1, false, 900)}}, perPage + 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var sent [2]int
				c := over(t, answering(func(r *http.Request) (*http.Response, error) {
					mu.Lock()
					defer mu.Unlock()
					n, _ := strconv.Atoi(r.URL.Query().Get("page"))
					answers := tt.pages[n-1]
					sent[n-1]++
					if body := answers[min(sent[n-1], len(answers))-1]; body != "" {
						return answer(200, body), nil
					}
					return answer(500, `{"id":"x"}`), nil
				}))
				l, err := c.List(t.Context(), groupTag, false)
				if n := sent[0] + sent[1]; n != tt.requests || tt.droplets >= 0 && (err != nil || len(l.Droplets) != tt.droplets || l.Requests != n) ||
					tt.droplets < 0 && (!errors.Is(err, ig.ErrUnconfirmed) || len(l.Droplets) > 0) {
					t.Errorf("%d Droplets in %d requests, error %v; want %d in %d", len(l.Droplets), n, err, tt.droplets, tt.requests)
				}
			})
		})
	}
}

// What is JSON but not the list is an error: taken for an empty list
// it would let every Droplet count as gone.
func TestNoList(t *testing.T) {
	droplets := func(s string) string { return `{"droplets":` + s + `}` }
	for _, body := range []string{
		"", "true", "7", `"droplets"`, `{"droplet":{}}`, `{"message":"hello"}`,
		droplets(`null,"meta":{"total":3}`), droplets(`{}`), droplets(`"none"`), droplets(`[[]]`), droplets(`[7]`),
		droplets(`[null]`), droplets(`[{}]`), droplets(`[{"id":0,"name":"ci-7k2m9qxa"}]`), droplets(`[{"id":-1}]`),
		droplets(`[{"id":1e99}]`),
		droplets(`[],"meta":{"total":"9"}`), droplets(`[],"links":7`), droplets(`[],"meta":{"total":1}`), droplets(`[],"meta":{"total":9223372036854775807}`),
		droplets(strings.Repeat("[", 1_000_000)), droplets(`[` + strings.Repeat(" ", maxBody)),
	} {
		synctest.Test(t, func(t *testing.T) {
			l, err := saying(t, body).List(t.Context(), groupTag, false)
			if !errors.Is(err, ig.ErrUnconfirmed) || len(l.Droplets) > 0 {
				t.Errorf("%.60q: %d Droplets, error %v; want an unconfirmed error", body, len(l.Droplets), err)
			}
		})
	}
	for _, body := range []string{droplets(`[]`), droplets(`null`), droplets(`[],"meta":{"total":-5}`), droplets(`[],"links":null,"meta":null`), droplets(`[],"links":[]`)} {
		if _, err := saying(t, body).List(t.Context(), groupTag, false); err != nil {
			t.Errorf("%q is an empty list, not %v", body, err)
		}
	}
	if keys, err := saying(t, `{"ssh_keys":null}`).Keys(t.Context()); err != nil || len(keys) > 0 {
		t.Errorf("a list of keys that is null has %d, error %v", len(keys), err)
	}
}

// A list that always has a next page ends.
func TestEndlessPages(t *testing.T) {
	for _, name := range []string{"List", "Tags", "ImagesWithTag", "Sizes", "Keys"} {
		for _, o := range operations {
			if o.name != name {
				continue
			}
			var sent int // less than the budget of a minute
			value, err := o.call(t.Context(), over(t, always(&sent, 200,
				`{"droplets":[],"tags":[],"images":[],"sizes":[],"ssh_keys":[],"links":{"pages":{"next":"https://api.digitalocean.com/x"}}}`)))
			if err == nil || !zero(value) || sent != maxPages || !strings.Contains(err.Error(), "more than 190 pages") {
				t.Errorf("%s: %d requests, error %v", o.name, sent, err)
			}
		}
	}
}

// An answer without end costs bounded memory.
func TestBodiesAreBounded(t *testing.T) {
	for name, call := range map[string]func(*Client) error{"GET": sendList, "POST": sendCreate} {
		for _, status := range []int{200, 500} {
			var read, sent int
			c := over(t, answering(func(*http.Request) (*http.Response, error) {
				sent++
				resp := answer(status, "")
				resp.Body, resp.ContentLength = io.NopCloser(endless{&read}), -1
				return resp, nil
			}))
			err := call(c)
			if !errors.Is(err, ig.ErrUnconfirmed) || !strings.Contains(err.Error(), "larger than 4 MiB") || read > maxBody+1<<16 || sent != 1 {
				t.Errorf("%s, %d: read %d bytes of %d answers, error %v", name, status, read, sent, err)
			}
		}
	}
}

// endless is a body that never ends.
type endless struct{ read *int }

func (e endless) Read(p []byte) (int, error) { *e.read += len(p); return len(p), nil }

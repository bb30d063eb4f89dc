package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// Pages beyond the end of a list that has shrunk are not asked for again; a list that has
// grown is complete all the same. None takes longer than two answers. A server that knows
// no page beyond the end fails one list, not all that follow.
func TestListChangesItsLength(t *testing.T) {
	for _, strict := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			api := &listing{latency: time.Second, strict: strict}
			c := over(t, api)
			for i, want := range []struct{ droplets, requests int }{{900, 5}, {900, 5}, {150, 5}, {150, 1}, {1000, 5}} {
				api.n = want.droplets
				began := time.Now()
				l, err := c.List(t.Context(), groupTag, false)
				if strict && i == 2 && errors.Is(err, ig.ErrNotFound) {
					continue
				}
				if took := time.Since(began); err != nil || len(l.Droplets) != want.droplets || l.Requests != want.requests || took > 2*time.Second {
					t.Errorf("%d Droplets in %d requests and %s, %v; want %+v", len(l.Droplets), l.Requests, took, err, want)
				}
			}
		})
	}
}

// A list is complete by its links alone, whatever length it says it has. Its pages are
// read one after the other the first time, and together from then on.
func TestListByLinks(t *testing.T) {
	for name, total := range map[string]func(n int) int{
		"no total": func(int) int { return 0 }, "one page": func(n int) int { return min(1, n) }, "too low": func(n int) int { return n - perPage },
		"right": func(n int) int { return n }, "too high": func(n int) int { return n + perPage },
	} {
		synctest.Test(t, func(t *testing.T) {
			api := &listing{latency: time.Second, total: total}
			c := over(t, api)
			for i, n := range []int{800, 800, 1000, 200, 0} {
				api.n = n
				began := time.Now()
				l, err := c.List(t.Context(), groupTag, false)
				if err != nil && name == "too high" && n == 0 {
					continue // what is empty, and says that it is not, is not believed
				}
				if took := time.Since(began); err != nil || len(l.Droplets) != n || i > 0 && took > 4*time.Second {
					t.Errorf("%s: %d Droplets of %d after %s, %v", name, len(l.Droplets), n, took, err)
				}
			}
		})
	}
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

// Droplets that come and go between two pages make entries skip or repeat: a list
// that lacks some is read again, once, and then believed though its total lags, unless
// it is empty.
func TestListShifts(t *testing.T) {
	first := func(total int) []string { return []string{pageOf(total, upTo(1, perPage)...)} }
	for _, tt := range []struct {
		name     string
		pages    [2][]string // the answers for page 1 and 2, the last one again and again; "" = a 500
		droplets int         // -1 = an error
		requests int
	}{
		{"an entry repeats", [2][]string{first(201), {pageOf(201, 200, 201)}}, 201, 2},
		{"an entry is skipped once", [2][]string{first(202), {pageOf(202, 202), pageOf(202, 201, 202)}}, 202, 4},
		{"one went in between", [2][]string{first(202), {pageOf(201, 202)}}, 201, 2},
		{"its total says more, twice", [2][]string{first(202), {pageOf(202, 202)}}, 201, 4},
		{"the second page fails for good", [2][]string{first(202), {""}}, -1, 4},
		{"its total is too low", [2][]string{{pageOf(1, 1, 2)}}, 2, 1},
		{"empty, and its total is not", [2][]string{{pageOf(1)}}, -1, 2},
	} {
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
			n, fails := sent[0]+sent[1], tt.droplets < 0
			if n != tt.requests || errors.Is(err, ig.ErrUnconfirmed) != fails || len(l.Droplets) != max(0, tt.droplets) || !fails && l.Requests != n {
				t.Errorf("%s: %d Droplets in %d requests, error %v; want %d in %d", tt.name, len(l.Droplets), n, err, tt.droplets, tt.requests)
			}
		})
	}
}

// A list that never ends is none, and neither is one that does not say whether it ends.
func TestEndlessPages(t *testing.T) {
	for body, want := range map[string]string{
		`{"ssh_keys":[],"meta":{"total":2147483647}}`:               "more than 190 pages",
		`{"ssh_keys":[` + strings.Repeat("{},", perPage-1) + `{}]}`: "does not say how long",
		`{"ssh_keys":[],"links":{"pages":{"next":"x"}}}`:            "more than 190 pages",
	} {
		var sent int
		most := 1
		if strings.Contains(body, "links") { // which lead to one page at a time
			most = maxPages
		}
		keys, err := over(t, always(&sent, 200, body)).Keys(t.Context())
		if !errors.Is(err, ig.ErrUnconfirmed) || len(keys) > 0 || sent != most || !strings.Contains(err.Error(), want) {
			t.Errorf("%d keys after %d requests, error %v; want %q", len(keys), sent, err, want)
		}
	}
}

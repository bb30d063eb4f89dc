package digitalocean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

const groupTag = "fleeting-group:ci"

// fleet is an account with n Droplets of the group and a few of others.
func fleet(t *testing.T, n int) *dosim.Sim {
	t.Helper()
	sim := dosim.New(dosim.Options{Token: testToken, DropletLimit: 5000})
	t.Cleanup(sim.Close)
	for i := range n {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Tags: []string{"fleeting", groupTag}, Created: time.Now().Add(-time.Hour)})
	}
	sim.AddDroplet(dosim.Droplet{Name: "db", Tags: []string{"prod"}})
	return sim
}

func TestListReadsEveryPage(t *testing.T) {
	sim := fleet(t, 1000)
	l, err := over(t, sim.Transport()).List(t.Context(), groupTag, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Droplets) != 1000 || l.Requests != 5 || len(sim.Requests()) != 5 {
		t.Errorf("%d Droplets in %d requests (%d sent), want 1000 in 5", len(l.Droplets), l.Requests, len(sim.Requests()))
	}
	// Pages are read together, so the last answer need not be the last request's.
	if b := l.Budget; b.Limit != 5000 || b.Remaining < 4995 || b.Remaining > 4999 || time.Since(l.Date).Abs() > time.Minute {
		t.Errorf("budget %+v, date %s: not what the answer's headers tell", b, l.Date)
	}
	first := l.Droplets[0]
	if first.PublicIPv4 == "" || first.PrivateIPv4 == "" || first.Region != "nyc3" || first.Size != "s-1vcpu-1gb" ||
		first.PriceHourly == 0 || first.Status != "active" || first.Created.IsZero() || first.Name != "ci-00000000" {
		t.Errorf("a Droplet lacks what DigitalOcean told of it: %+v", first)
	}
}

// TestPagesAreReadTogether: a slow API must not make the list of a large group
// take longer than a Group waits for one, or it would never be complete again.
func TestPagesAreReadTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{Token: testToken, Latency: 2500 * time.Millisecond, PerMinute: -1})
		defer sim.Close()
		for i := range 1500 {
			sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Tags: []string{groupTag}})
		}
		c := over(t, sim.Transport())
		defer c.Close()
		began := time.Now()
		l, err := c.List(t.Context(), groupTag, true)
		if err != nil || len(l.Droplets) != 1500 || l.Requests != 9 {
			t.Errorf("%d Droplets in %d requests, %v; want 1500 in 9", len(l.Droplets), l.Requests, err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %s, want two round trips of 2.5 s", took)
		}
	})
}

// TestListShifts: Droplets that come and go between two pages make entries skip
// or repeat. A list that lacks some is read again, and never given out.
func TestListShifts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fault    dosim.Fault
		requests int // 0 = an error
		droplets int // 0 = 300
	}{
		{"an entry repeats", dosim.Fault{Behaviour: dosim.ListRepeats, Times: -1}, 2, 0},
		{"an entry is skipped once", dosim.Fault{Behaviour: dosim.ListSkips, Query: "page=2"}, 4, 0},
		{"the same list twice, of which its total says more", dosim.Fault{Behaviour: dosim.ListSkips, Query: "page=2", Times: -1}, 4, 299},
		{"a page fails for good", dosim.Fault{Status: 500, Query: "page=2", Times: -1}, 0, 0},
		{"a page is cut for good", dosim.Fault{Cut: true, Query: "page=2", Times: -1}, 0, 0},
		{"a page fails once", dosim.Fault{Status: 500, Query: "page=2"}, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := fleet(t, 300)
				tt.fault.Op = "GET /v2/droplets"
				sim.Inject(tt.fault)
				l, err := over(t, sim.Transport()).List(t.Context(), groupTag, false)
				if tt.requests == 0 {
					if !errors.Is(err, instancegroup.ErrUnconfirmed) || len(l.Droplets) != 0 {
						t.Errorf("%d Droplets, error %v; want an error alone", len(l.Droplets), err)
					}
					return
				}
				want := cmp.Or(tt.droplets, 300)
				if err != nil || len(l.Droplets) != want || l.Requests != tt.requests {
					t.Errorf("%d Droplets in %d requests, error %v; want %d in %d", len(l.Droplets), l.Requests, err, want, tt.requests)
				}
			})
		})
	}
}

// TestListOfOnePage: a total that lags does not keep a list from being believed that
// is the same twice; a different one each time is; nor is a full page the last one
// because no link says so.
func TestListOfOnePage(t *testing.T) {
	page := func(total int, ids ...int) string {
		var ds []string
		for _, id := range ids {
			ds = append(ds, fmt.Sprintf(`{"id":%d,"name":"ci-%08d","tags":[%q]}`, id, id, groupTag))
		}
		return fmt.Sprintf(`{"droplets":[%s],"meta":{"total":%d}}`, strings.Join(ds, ","), total)
	}
	var full []int
	for i := range perPage {
		full = append(full, i+1)
	}
	for _, tt := range []struct {
		name     string
		answers  []string // the last one again and again
		droplets int      // -1 = an error
		requests int
	}{
		{"its total is one too high", []string{page(3, 1, 2)}, 2, 2},
		{"its total is too low", []string{page(1, 1, 2)}, 2, 1},
		{"another one each time", []string{page(3, 1, 2), page(3, 1, 3), page(3, 2, 3)}, -1, 3},
		{"empty, and its total is not", []string{page(1)}, -1, 3},
		{"full, without a link to the next", []string{page(perPage+1, full...), page(perPage+1, 900)}, perPage + 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := 0
			c := over(t, answering(func(*http.Request) (*http.Response, error) {
				sent++
				return answer(200, tt.answers[min(sent, len(tt.answers))-1]), nil
			}))
			l, err := c.List(t.Context(), groupTag, false)
			if (err != nil) != (tt.droplets < 0) || err == nil && len(l.Droplets) != tt.droplets || sent != tt.requests {
				t.Errorf("%d Droplets in %d requests, error %v; want %d in %d", len(l.Droplets), sent, err, tt.droplets, tt.requests)
			}
		})
	}
}

// TestEmptyListSaysWhy: what is wrong with an empty list that is not empty is told, and
// of which list it is.
func TestEmptyListSaysWhy(t *testing.T) {
	for _, kind := range []string{"", "gpus"} {
		c := over(t, answering(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("type") != kind {
				return answer(200, `{"droplets":[],"meta":{"total":0}}`), nil
			}
			return answer(200, `{"droplets":[],"meta":{"total":7}}`), nil
		}))
		_, err := c.List(t.Context(), groupTag, true)
		which := map[string]string{"gpus": " of GPU Droplets"}[kind]
		want := "GET /v2/droplets: the list" + which + " is empty, 3 times, and yet says that there are 7 Droplets: to believe it would be to take them for gone"
		if !errors.Is(err, instancegroup.ErrUnconfirmed) || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// What DigitalOcean has filtered by a tag has it, though a token without tag:read is
// shown none. What is in the list of GPU Droplets, which it does not filter, may be
// anybody's.
func TestTagsHidden(t *testing.T) {
	c := over(t, answering(func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("type") == "gpus" {
			return answer(200, `{"droplets":[{"id":9,"name":"ci-7k2m9qxabc","tags":[]}]}`), nil
		}
		return answer(200, `{"droplets":[{"id":5,"name":"ci-7k2m9qxabd","tags":[]},{"id":6,"name":"ci-7k2m9qxabe","tags":["other"]}]}`), nil
	}))
	l, err := c.List(t.Context(), groupTag, true)
	if err != nil || len(l.Droplets) != 1 || l.Droplets[0].ID != 5 || !instancegroup.HasTag(l.Droplets[0], groupTag) {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestListOfGPUs: GPU Droplets are in a list of their own, which has everybody's.
func TestListOfGPUs(t *testing.T) {
	sim := fleet(t, 2)
	ours := sim.AddDroplet(dosim.Droplet{Name: "ci-gpu00000", Size: "gpu-h100x1-80gb", Tags: []string{"Fleeting-Group:CI"}})
	sim.AddDroplet(dosim.Droplet{Name: "llm", Size: "gpu-h100x1-80gb"})
	c := over(t, sim.Transport())
	for gpus, want := range map[bool]int{false: 2, true: 3} {
		l, err := c.List(t.Context(), groupTag, gpus)
		has := slices.ContainsFunc(l.Droplets, func(d instancegroup.Droplet) bool { return d.ID == int64(ours) })
		if err != nil || len(l.Droplets) != want || has != gpus {
			t.Errorf("gpus %v: %d Droplets, error %v; want %d", gpus, len(l.Droplets), err, want)
		}
	}
}

// TestNoList: what is JSON but not the list is an error: taken for an empty list
// it would let every Droplet count as gone.
func TestNoList(t *testing.T) {
	droplets := func(s string) string { return `{"droplets":` + s + `}` }
	for _, body := range []string{
		"", "null", "{}", "[]", "true", "7", `"droplets"`, `{"droplet":{}}`, `{"message":"hello"}`,
		droplets(`null`), droplets(`null,"meta":{"total":3}`), droplets(`{}`), droplets(`"none"`), droplets(`[[]]`), droplets(`[7]`),
		droplets(`[null]`), droplets(`[{}]`), droplets(`[{"id":0,"name":"ci-7k2m9qxa"}]`), droplets(`[{"id":-1}]`),
		droplets(`[{"id":"1"}]`), droplets(`[{"id":1e99}]`), droplets(`[{"id":1,"tags":"x"}]`),
		droplets(`[],"meta":{"total":1}`), droplets(`[],"meta":{"total":9223372036854775807}`), droplets(`[],"links":[]`),
		droplets(strings.Repeat("[", 1_000_000)), droplets(`[` + strings.Repeat(" ", maxBody)),
	} {
		synctest.Test(t, func(t *testing.T) {
			var sent int
			l, err := over(t, always(&sent, 200, body)).List(t.Context(), groupTag, false)
			if !errors.Is(err, instancegroup.ErrUnconfirmed) || len(l.Droplets) > 0 {
				t.Errorf("%.60q: %d Droplets, error %v; want an unconfirmed error", body, len(l.Droplets), err)
			}
		})
	}
	for _, body := range []string{droplets(`[]`), droplets(`[],"meta":{"total":-5}`), droplets(`[],"links":null,"meta":null`), droplets(`null,"meta":{"total":0}`)} {
		var sent int
		if _, err := over(t, always(&sent, 200, body)).List(t.Context(), groupTag, false); err != nil {
			t.Errorf("%q is an empty list, not %v", body, err)
		}
	}
}

// TestEndlessPages: a list that always has a next page ends.
func TestEndlessPages(t *testing.T) {
	for _, o := range operations {
		var sent int // less than the budget of a minute
		body := `{"droplets":[],"sizes":[],"regions":[],"images":[],"ssh_keys":[],"links":{"pages":{"next":"https://api.digitalocean.com/x"}}}`
		c := over(t, always(&sent, 200, body))
		value, err := o.call(t.Context(), c)
		if sent == 1 {
			continue // not a list
		}
		if o.name == "Usage" || o.name == "TagDroplets" { // an account first, and the tag
			continue
		}
		if err == nil || !zero(value) || sent != maxPages || !strings.Contains(err.Error(), "more than 190 pages") {
			t.Errorf("%s: %d requests, error %v", o.name, sent, err)
		}
	}
}

// TestBodiesAreBounded: an answer without end costs bounded memory.
func TestBodiesAreBounded(t *testing.T) {
	for _, status := range []int{200, 500} {
		synctest.Test(t, func(t *testing.T) {
			var read int
			c := over(t, answering(func(r *http.Request) (*http.Response, error) {
				resp := answer(status, "")
				resp.Body, resp.ContentLength, resp.Request = &endless{&read}, -1, r
				return resp, nil
			}))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for name, call := range map[string]func() error{
				"GET":  func() error { _, err := c.Sizes(ctx); return err },
				"POST": func() error { return c.UploadKey(ctx, "x", somePublic) },
			} {
				read = 0
				if err := call(); !errors.Is(err, instancegroup.ErrUnconfirmed) {
					t.Errorf("%s, %d: error %v, want an unconfirmed one", name, status, err)
				}
				if read > readTries*(maxBody+1<<16) {
					t.Errorf("%s, %d: read %d bytes", name, status, read)
				}
			}
			runtime.GC()
		})
	}
}

// endless is a string that never ends.
type endless struct{ read *int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	if *e.read == 0 {
		p[0] = '"'
	}
	*e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { return nil }

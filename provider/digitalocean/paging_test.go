package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

func TestListReadsEveryPage(t *testing.T) {
	sim, c := simulated(t)
	for i := range 450 {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Tags: []string{groupTag}, Created: time.Now().Add(-time.Hour)})
	}
	sim.AddDroplet(dosim.Droplet{Name: "db", Tags: []string{"prod"}})
	l, err := c.List(t.Context(), groupTag, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Droplets) != 450 || l.Requests != 3 || len(sim.Requests()) != 3 {
		t.Errorf("%d Droplets in %d requests (%d sent), want 450 in 3", len(l.Droplets), l.Requests, len(sim.Requests()))
	}
	// Pages are read together, so the last answer need not be the last request's.
	if b := l.Budget; b.Limit != 5000 || b.Remaining < 4997 || b.Remaining > 4999 || time.Since(l.Date).Abs() > time.Minute {
		t.Errorf("budget %+v, date %s: not what the answer's headers say", b, l.Date)
	}
	first := l.Droplets[0]
	if first.PublicIPv4 == "" || first.PrivateIPv4 == "" || first.Region != "nyc3" || first.Size != "s-1vcpu-1gb" ||
		first.PriceHourly == 0 || first.Status != "active" || first.Created.IsZero() || first.Name != "ci-00000000" {
		t.Errorf("a Droplet lacks what the answer says of it: %+v", first)
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

// One odd field in one Droplet does not fail a list, and costs nothing else of it.
func TestOddFields(t *testing.T) {
	fields := map[string]string{"id": `7`, "name": `"ci-7k2m9qxabc"`, "status": `"active"`, "tags": `["` + groupTag + `"]`, "size_slug": `"s-1vcpu-1gb"`,
		"region": `{"slug":"nyc3"}`, "size": `{"price_hourly":0.5}`, "image": `{"id":9,"slug":"debian-13-x64"}`, "created_at": `"2026-11-01T00:00:00Z"`,
		"networks": `{"v4":[{"type":"public","ip_address":"192.0.2.1"}],"v6":[{"type":"public","ip_address":"2001:db8::1"}]}`}
	list := func(field, value string) (ig.Droplet, error) {
		odd := maps.Clone(fields)
		odd[field] = value
		var droplet []string
		for name, value := range odd {
			droplet = append(droplet, fmt.Sprintf("%q:%s", name, value))
		}
		l, err := saying(t, fmt.Sprintf(`{"droplets":[{%s},{"id":8,"name":"ci-7k2m9qxabd","status":"new","tags":[%q]}],"meta":{"total":2}}`,
			strings.Join(droplet, ","), groupTag)).List(t.Context(), groupTag, false)
		if err != nil || len(l.Droplets) != 2 {
			return ig.Droplet{}, fmt.Errorf("%d Droplets, %w", len(l.Droplets), err)
		}
		return l.Droplets[0], nil
	}
	type droplet = ig.Droplet
	same := func(*droplet) {}
	noAddress := func(d *droplet) { d.PublicIPv4, d.PublicIPv6 = "", "" }
	sound, err := list("locked", "false")
	if err != nil || sound.PriceHourly != 0.5 || sound.PublicIPv4 == "" || sound.PublicIPv6 == "" || sound.Image.ID != 9 || sound.Created.IsZero() {
		t.Fatal(sound, err)
	}
	for _, tt := range []struct {
		field, value string
		change       func(*droplet)
	}{
		{"size", `{"price_hourly":"0.5"}`, func(d *droplet) { d.PriceHourly = 0 }},
		{"size", `null`, func(d *droplet) { d.PriceHourly = 0 }},
		{"size_slug", `5`, func(d *droplet) { d.Size = "" }},
		{"region", `"nyc3"`, func(d *droplet) { d.Region = "" }},
		{"image", `null`, func(d *droplet) { d.Image = ig.Image{} }},
		{"image", `{"id":9,"slug":null}`, func(d *droplet) { d.Image.Slug = "" }},
		{"created_at", `1793491200`, func(d *droplet) { d.Created = time.Time{} }},
		{"created_at", `"yesterday"`, func(d *droplet) { d.Created = time.Time{} }},
		{"networks", `[]`, noAddress},
		{"networks", `null`, noAddress},
		{"networks", `{"v4":[{"type":"public","ip_address":"192.0.2.1","netmask":20,"gateway":[]}],"v6":"none"}`, func(d *droplet) { d.PublicIPv6 = "" }},
		{"vpc_uuid", `7`, same},
		{"locked", `"no"`, same},
		{"next_backup_window", `[]`, same},
		{"memory", `"1 GiB"`, same},
	} {
		want := sound
		tt.change(&want)
		got, err := list(tt.field, tt.value)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s %s: %v (-want +got)\n%s", tt.field, tt.value, err, diff)
		}
	}
	for field, values := range map[string][]string{"id": {`"7"`, `null`}, "name": {`7`, `[]`}, "status": {`7`}, "tags": {`"x"`, `[7]`, `{}`}} {
		for _, value := range values {
			if _, err := list(field, value); !errors.Is(err, ig.ErrUnconfirmed) {
				t.Errorf("%s %s, by which a Droplet is decided about: %v", field, value, err)
			}
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

// GPU Droplets are in a list of their own, which has everybody's.
func TestListOfGPUs(t *testing.T) {
	sim, c := simulated(t)
	sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: []string{groupTag}})
	sim.AddDroplet(dosim.Droplet{Name: "ci-gpu00000", Size: "gpu-h100x1-80gb", Tags: []string{"Fleeting-Group:CI"}})
	sim.AddDroplet(dosim.Droplet{Name: "llm", Size: "gpu-h100x1-80gb", Tags: []string{"other"}})
	for gpus, want := range map[bool]string{false: "ci-7k2m9qxabc", true: "ci-7k2m9qxabc ci-gpu00000"} {
		l, err := c.List(t.Context(), groupTag, gpus)
		var names []string
		for _, d := range l.Droplets {
			names = append(names, d.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("gpus %v: %s, error %v; want %s", gpus, got, err, want)
		}
	}
}

// What is JSON but not the list is an error: taken for an empty list
// it would let every Droplet count as gone.
func TestNoList(t *testing.T) {
	droplets := func(s string) string { return `{"droplets":` + s + `}` }
	for _, body := range []string{
		"", "null", "{}", "[]", "true", "7", `"droplets"`, `{"droplet":{}}`, `{"message":"hello"}`,
		droplets(`null`), droplets(`null,"meta":{"total":3}`), droplets(`{}`), droplets(`"none"`), droplets(`[[]]`), droplets(`[7]`),
		droplets(`[null]`), droplets(`[{}]`), droplets(`[{"id":0,"name":"ci-7k2m9qxa"}]`), droplets(`[{"id":-1}]`),
		droplets(`[{"id":1e99}]`),
		droplets(`[],"meta":{"total":"9"}`), droplets(`[],"meta":{"total":1}`), droplets(`[],"meta":{"total":9223372036854775807}`), droplets(`[],"links":[]`),
		droplets(strings.Repeat("[", 1_000_000)), droplets(`[` + strings.Repeat(" ", maxBody)),
	} {
		synctest.Test(t, func(t *testing.T) {
			l, err := saying(t, body).List(t.Context(), groupTag, false)
			if !errors.Is(err, ig.ErrUnconfirmed) || len(l.Droplets) > 0 {
				t.Errorf("%.60q: %d Droplets, error %v; want an unconfirmed error", body, len(l.Droplets), err)
			}
		})
	}
	for _, body := range []string{droplets(`[]`), droplets(`[],"meta":{"total":-5}`), droplets(`[],"links":null,"meta":null`), droplets(`null,"meta":{"total":0}`)} {
		if _, err := saying(t, body).List(t.Context(), groupTag, false); err != nil {
			t.Errorf("%q is an empty list, not %v", body, err)
		}
	}
}

// It is no answer to anything else either.
func TestNoAnswer(t *testing.T) {
	for _, o := range operations {
		for _, body := range []string{"{}", "null", "[]"} {
			if !o.bodied || !o.reads() {
				continue
			}
			if value, err := o.call(t.Context(), saying(t, body)); !errors.Is(err, ig.ErrUnconfirmed) || !zero(value) {
				t.Errorf("%s: %s: %+v, %v; want an unconfirmed error", o.name, body, value, err)
			}
		}
	}
}

// A list that always has a next page ends.
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

// An answer without end costs bounded memory.
func TestBodiesAreBounded(t *testing.T) {
	for _, status := range []int{200, 500} {
		for name, call := range map[string]func(*Client) error{"GET": sendList, "POST": sendCreate} {
			var read, sent int
			c := over(t, answering(func(*http.Request) (*http.Response, error) {
				sent++
				resp := answer(status, "")
				resp.Body, resp.ContentLength = &endless{&read}, -1
				return resp, nil
			}))
			err := call(c)
			if !errors.Is(err, ig.ErrUnconfirmed) || !strings.Contains(err.Error(), "larger than 4 MiB") || read > maxBody+1<<16 || sent != 1 {
				t.Errorf("%s, %d: read %d bytes of %d answers, error %v", name, status, read, sent, err)
			}
		}
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

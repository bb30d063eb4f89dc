package digitalocean

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// BenchmarkList reads a list of n Droplets: nearly all that the plugin computes.
// The answers are made beforehand, and the network takes no time.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sim := dosim.New(dosim.Options{Token: testToken, DropletLimit: n, PerMinute: -1, PerHour: -1})
			defer sim.Close()
			for i := range n {
				sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Status: "active", Tags: []string{
					"fleeting", groupTag}})
			}
			replay := &replay{base: sim.Transport(), bodies: map[string]string{}}
			c := over(b, replay)
			list := func() {
				c.budget.sent = nil // the pace is somebody else's matter
				if l, err := c.List(b.Context(), groupTag, false); err != nil || len(l.Droplets) != n {
					b.Fatal(len(l.Droplets), err)
				}
			}
			list() // reads all answers once
			bytes := 0
			for _, body := range replay.bodies {
				bytes += len(body)
			}
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				list()
			}
		})
	}
}

// BenchmarkDecode compares what a page of 200 Droplets costs in our own type and in
// godo's.
func BenchmarkDecode(b *testing.B) {
	sim := dosim.New(dosim.Options{Token: testToken, DropletLimit: perPage})
	defer sim.Close()
	for i := range perPage {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Tags: []string{"fleeting", groupTag}})
	}
	req := httptest.NewRequest(http.MethodGet, "/v2/droplets?per_page=200", nil)
	req.Header.Set("Authorization", "Bearer "+testToken)
	recorder := httptest.NewRecorder()
	sim.ServeHTTP(recorder, req)
	page := recorder.Body.Bytes()
	b.Run("ours", func(b *testing.B) { decode[droplet](b, page) })
	b.Run("godo's", func(b *testing.B) { decode[godo.Droplet](b, page) })
}

func decode[T any](b *testing.B, page []byte) {
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		var v struct {
			Droplets []T `json:"droplets"`
		}
		if err := json.Unmarshal(page, &v); err != nil || len(v.Droplets) != perPage {
			b.Fatal(len(v.Droplets), err)
		}
	}
}

// replay answers a request that it has seen before with the same bytes.
type replay struct {
	base   http.RoundTripper
	mu     sync.Mutex
	bodies map[string]string
}

func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.URL.String()
	r.mu.Lock()
	body, seen := r.bodies[key]
	r.mu.Unlock()
	if !seen {
		resp, err := r.base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
		r.mu.Lock()
		r.bodies[key] = body
		r.mu.Unlock()
	}
	resp := answer(http.StatusOK, body, "Content-Type", "application/json")
	resp.Request = req
	return resp, nil
}

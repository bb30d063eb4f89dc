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
	sim, _ := simulated(b)
	for i := range perPage {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Tags: []string{"fleeting", groupTag}})
	}
	req := httptest.NewRequest(http.MethodGet, "/v2/droplets?per_page=200", nil)
	req.Header.Set("Authorization", "Bearer "+testToken)
	page := httptest.NewRecorder()
	sim.ServeHTTP(page, req)
	b.Run("ours", func(b *testing.B) { decode[droplet](b, page.Body.Bytes()) })
	b.Run("godo's", func(b *testing.B) { decode[godo.Droplet](b, page.Body.Bytes()) })
}

func decode[T any](b *testing.B, page []byte) {
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
	r.mu.Lock()
	defer r.mu.Unlock()
	key := req.URL.String()
	if r.bodies[key] == "" {
		resp, err := r.base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		r.bodies[key] = string(b)
	}
	resp := answer(http.StatusOK, r.bodies[key], "Content-Type", "application/json")
	resp.Request = req
	return resp, nil
}

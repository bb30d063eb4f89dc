package digitalocean

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// pagesOf are the pages of a list of n Droplets, in full.
func pagesOf(b *testing.B, n int) (pages []string) {
	sim := dosim.New(dosim.Options{Token: testToken, DropletLimit: n, PerMinute: -1, PerHour: -1})
	defer sim.Close()
	for i := range n {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%08d", i), Status: "active", Tags: []string{"fleeting", groupTag}})
	}
	for i := range (n + perPage - 1) / perPage {
		req := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/v2/droplets?per_page=%d&page=%d", perPage, i+1), nil)
		req.Header.Set("Authorization", "Bearer "+testToken)
		page := httptest.NewRecorder()
		sim.ServeHTTP(page, req)
		pages = append(pages, page.Body.String())
	}
	return pages
}

// BenchmarkList reads a list of n Droplets: nearly all that the plugin computes.
// The answers are made beforehand, and the network takes no time.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			answers := map[string]string{}
			bytes := 0
			for i, page := range pagesOf(b, n) {
				answers[fmt.Sprint(i+1)] = page
				bytes += len(page)
			}
			c := over(b, answering(func(r *http.Request) (*http.Response, error) {
				return answer(http.StatusOK, answers[r.URL.Query().Get("page")]), nil
			}))
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				c.budget.sent = nil // the pace is somebody else's matter
				if l, err := c.List(b.Context(), groupTag, false); err != nil || len(l.Droplets) != n {
					b.Fatal(len(l.Droplets), err)
				}
			}
		})
	}
}

// BenchmarkDecode compares what a page of 200 Droplets costs in our own type and in
// godo's.
func BenchmarkDecode(b *testing.B) {
	page := []byte(pagesOf(b, perPage)[0])
	b.Run("ours", func(b *testing.B) { decodePage[droplet](b, page) })
	b.Run("godo's", func(b *testing.B) { decodePage[godo.Droplet](b, page) })
}

func decodePage[T any](b *testing.B, page []byte) {
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

package dosim_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func TestListsComeInPages(t *testing.T) {
	sim, c := open(t, dosim.Options{DropletLimit: 1000})
	for i := range 45 {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%02d", i)})
	}
	var names string
	var pages, opt = 0, &godo.ListOptions{}
	for {
		droplets, resp, err := c.Droplets.List(ctx, opt)
		if err != nil {
			t.Fatal(err)
		}
		if pages++; resp.Meta.Total != 45 {
			t.Errorf("page %d: total is %d", pages, resp.Meta.Total)
		}
		names += listed(droplets) + " "
		if resp.Links.IsLastPage() {
			break
		}
		page, err := resp.Links.CurrentPage()
		if err != nil {
			t.Fatal(err)
		}
		opt.Page = page + 1
	}
	if names != truth(sim)+" " || pages != 3 {
		t.Errorf("%d pages of 20 by default: %q", pages, names)
	}
}

func TestListFilters(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	sim.AddDroplet(dosim.Droplet{Name: "web", Tags: []string{"a"}})
	sim.AddDroplet(dosim.Droplet{Name: "Web", Tags: []string{"b"}})
	sim.AddDroplet(dosim.Droplet{Name: "gpu", Tags: []string{"a"}, Size: "gpu-h100x1-80gb"})
	sim.AddDroplet(dosim.Droplet{Name: "web-2"})
	for _, test := range []struct {
		how  string
		list func() ([]godo.Droplet, *godo.Response, error)
		want string
	}{
		{"all", func() ([]godo.Droplet, *godo.Response, error) { return c.Droplets.List(ctx, nil) }, "web Web web-2"},
		{"by tag", func() ([]godo.Droplet, *godo.Response, error) { return c.Droplets.ListByTag(ctx, "a", nil) }, "web"},
		{"by unknown tag", func() ([]godo.Droplet, *godo.Response, error) { return c.Droplets.ListByTag(ctx, "z", nil) }, ""},
		{"by name, in any case", func() ([]godo.Droplet, *godo.Response, error) { return c.Droplets.ListByName(ctx, "WEB", nil) }, "web Web"},
		{"GPUs", func() ([]godo.Droplet, *godo.Response, error) { return c.Droplets.ListWithGPUs(ctx, nil) }, "gpu"},
	} {
		droplets, _, err := test.list()
		if err != nil || listed(droplets) != test.want {
			t.Errorf("%s: got %q, %v; want %q", test.how, listed(droplets), err, test.want)
		}
	}
}

func TestRequestsThatLeadNowhere(t *testing.T) {
	sim := dosim.New(dosim.Options{})
	for target, want := range map[string]string{
		"/v2/droplets?tag_name=a&name=b":        dosim.MessageFilters,
		"/v2/droplets?tag_name=a&type=gpus":     dosim.MessageFilters,
		"/v2/droplets?tag_name=a&type=droplets": dosim.MessageFilters,
		"/v2/droplets?type=x":                   "type must be",
		"/v2/droplets?per_page=201":             dosim.MessagePage,
		"/v2/droplets?per_page=-1":              dosim.MessagePage,
		"/v2/droplets?page=0":                   dosim.MessagePage,
		"/v2/droplets?page=7":                   `{"droplets":[],`,
		"/":                                     dosim.MessageNotFound,
		"/v2/nothing":                           dosim.MessageNotFound,
		"/v2/droplets/x":                        dosim.MessageNotFound,
		"/v2/droplets/-1":                       dosim.MessageNotFound,
		"/v2/actions/1":                         dosim.MessageNotFound,
	} {
		status := map[string]int{dosim.MessageNotFound: 404, `{"droplets":[],`: 200}[want]
		if w := request(sim, "GET", target); w.Code != cmp.Or(status, 422) || !strings.Contains(w.Body.String(), want) {
			t.Errorf("GET %s: %d %s, want %s", target, w.Code, w.Body, want)
		}
	}
}

// request sends one with the right token, past godo, for what godo would not send.
func request(h http.Handler, method, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

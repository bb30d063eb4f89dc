package catalog

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// What is the same for all configurations of an account is asked once, and what has a
// fault already is not asked about.
func TestSurveyAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		api, err := digitalocean.New(digitalocean.Options{URL: "https://api.digitalocean.com", Transport: sim.Transport(),
			Token: func() (string, error) { return dosim.DefaultToken, nil }})
		if err != nil {
			t.Fatal(err)
		}
		c := config.Config{Regions: []string{"fra1", "nyc3"},
			Sizes: []string{"s-2vcpu-4gb"}, Image: config.Image{Slug: "docker-20-04"}, SSHKeys: []string{"12", "13"},
			VPC: map[string]string{"nyc3": "00000064-0f0c-4000-8000-000000000064", "fra1": "00000064-0f0c-4000-8000-000000000064"}}
		var r Reader
		for _, faults := range []config.Faults{nil, nil, {{Key: "image"}}} {
			p, err := r.Survey(t.Context(), hclog.NewNullLogger(), api, c, faults)
			if err != nil || p.Fault == nil || strings.Contains(p.Fault.Error(), "plugin_config.image") || !strings.Contains(p.Fault.Error(), "is in fra1, not in nyc3") {
				t.Fatalf("%v, %v", p.Fault, err)
			}
		}
		want := map[string]int{
			"GET /v2/sizes": 1, "GET /v2/regions": 1, "GET /v2/account": 1, "GET /v2/tags/{tag}": 1,
			"GET /v2/images/{id}": 2, "GET /v2/vpcs/{id}": 6, "GET /v2/account/keys/{id}": 6,
		}
		if diff := cmp.Diff(want, sim.RequestCounts()); diff != "" {
			t.Errorf("requests, expected (-) and made (+):\n%s", diff)
		}
	})
}

// What could not be found out is an error, also of an account whose limit is not needed; that tags or the account may not be
// read is an answer.
func TestUnanswered(t *testing.T) {
	for err, want := range map[error]int{
		failed("GET", 500, instancegroup.ErrUnconfirmed): 5, failed("GET", 401, instancegroup.ErrUnauthorized): 5, forbidden("GET"): 3,
	} {
		for i := range 5 {
			s := small()
			*[]*error{&s.sizes.err, &s.regions.err, &s.imageErr, &s.tagRead.err, &s.account.err}[i] = err
			if got := s.unanswered(); errors.Is(got, err) != (i < want) || (got != nil) != (i < want) {
				t.Errorf("question %d, %v: %v", i, err, got)
			}
		}
	}
}

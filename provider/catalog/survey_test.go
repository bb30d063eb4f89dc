package catalog

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

const roundTrip = time.Second

// slow answers after a round trip.
type slow struct{ http.RoundTripper }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(roundTrip)
	return s.RoundTripper.RoundTrip(r)
}

// Init has little time: everything is asked in one round trip, and what is the same for
// all configurations of an account is asked once.
func TestSurveyIsOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		api := over(t, slow{sim.Transport()})
		var r Reader
		c := sound()
		c.VPC = map[string]string{"nyc3": "00000006-0f0c-4000-8000-000000000006", "fra1": "00000064-0f0c-4000-8000-000000000064"}
		c.SSHKeys = []string{"12", "13"}
		for range 2 {
			began := time.Now()
			if _, err := r.Survey(t.Context(), hclog.NewNullLogger(), api, c, nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != roundTrip {
				t.Errorf("it took %s", took)
			}
		}
		want := map[string]int{
			"GET /v2/sizes": 1, "GET /v2/regions": 1, "GET /v2/account": 1, "GET /v2/tags/{tag}": 1,
			"GET /v2/images/{id}": 2, "GET /v2/vpcs/{id}": 4, "GET /v2/account/keys/{id}": 4,
		}
		if diff := cmp.Diff(want, sim.RequestCounts()); diff != "" {
			t.Errorf("requests, expected (-) and made (+):\n%s", diff)
		}

		// What has a fault already is not asked about.
		c.Image = config.Image{}
		p, err := r.Survey(t.Context(), hclog.NewNullLogger(), api, c, config.Faults{{Key: "image"}})
		if err != nil || strings.Contains(p.Fault.Error(), "plugin_config.image") {
			t.Errorf("%+v, %v", p.Fault, err)
		}
		if n := sim.RequestCounts()["GET /v2/images/{id}"]; n != 2 {
			t.Errorf("%d requests for the image", n)
		}
	})
}

// What could not be found out is an error; that a scope is missing is an answer.
func TestUnanswered(t *testing.T) {
	outage := failed("GET", 500, instancegroup.ErrUnconfirmed)
	refused := failed("GET", 401, instancegroup.ErrUnauthorized)
	for name, breaks := range map[string]func(*survey, error){
		"sizes":   func(o *survey, err error) { o.sizes.err = err },
		"regions": func(o *survey, err error) { o.regions.err = err },
		"images":  func(o *survey, err error) { o.images.err = err },
		"tags":    func(o *survey, err error) { o.tagRead.err = err },
		"account": func(o *survey, err error) { o.account.err = err },
	} {
		for err, want := range map[error]bool{outage: true, forbidden("GET"): false, refused: true} {
			o := small()
			breaks(&o, err)
			if got := o.unanswered(); errors.Is(got, err) != want || (got != nil) != want {
				t.Errorf("%s, %v: %v", name, err, got)
			}
		}
	}
	o := small()
	o.config, o.account.err = config.Config{MaxInstances: 3}, outage // it says whose token this is, too
	if got := o.unanswered(); !errors.Is(got, outage) {
		t.Errorf("with max_instances, %v: %v", outage, got)
	}
}

// sound is a configuration without a fault on the simulator's account.
func sound() config.Config {
	return config.Config{Token: config.Token{Source: "the environment"}, Regions: []string{"fra1", "nyc3"},
		Sizes: []string{"s-2vcpu-4gb"}, Image: config.Image{Slug: "docker-20-04"}}
}

func over(t *testing.T, transport http.RoundTripper) *digitalocean.Client {
	t.Helper()
	api, err := digitalocean.New(digitalocean.Options{URL: "https://api.digitalocean.com", Transport: transport,
		Token: func() (string, error) { return dosim.DefaultToken, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

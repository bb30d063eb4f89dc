package catalog

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

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
		if p, err := r.Survey(t.Context(), hclog.NewNullLogger(), api, c, config.Faults{{Key: "image"}}); err != nil || strings.Contains(p.Fault.Error(), "plugin_config.image") {
			t.Errorf("%+v, %v", p.Fault, err)
		}
		if n := sim.RequestCounts()["GET /v2/images/{id}"]; n != 2 {
			t.Errorf("%d requests for the image", n)
		}
	})
}

// What DigitalOcean says is understood as it says it.
func TestSurveyOnTheWire(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare  func(*dosim.Sim, *config.Config)
		fault    string
		warnings []string // their keys
	}{
		"a sound account": {prepare: func(*dosim.Sim, *config.Config) {}},
		"no tag:read": {prepare: func(sim *dosim.Sim, _ *config.Config) {
			sim.Inject(dosim.Fault{Op: "GET /v2/tags/{tag}", Status: http.StatusForbidden, Times: -1})
		}, fault: "tag:read"},
		"a pending image": {prepare: func(sim *dosim.Sim, c *config.Config) {
			c.Image = config.Image{ID: int64(sim.AddImage(dosim.Image{Name: "mine", Regions: []string{"fra1", "nyc3"}, Status: "pending"}))}
		}, warnings: []string{"image"}},
		"a deleted image": {prepare: func(sim *dosim.Sim, c *config.Config) {
			c.Image = config.Image{ID: int64(sim.AddImage(dosim.Image{Name: "mine", Regions: []string{"fra1", "nyc3"}, Status: "deleted"}))}
		}, fault: `has the status "deleted"`},
		"a retired image": {prepare: func(sim *dosim.Sim, c *config.Config) {
			c.Image.Slug = "docker-22-04"
			sim.AddImage(dosim.Image{Slug: "docker-22-04", Public: true, Regions: []string{"fra1", "nyc3"}, Status: "retired"})
		}, fault: `did you mean "docker-20-04"?`},
		"a custom image": {prepare: func(sim *dosim.Sim, c *config.Config) {
			c.Image = config.Image{ID: int64(sim.AddImage(dosim.Image{Name: "mine", Regions: []string{"fra1", "nyc3"}, Custom: true}))}
			c.IPv6 = true
		}, fault: "plugin_config.ipv6: "},
		"a contract size, listed for one of two regions": {prepare: func(_ *dosim.Sim, c *config.Config) {
			c.Sizes = []string{"gpu-h100x1-80gb-contracted"}
		}, warnings: []string{"size"}},
		"a locked account": {prepare: func(sim *dosim.Sim, _ *config.Config) {
			sim.SetAccount(func(a *dosim.Account) { a.Status, a.EmailVerified = "locked", false })
		}, warnings: []string{"", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			sim := dosim.New(dosim.Options{})
			defer sim.Close()
			c := sound()
			tt.prepare(sim, &c)
			p, err := new(Reader).Survey(t.Context(), hclog.NewNullLogger(), over(t, sim.Transport()), c, nil)
			if err != nil {
				t.Fatal(err)
			}
			if (p.Fault != nil) != (tt.fault != "") || p.Fault != nil && !strings.Contains(p.Fault.Error(), tt.fault) {
				t.Errorf("fault %v, want %s", p.Fault, tt.fault)
			}
			var keys []string
			for _, w := range p.Warnings {
				keys = append(keys, w.Key)
			}
			if !slices.Equal(keys, tt.warnings) {
				t.Errorf("warnings %+v, want of %q", p.Warnings, tt.warnings)
			}
		})
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

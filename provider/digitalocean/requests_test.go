package digitalocean

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// What is configured is sent, and what is not set is left to
// DigitalOcean.
func TestCreateRequest(t *testing.T) {
	base := map[string]any{
		"names": []any{"ci-7k2m9qxa"}, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-13-x64",
		"ssh_keys": []any{}, "tags": []any{"fleeting"},
		"backups": false, "ipv6": false, "monitoring": false, "private_networking": false,
	}
	for _, tt := range []struct {
		name   string
		change func(*ig.CreateRequest)
		sent   map[string]any // besides base
	}{
		{"nothing more", func(*ig.CreateRequest) {}, nil},
		{"an image's id", func(r *ig.CreateRequest) { r.Image = ig.Image{ID: 1 << 40} }, map[string]any{"image": float64(1 << 40)}},
		{"keys", func(r *ig.CreateRequest) { r.SSHKeys = []string{someKey, "1099511627776"} }, map[string]any{"ssh_keys": []any{someKey, float64(1 << 40)}}},
		{"a VPC", func(r *ig.CreateRequest) { r.VPC = someVPC }, map[string]any{"vpc_uuid": someVPC}},
		{"a subnet", func(r *ig.CreateRequest) { r.VPC, r.Subnet = someVPC, someVPC }, map[string]any{"vpc_uuid": someVPC, "subnet_uuid": someVPC}},
		{"private only", func(r *ig.CreateRequest) { r.PublicNetworking = false }, map[string]any{"public_networking": false}},
		{"all extras", func(r *ig.CreateRequest) {
			r.IPv6, r.Monitoring, r.Backups, r.UserData = true, true, true, "#cloud-config"
		}, map[string]any{"ipv6": true, "monitoring": true, "backups": true, "user_data": "#cloud-config"}},
		{"no agent", func(r *ig.CreateRequest) { r.WithDropletAgent = new(false) }, map[string]any{"with_droplet_agent": false}},
	} {
		var sent map[string]any
		c := over(t, answering(func(r *http.Request) (*http.Response, error) {
			if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
				t.Error(err)
			}
			return answer(202, `{"droplets":[{"id":7,"name":"ci-7k2m9qxa","status":"new"}]}`, "x-request-id", "r-1"), nil
		}))
		r := ig.CreateRequest{
			Names: []string{"ci-7k2m9qxa"}, Region: "nyc3", Size: "s-1vcpu-1gb", Image: ig.Image{Slug: "debian-13-x64"},
			Tags: []string{"fleeting"}, Template: ig.Template{PublicNetworking: true},
		}
		tt.change(&r)
		created, err := c.Create(t.Context(), r)
		want := maps.Clone(base)
		maps.Copy(want, tt.sent)
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("%s: sent (-want +got):\n%s", tt.name, diff)
		}
		if err != nil || created.RequestID != "r-1" || len(created.Droplets) != 1 || created.Droplets[0].ID != 7 {
			t.Errorf("%s: created %+v, %v", tt.name, created, err)
		}
	}
}

// An upload of a key that the account has succeeds.
func TestKeyIsThereAlready(t *testing.T) {
	sim, c := simulated(t)
	for range 2 {
		if err := c.UploadKey(t.Context(), "laptop", somePublic); err != nil {
			t.Error(err)
		}
	}
	if len(sim.Keys()) != 1 {
		t.Errorf("%d keys on the account", len(sim.Keys()))
	}
}

// Nothing of a Client runs on.
func TestClose(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	sim := dosim.New(dosim.Options{Token: testToken})
	server := httptest.NewServer(sim)
	c := newClient(t, Options{URL: server.URL})
	if _, err := c.Regions(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Close()
	goleak.VerifyNone(t, ignore, goleak.IgnoreAnyFunction("net/http.(*Server).Serve"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
	server.Close()
	sim.Close()
}

// What has no name is not asked about: "GET /v2/images/" is a list, and "DELETE
// /v2/droplets/" is nobody's business. One that has a meaning in an address is a name.
func TestNames(t *testing.T) {
	var asked []string
	c := over(t, answering(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.Method+" "+r.URL.EscapedPath())
		return answer(204, ""), nil
	}))
	for name, call := range map[string]func() error{
		"Image":         func() error { _, err := c.Image(t.Context(), ""); return err },
		"VPCRegion":     func() error { _, err := c.VPCRegion(t.Context(), ""); return err },
		"HasKey":        func() error { return c.HasKey(t.Context(), "") },
		"DeleteKey":     func() error { return c.DeleteKey(t.Context(), "") },
		"RemoveTag":     func() error { return c.RemoveTag(t.Context(), "") },
		"dots":          func() error { return c.RemoveTag(t.Context(), "..") },
		"AssignProject": func() error { return c.AssignProject(t.Context(), "", []int64{7}) },
	} {
		if err := call(); !errors.Is(err, ig.ErrUnsent) || len(asked) > 0 {
			t.Errorf("%s: %v; sent %s", name, err, asked)
		}
	}
	err := c.RemoveTag(t.Context(), "../droplets?tag_name=x")
	if want := []string{"DELETE /v2/tags/..%2Fdroplets%3Ftag_name=x"}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("sent %s, want %s; %v", asked, want, err)
	}
}

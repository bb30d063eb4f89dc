package digitalocean

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/godo"
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
		"ssh_keys": []any{}, "tags": []any{"fleeting"}, "backups": false, "ipv6": false, "monitoring": false,
	}
	for _, tt := range []struct {
		change func(*ig.CreateRequest)
		sent   map[string]any // besides base
	}{
		{func(*ig.CreateRequest) {}, nil},
		{func(r *ig.CreateRequest) { r.Image = ig.Image{ID: 1 << 40} }, map[string]any{"image": float64(1 << 40)}},
		{func(r *ig.CreateRequest) { r.SSHKeys = []string{someKey, "1099511627776"} }, map[string]any{"ssh_keys": []any{someKey, float64(1 << 40)}}},
		{func(r *ig.CreateRequest) { r.VPC, r.Subnet = someVPC, "s" }, map[string]any{"vpc_uuid": someVPC, "subnet_uuid": "s"}},
		{func(r *ig.CreateRequest) { r.PublicNetworking = false }, map[string]any{"public_networking": false}},
		{func(r *ig.CreateRequest) { r.IPv6, r.UserData = true, "#cloud-config" }, map[string]any{"ipv6": true, "user_data": "#cloud-config"}},
		{func(r *ig.CreateRequest) { r.Monitoring, r.Tags = true, nil }, map[string]any{"monitoring": true, "tags": []any{}}},
		{func(r *ig.CreateRequest) { r.Backups, r.WithDropletAgent = true, new(false) }, map[string]any{"backups": true, "with_droplet_agent": false}},
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
		if diff := cmp.Diff(want, sent); diff != "" || err != nil || created.RequestID != "r-1" || len(created.Droplets) != 1 || created.Droplets[0].ID != 7 {
			t.Errorf("created %+v, %v; sent (-want +got):\n%s", created, err, diff)
		}
	}
}

// Droplets are tagged and deleted together; the tag is made, and again if somebody
// removes it.
func TestDeleteTagged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := simulated(t)
		var ids []int64
		for range 4 {
			ids = append(ids, int64(sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxa", Tags: []string{"fleeting"}})))
		}
		const tag = "fleeting-delete:ci"
		err := errors.Join(c.TagDroplets(t.Context(), tag, ids[:2]), c.TagDroplets(t.Context(), tag, ids[2:3]))
		if id, deleteErr := c.DeleteTagged(t.Context(), tag); err != nil || deleteErr != nil || id == "" {
			t.Fatal(id, err, deleteErr)
		}
		time.Sleep(10 * time.Second)
		if left := sim.Droplets(); len(left) != 1 || int64(left[0].ID) != ids[3] || sim.RequestCounts()[opCreateTag] != 1 {
			t.Errorf("left: %v; the tag was made %d times", left, sim.RequestCounts()[opCreateTag])
		}
		if err := errors.Join(c.RemoveTag(t.Context(), tag), c.TagDroplets(t.Context(), tag, ids[3:])); err != nil || !slices.Contains(sim.Tags(), tag) {
			t.Errorf("a tag that somebody removed: %v", err)
		}
	})
}

// Nothing is ever deleted by a tag that may be on what is to live.
func TestDeleteTaggedRefuses(t *testing.T) {
	var sent int
	c := over(t, always(&sent, 204, ""))
	for _, tag := range []string{"", "fleeting", "fleeting-group:ci", "fleeting-delete:", "fleeting-delete:c i", "fleeting-delete:ci-7k2m&x"} {
		if _, err := c.DeleteTagged(t.Context(), tag); !errors.Is(err, ig.ErrRefused) || sent > 0 {
			t.Errorf("%q: %v after %d requests", tag, err, sent)
		}
	}
}

// GPU Droplets count, and are in a list of their own, which has everybody's.
func TestUsage(t *testing.T) {
	sim, c := simulated(t)
	for _, d := range []dosim.Droplet{
		{Name: "ci-7k2m9qxabc", Tags: []string{groupTag}}, {Name: "db"}, {Name: "web"},
		{Name: "ci-7k2m9qxabd", Tags: []string{groupTag}, Size: "gpu-h100x1-80gb"}, {Name: "llm", Size: "gpu-h100x1-80gb"},
	} {
		sim.AddDroplet(d)
	}
	for _, want := range []ig.Usage{{Limit: 5000, Others: 3}, {Others: 3}} { // with account:read, and without
		if u, err := c.Usage(t.Context(), groupTag); err != nil || u != want {
			t.Errorf("%+v, %v; want %+v", u, err, want)
		}
		sim.Inject(dosim.Fault{Op: opAccount, Status: 403, Times: -1})
	}
}

// A gateway is a VPC's way out if it works and is its default.
func TestDefaultFor(t *testing.T) {
	gateway := NATGateway{State: "ACTIVE", VPCs: []*godo.IngressVPC{{VpcUUID: "a"}, {VpcUUID: "b", DefaultGateway: true}}}
	if DefaultFor(gateway, "a") || !DefaultFor(gateway, "b") || DefaultFor(NATGateway{State: "NEW", VPCs: gateway.VPCs}, "b") {
		t.Error("a VPC has the wrong way out")
	}
}

// An upload of a key that the account has succeeds.
func TestKeyIsThereAlready(t *testing.T) {
	sim, c := simulated(t)
	if err := errors.Join(c.UploadKey(t.Context(), "laptop", somePublic), c.UploadKey(t.Context(), "laptop", somePublic)); err != nil || len(sim.Keys()) != 1 {
		t.Errorf("%d keys on the account, %v", len(sim.Keys()), err)
	}
}

// What has no name is not asked about: "GET /v2/images/" is a list, and "DELETE
// /v2/droplets/" is nobody's business. One that has a meaning in an address is a name.
func TestNames(t *testing.T) {
	var asked []string
	c := over(t, answering(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.Method+" "+r.URL.EscapedPath())
		return answer(204, ""), nil
	}))
	for _, name := range []string{"", ".."} {
		if err := c.RemoveTag(t.Context(), name); !errors.Is(err, ig.ErrRefused) || len(asked) > 0 {
			t.Errorf("%q: %v; sent %s", name, err, asked)
		}
	}
	err := c.RemoveTag(t.Context(), "../droplets?tag_name=x")
	if want := []string{"DELETE /v2/tags/..%2Fdroplets%3Ftag_name=x"}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("sent %s, want %s; %v", asked, want, err)
	}
}

// Whatever is sent goes below the path in the API's address, says who sends it, and
// cannot be sent again by Go's transport: it has no way to get its body again.
func TestEveryRequest(t *testing.T) {
	for _, o := range operations {
		c := newClient(t, Options{URL: "https://proxy.example/do/", UserAgent: "test/1", Transport: answering(func(r *http.Request) (*http.Response, error) {
			if !strings.HasPrefix(r.URL.EscapedPath(), "/do/v2/") || r.GetBody != nil ||
				r.Header.Get("Authorization") != "Bearer "+testToken || !strings.HasPrefix(r.UserAgent(), "test/1") {
				t.Errorf("%s: %s, GetBody %v, headers %v", o.name, r.URL, r.GetBody != nil, r.Header)
			}
			return answer(404, `{"id":"not_found"}`), nil
		})})
		_, _ = o.call(t.Context(), c)
	}
}

// A create that is carried out and then reset is made once, and is unconfirmed, though
// the server speaks HTTP/2, as DigitalOcean does. HTTP/2 is not so much as offered;
// neither is an old TLS. (What a server can do with HTTP/2: TestCreatesAreNeverRepeated.)
func TestCreateIsSentOnce(t *testing.T) {
	var creates atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if creates.Add(1); r.ProtoMajor != 1 || r.TLS == nil {
			t.Errorf("sent by %s", r.Proto)
		}
		panic(http.ErrAbortHandler)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(h.SupportedProtos, "h2") || slices.Min(h.SupportedVersions) < tls.VersionTLS12 {
			t.Errorf("offered %q and TLS %#x", h.SupportedProtos, h.SupportedVersions)
		}
		return nil, nil
	}}
	server.StartTLS()
	defer server.Close()
	transport := newTransport()
	transport.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := newClient(t, Options{URL: server.URL, Transport: transport})
	defer c.Close()
	if err := sendCreate(c); !errors.Is(err, ig.ErrUnconfirmed) || creates.Load() != 1 {
		t.Errorf("%d creates were carried out, want 1; error %v", creates.Load(), err)
	}
}

// pooled counts how often its idle connections are closed.
type pooled struct {
	answering
	closed int
}

func (p *pooled) CloseIdleConnections() { p.closed++ }

// One request that finds its connection dead gives up those that are idle: they may be as
// dead, and each would cost another attempt. One that is answered, or nobody waits for, does not.
func TestDeadConnections(t *testing.T) {
	for _, dead := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := &pooled{answering: func(r *http.Request) (*http.Response, error) {
				if !dead {
					return answer(200, `{"regions":[]}`), nil
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			}}
			canceled, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, _ = over(t, p).Regions(canceled)
			if p.closed > 0 {
				t.Error("idle connections are closed without need")
			}
			_, _ = over(t, p).Regions(t.Context())
			if (p.closed > 0) != dead {
				t.Errorf("dead %v: idle connections were closed %d times", dead, p.closed)
			}
		})
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

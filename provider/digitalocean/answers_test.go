package digitalocean

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// What is read of an answer. Odd fields that nothing needs fail nothing, and ids have 64
// bits on every platform.
func TestAnswers(t *testing.T) {
	call := func(name string) func(context.Context, *Client) (any, error) {
		for _, o := range operations {
			if o.name == name {
				return o.call
			}
		}
		panic(name)
	}
	get := func(ctx context.Context, c *Client) (any, error) { return c.Get(ctx, 7) }
	const base = `{"droplet":{"id":7,"name":"x","status":"new","tags":[],"networks":`
	addresses := ig.Droplet{ID: 7, Name: "x", Status: "new", Tags: []string{}, PublicIPv4: "192.0.2.1", PrivateIPv4: "10.0.0.1", PublicIPv6: "2001:db8::1"}
	for _, tt := range []struct {
		body string
		call func(context.Context, *Client) (any, error)
		want any // nil = an unconfirmed error
	}{
		{`{"account":{"uuid":"p","name":"Ann","droplet_limit":25,"status":"locked","status_message":"Pay.","email_verified":true,"email":"a@b.c"}}`, call("Account"),
			Account{UUID: "p", Name: "Ann", DropletLimit: 25, Status: "locked", StatusMessage: "Pay.", EmailVerified: true, Email: "a@b.c"}},
		{`{"account":{"uuid":"p","name":"Ann","team":{"uuid":"t","name":"T"}}}`, call("Account"), Account{UUID: "t", Name: "T", Team: &godo.TeamInfo{UUID: "t", Name: "T"}}},
		{`{"sizes":[{"slug":"s-1vcpu-1gb","regions":["nyc3"],"available":true,"disk":25,"price_hourly":0.5,"gpu_info":null},
			{"slug":"gpu-h100x1-80gb","price_hourly":"3.39"},{"slug":"h9","disk":"?","gpu_info":"?"}]}`, call("Sizes"),
			[]Size{{Slug: "s-1vcpu-1gb", Regions: []string{"nyc3"}, Available: true, Disk: 25, PriceHourly: 0.5}, {Slug: "gpu-h100x1-80gb"}, {Slug: "h9", GPUInfo: &godo.GPUInfo{}}}},
		// Contract sizes are in a region's sizes alone.
		{`{"regions":[{"slug":"nyc3","available":true,"sizes":["gpu-h200x8-contracted"]}]}`, call("Regions"),
			[]Region{{Slug: "nyc3", Available: true, Sizes: []string{"gpu-h200x8-contracted"}}}},
		{`{"vpcs":[{"id":"v","region":"nyc3","ip_range":"10.116.0.0/20","default":true}]}`, call("VPCs"), []VPC{{ID: "v", RegionSlug: "nyc3", IPRange: "10.116.0.0/20", Default: true}}},
		{`{"vpc":{"id":"v","region":"nyc3"}}`, call("VPCRegion"), "nyc3"},
		{`{"image":{"id":1099511627776,"name":"golden","type":"custom","regions":["nyc3"],"min_disk_size":"20",
			"created_at":"2026-11-01T00:00:00Z","status":"deleted","error_message":"Too large.","size_gigabytes":"?"}}`, call("Image"),
			Image{ID: 1 << 40, Name: "golden", Type: "custom", Regions: []string{"nyc3"}, Created: "2026-11-01T00:00:00Z", Status: "deleted", ErrorMessage: "Too large."}},
		// Only private images that carry the tag, in any case, and can be used.
		{`{"images":[{"id":1,"tags":["Golden"],"status":"available"},{"id":2,"status":"","created_at":"?"},{"id":3,"public":true},
			{"id":4,"tags":["other"]},{"id":5,"status":"pending"},{"id":0}]}`, call("ImagesWithTag"),
			[]Image{{ID: 1, Tags: []string{"Golden"}, Status: "available"}, {ID: 2, Created: "?"}}},
		{`{"images":[{"id":1,"slug":"debian-13-x64","public":true},{"id":2,"slug":"mine"},{"id":3,"public":true}]}`, call("PublicSlugs"), []string{"debian-13-x64"}},
		{`{"ssh_keys":[{"id":1099511627776,"name":"laptop","fingerprint":"3b:16"}]}`, call("Keys"), []Key{{1 << 40, "laptop", "3b:16"}}},
		// Addresses go by type: DigitalOcean documents no order.
		{base + `{"v4":[{"type":"public","ip_address":"192.0.2.1"},{"type":"private","ip_address":"10.0.0.1"}],
			"v6":[{"type":"public","ip_address":"2001:db8::1"}]}}}`, get, addresses},
		{base + `{"v4":[{"type":"private","ip_address":"10.0.0.1"},{"type":"public","ip_address":"192.0.2.1"},
			{"type":"public","ip_address":"192.0.2.2"}],"v6":[{"type":"private","ip_address":"fd00::1"},{"type":"public","ip_address":"2001:db8::1"}]}}}`, get, addresses},
		{`{"droplet":null}`, get, nil},
		{`{"droplet":{"id":8,"name":"x","status":"new","tags":[]}}`, get, nil},
		{`{"droplet":{"id":7,"name":"x","status":7,"tags":[]}}`, get, nil},
		// What a create's answer does not say clearly is left out: lists show it later.
		// Nothing of it makes an accepted create one that failed.
		{`{"droplets":[{"id":1099511627776,"name":"x","status":"new","tags":["x"],"size":[],"image":{"id":1099511627776}},{"id":8,"name":5},{"name":"y"},null,9]}`, call("Create"),
			ig.Created{Droplets: []ig.Droplet{{ID: 1 << 40, Name: "x", Status: "new", Tags: []string{"x"}, Image: ig.Image{ID: 1 << 40}}}}},
		{`{"droplet":{"id":7,"name":"x"}}`, call("Create"), ig.Created{Droplets: []ig.Droplet{{ID: 7, Name: "x"}}}},
	} {
		got, err := tt.call(t.Context(), saying(t, tt.body))
		if tt.want == nil {
			if !errors.Is(err, ig.ErrUnconfirmed) {
				t.Errorf("%s: %+v, %v; want an unconfirmed error", tt.body, got, err)
			}
		} else if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", tt.body, err, diff)
		}
	}
}

// One odd field in one Droplet does not fail a list, and costs nothing else of it, unless
// it is one by which a Droplet is decided about.
func TestOddFields(t *testing.T) {
	const sound = `{"id":7,"name":"ci-7k2m9qxabc","status":"active","tags":["` + groupTag + `"],"size_slug":"s-1vcpu-1gb","size":{"price_hourly":0.5},
		"region":{"slug":"nyc3"},"image":{"id":9,"slug":"debian-13-x64"},"created_at":"2026-11-01T00:00:00Z","locked":false,"vpc_uuid":"v",
		"networks":{"v4":[{"type":"public","ip_address":"192.0.2.1","netmask":"255.255.240.0"}],"v6":[{"type":"public","ip_address":"2001:db8::1"}]}}`
	base := ig.Droplet{ID: 7, Name: "ci-7k2m9qxabc", Status: "active", Tags: []string{groupTag}, Region: "nyc3", Size: "s-1vcpu-1gb",
		Image: ig.Image{Slug: "debian-13-x64", ID: 9}, PublicIPv4: "192.0.2.1", PublicIPv6: "2001:db8::1", PriceHourly: 0.5,
		Created: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	for _, tt := range []struct {
		field, value string            // in place of what it is
		change       func(*ig.Droplet) // nil = an error
	}{
		{`false`, `"no"`, func(*ig.Droplet) {}},
		{`"255.255.240.0"`, `20`, func(*ig.Droplet) {}},
		{`0.5`, `"0.5"`, func(d *ig.Droplet) { d.PriceHourly = 0 }},
		{`{"price_hourly":0.5}`, `[]`, func(d *ig.Droplet) { d.PriceHourly = 0 }},
		{`"s-1vcpu-1gb"`, `5`, func(d *ig.Droplet) { d.Size = "" }},
		{`{"slug":"nyc3"}`, `"nyc3"`, func(d *ig.Droplet) { d.Region = "" }},
		{`"debian-13-x64"`, `null`, func(d *ig.Droplet) { d.Image.Slug = "" }},
		{`"2026-11-01T00:00:00Z"`, `1793491200`, func(d *ig.Droplet) { d.Created = time.Time{} }},
		{`"2026-11-01T00:00:00Z"`, `"yesterday"`, func(d *ig.Droplet) { d.Created = time.Time{} }},
		{`"networks":{`, `"networks":[],"x":{`, func(d *ig.Droplet) { d.PublicIPv4, d.PublicIPv6 = "", "" }},
		{`"id":7`, `"id":"7"`, nil},
		{`"ci-7k2m9qxabc"`, `7`, nil},
		{`"active"`, `[]`, nil},
		{`["` + groupTag + `"]`, `"x"`, nil},
		{`["` + groupTag + `"]`, `[7]`, nil},
	} {
		body := `{"droplets":[` + strings.Replace(sound, tt.field, tt.value, 1) + `,{"id":8,"name":"x","status":"new","tags":["` + groupTag + `"]}],"meta":{"total":2}}`
		l, err := saying(t, body).List(t.Context(), groupTag, false)
		if tt.change == nil {
			if !errors.Is(err, ig.ErrUnconfirmed) {
				t.Errorf("%s in place of %s: %v", tt.value, tt.field, err)
			}
			continue
		}
		want := base
		tt.change(&want)
		if err != nil || len(l.Droplets) != 2 || !cmp.Equal(want, l.Droplets[0]) {
			t.Errorf("%s in place of %s: %+v, %v", tt.value, tt.field, l.Droplets, err)
		}
	}
}

// What is JSON but not the list is an error: taken for an empty list
// it would let every Droplet count as gone.
func TestNoList(t *testing.T) {
	droplets := func(s string) string { return `{"droplets":` + s + `}` }
	for _, body := range []string{
		"", "true", `{"droplet":{}}`, droplets(`null,"meta":{"total":3}`), droplets(`{}`), droplets(`[[]]`), droplets(`[null]`), droplets(`[{}]`),
		droplets(`[{"id":0,"name":"ci-7k2m9qxa"}]`), droplets(`[{"id":-1}]`), droplets(`[{"id":1e99}]`),
		droplets(`[],"meta":{"total":"9"}`), droplets(`[],"meta":{"total":1}`),
		droplets(strings.Repeat("[", 1_000_000)),
	} {
		if l, err := saying(t, body).List(t.Context(), groupTag, false); !errors.Is(err, ig.ErrUnconfirmed) || len(l.Droplets) > 0 {
			t.Errorf("%.60q: %d Droplets, error %v; want an unconfirmed error", body, len(l.Droplets), err)
		}
	}
	for _, body := range []string{droplets(`[]`), droplets(`null`), droplets(`[],"meta":{"total":-5}`), droplets(`[],"links":7,"meta":null`)} {
		if _, err := saying(t, body).List(t.Context(), groupTag, false); err != nil {
			t.Errorf("%q is an empty list, not %v", body, err)
		}
	}
}

// An answer without end costs bounded memory.
func TestBodiesAreBounded(t *testing.T) {
	for sends, call := range map[int]func(*Client) error{readTries: sendList, 1: sendCreate} {
		synctest.Test(t, func(t *testing.T) {
			for _, status := range []int{200, 500} {
				var read, sent int
				err := call(over(t, answering(func(*http.Request) (*http.Response, error) {
					sent++
					resp := answer(status, "")
					resp.Body, resp.ContentLength = io.NopCloser(endless{&read}), -1
					return resp, nil
				})))
				if !errors.Is(err, ig.ErrUnconfirmed) || !strings.Contains(err.Error(), "larger than 4 MiB") || read > sends*(maxBody+1<<16) || sent != sends {
					t.Errorf("sent %d times, %d: read %d bytes of %d answers, error %v", sends, status, read, sent, err)
				}
			}
		})
	}
}

// endless is a body that never ends.
type endless struct{ read *int }

func (e endless) Read(p []byte) (int, error) { *e.read += len(p); return len(p), nil }

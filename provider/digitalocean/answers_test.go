package digitalocean

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// What is read of an answer. Odd fields that nothing needs fail nothing, and ids have 64
// bits on every platform.
func TestAnswers(t *testing.T) {
	get := func(ctx context.Context, c *Client) (any, error) { return c.Get(ctx, 7) }
	account := func(ctx context.Context, c *Client) (any, error) { return c.Account(ctx) }
	create := func(ctx context.Context, c *Client) (any, error) { return c.Create(ctx, ig.CreateRequest{}) }
	const base = `{"droplet":{"id":7,"name":"x","status":"new","tags":[],"networks":`
	addresses := ig.Droplet{ID: 7, Name: "x", Status: "new", Tags: []string{}, PublicIPv4: "192.0.2.1", PrivateIPv4: "10.0.0.1", PublicIPv6: "2001:db8::1"}
	for _, tt := range []struct {
		name, body string
		call       func(context.Context, *Client) (any, error)
		want       any // nil = an unconfirmed error
	}{
		{"an account", `{"account":{"uuid":"p","name":"Ann","droplet_limit":25,"status":"locked","status_message":"Pay.","email_verified":true,"email":"a@b.c"}}`, account,
			Account{"p", "Ann", 25, "locked", "Pay.", true, "a@b.c"}},
		{"a team", `{"account":{"uuid":"p","name":"Ann","team":{"uuid":"t","name":"T"},"status":"active"}}`, account, Account{"t", "T", 0, "active", "", false, ""}},
		{"sizes", `{"sizes":[{"slug":"s-1vcpu-1gb","regions":["nyc3"],"available":true,"disk":25,"price_hourly":0.5,"gpu_info":null},
			{"slug":"gpu-h100x1-80gb","price_hourly":"3.39"},{"slug":"h9","disk":"?","gpu_info":"?"}]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Sizes(ctx) },
			[]Size{{Slug: "s-1vcpu-1gb", Regions: []string{"nyc3"}, Available: true, Disk: 25, PriceHourly: 0.5}, {Slug: "gpu-h100x1-80gb"}, {Slug: "h9", GPUInfo: &godo.GPUInfo{}}}},
		// Contract sizes are in a region's sizes alone.
		{"regions", `{"regions":[{"slug":"nyc3","available":true,"sizes":["gpu-h200x8-contracted"]}]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Regions(ctx) }, []Region{{Slug: "nyc3", Available: true, Sizes: []string{"gpu-h200x8-contracted"}}}},
		{"VPCs", `{"vpcs":[{"id":"v","region":"nyc3","ip_range":"10.116.0.0/20","default":true}]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.VPCs(ctx) }, []VPC{{"v", "nyc3", "10.116.0.0/20", true}}},
		{"a VPC", `{"vpc":{"id":"v","region":"nyc3"}}`, func(ctx context.Context, c *Client) (any, error) { return c.VPCRegion(ctx, "v") }, "nyc3"},
		// A tag's answer has a whole Droplet in it, which is not read.
		{"tags", `{"tags":[{"name":"fleeting","resources":{"count":3,"droplets":{"count":2,"last_tagged":{"id":"?"}}}},{"name":"x"}]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Tags(ctx) }, []Tag{{"fleeting", 3}, {"x", 0}}},
		{"a tag", `{"tag":{"resources":{"last_tagged":7,"droplets":[]}}}`,
			func(ctx context.Context, c *Client) (any, error) {
				return true, errors.Join(c.CheckTagRead(ctx, "x"), c.TagDroplets(ctx, "x", []int64{7}))
			}, true},
		{"an image", `{"image":{"id":1099511627776,"name":"golden","type":"custom","regions":["nyc3"],"min_disk_size":"20",
			"created_at":"2026-11-01T00:00:00Z","status":"deleted","error_message":"Too large.","size_gigabytes":"?"}}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Image(ctx, "5") },
			Image{ID: 1 << 40, Name: "golden", Type: "custom", Regions: []string{"nyc3"}, Created: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Status: "deleted", ErrorMessage: "Too large."}},
		// Only private images that carry the tag, in any case, and can be used.
		{"images with a tag", `{"images":[{"id":1,"tags":["Golden"],"status":"available"},{"id":2,"status":""},{"id":3,"public":true},
			{"id":4,"tags":["other"]},{"id":5,"status":"pending"},{"id":0}]}`,
			func(ctx context.Context, c *Client) (any, error) {
				var ids []int64
				images, err := c.ImagesWithTag(ctx, "golden")
				for _, i := range images {
					ids = append(ids, i.ID)
				}
				return ids, err
			}, []int64{1, 2}},
		{"slugs", `{"images":[{"id":1,"slug":"debian-13-x64","public":true},{"id":2,"slug":"mine"},{"id":3,"public":true}]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.PublicSlugs(ctx) }, []string{"debian-13-x64"}},
		// Addresses go by type: DigitalOcean documents no order.
		{"addresses", base + `{"v4":[{"type":"public","ip_address":"192.0.2.1"},{"type":"private","ip_address":"10.0.0.1"}],
			"v6":[{"type":"public","ip_address":"2001:db8::1"}]}}}`, get, addresses},
		{"addresses in another order", base + `{"v4":[{"type":"private","ip_address":"10.0.0.1"},{"type":"public","ip_address":"192.0.2.1"},
			{"type":"public","ip_address":"192.0.2.2"}],"v6":[{"type":"private","ip_address":"fd00::1"},{"type":"public","ip_address":"2001:db8::1"}]}}}`, get, addresses},
		{"nothing", `{}`, get, nil},
		{"null", `{"droplet":null}`, get, nil},
		{"another Droplet", `{"droplet":{"id":8,"name":"x","status":"new","tags":[]}}`, get, nil},
		{"a Droplet with an odd status", `{"droplet":{"id":7,"name":"x","status":7,"tags":[]}}`, get, nil},
		// What a create's answer does not say clearly is left out: lists show it later.
		// Nothing of it makes an accepted create one that failed.
		{"a create", `{"droplets":[{"id":1099511627776,"name":"x","status":"new","tags":["x"],"size":[],"image":{"id":1099511627776}},{"id":8,"name":5},{"name":"y"},null,9]}`, create,
			ig.Created{Droplets: []ig.Droplet{{ID: 1 << 40, Name: "x", Status: "new", Tags: []string{"x"}, Image: ig.Image{ID: 1 << 40}}}}},
		{"keys", `{"ssh_keys":[{"id":1099511627776,"name":"laptop","fingerprint":"3b:16"}]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Keys(ctx) }, []Key{{1 << 40, "laptop", "3b:16"}}},
		{"a create by a single name", `{"droplet":{"id":7,"name":"x"}}`, create, ig.Created{Droplets: []ig.Droplet{{ID: 7, Name: "x"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.call(t.Context(), saying(t, tt.body))
			if tt.want == nil {
				if !errors.Is(err, ig.ErrUnconfirmed) {
					t.Errorf("%+v, %v; want an unconfirmed error", got, err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

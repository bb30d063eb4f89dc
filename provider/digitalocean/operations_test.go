package digitalocean

import (
	"context"
	"reflect"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// operation is one thing that the plugin asks of DigitalOcean.
type operation struct {
	name   string
	op     string // the request, as CloudError.Op and the simulator name it
	bodied bool   // success has a body that must make sense
	call   func(context.Context, *Client) (value any, err error)
}

// reads says that the operation changes nothing, so that it may be repeated.
func (o operation) reads() bool { return o.op[:3] == "GET" }

// first is how many requests it sends before it has an answer.
func (o operation) first() int {
	if o.name == "Usage" {
		return 4
	}
	return 1
}

const (
	someDroplet = 512_000_001
	someKey     = "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa"
	someVPC     = "00000001-0f0c-4000-8000-000000000001"
	someProject = "00000002-9a3e-4000-8000-000000000002"
	somePublic  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
)

// operations are all of them.
var operations = []operation{
	{"List", opList, true, func(ctx context.Context, c *Client) (any, error) { return c.List(ctx, "fleeting-group:ci", false) }},
	{"Get", opGet, true, func(ctx context.Context, c *Client) (any, error) { return c.Get(ctx, someDroplet) }},
	{"Create", opCreate, true, func(ctx context.Context, c *Client) (any, error) {
		return c.Create(ctx, ig.CreateRequest{Names: []string{"ci-7k2m9qxa"}, Region: "nyc3", Size: "s-1vcpu-1gb",
			Image: ig.Image{Slug: "debian-13-x64"}, SSHKeys: []string{someKey}, Tags: []string{"fleeting"}})
	}},
	{"Delete", opDelete, false, func(ctx context.Context, c *Client) (any, error) { return c.Delete(ctx, someDroplet) }},
	{"TagDroplets", opTagDroplets, false, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.TagDroplets(ctx, "fleeting-delete:ci", []int64{someDroplet})
	}},
	{"CheckTagRead", opGetTag, false, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.CheckTagRead(ctx, "fleeting-group:ci")
	}},
	{"Tags", "GET /v2/tags", true, func(ctx context.Context, c *Client) (any, error) { return c.Tags(ctx) }},
	{"DeleteTagged", opDeleteTagged, false, func(ctx context.Context, c *Client) (any, error) {
		return c.DeleteTagged(ctx, "fleeting-delete:ci")
	}},
	{"RemoveTag", opRemoveTag, false, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.RemoveTag(ctx, "fleeting-delete:ci")
	}},
	{"AssignProject", opProject, false, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.AssignProject(ctx, someProject, []int64{someDroplet})
	}},
	{"ImagesWithTag", "GET /v2/images", true, func(ctx context.Context, c *Client) (any, error) { return c.ImagesWithTag(ctx, "golden") }},
	{"PublicSlugs", "GET /v2/images", true, func(ctx context.Context, c *Client) (any, error) { return c.PublicSlugs(ctx) }},
	{"Image", "GET /v2/images/{id}", true, func(ctx context.Context, c *Client) (any, error) { return c.Image(ctx, "debian-13-x64") }},
	{"Usage", opAccount, true, func(ctx context.Context, c *Client) (any, error) { return c.Usage(ctx, "fleeting-group:ci") }},
	{"Account", opAccount, true, func(ctx context.Context, c *Client) (any, error) { return c.Account(ctx) }},
	{"Sizes", "GET /v2/sizes", true, func(ctx context.Context, c *Client) (any, error) { return c.Sizes(ctx) }},
	{"Regions", "GET /v2/regions", true, func(ctx context.Context, c *Client) (any, error) { return c.Regions(ctx) }},
	{"VPCRegion", "GET /v2/vpcs/{id}", true, func(ctx context.Context, c *Client) (any, error) { return c.VPCRegion(ctx, someVPC) }},
	{"VPCs", "GET /v2/vpcs", true, func(ctx context.Context, c *Client) (any, error) { return c.VPCs(ctx) }},
	{"HasKey", opKey, true, func(ctx context.Context, c *Client) (any, error) { return nil, c.HasKey(ctx, someKey) }},
	{"UploadKey", opUploadKey, true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.UploadKey(ctx, "fleeting-ci-7k2m9qxa", somePublic)
	}},
	{"DeleteKey", opDeleteKey, false, func(ctx context.Context, c *Client) (any, error) { return nil, c.DeleteKey(ctx, someKey) }},
	{"Keys", "GET /v2/account/keys", true, func(ctx context.Context, c *Client) (any, error) { return c.Keys(ctx) }},
}

// zero reports whether an operation's value is none.
func zero(v any) bool { return v == nil || reflect.ValueOf(v).IsZero() }

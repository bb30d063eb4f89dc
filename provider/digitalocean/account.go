package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/digitalocean/godo"
	"golang.org/x/sync/errgroup"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// What an account has, besides Droplets.
var (
	opAccount   = op("GET /v2/account", "account:read")
	opProject   = op("POST /v2/projects/{id}/resources", "project:assign_resource")
	opSizes     = op("GET /v2/sizes", "sizes:read", "regions:read")
	opRegions   = op("GET /v2/regions", "regions:read")
	opImages    = op("GET /v2/images", "image:read")
	opImage     = op("GET /v2/images/{id}", "image:read")
	opVPCs      = op("GET /v2/vpcs", "vpc:read")
	opVPC       = op("GET /v2/vpcs/{id}", "vpc:read")
	opKeys      = op("GET /v2/account/keys", "ssh_key:read")
	opKey       = op("GET /v2/account/keys/{id}", "ssh_key:read")
	opUploadKey = op("POST /v2/account/keys", "ssh_key:create")
	opDeleteKey = op("DELETE /v2/account/keys/{id}", "ssh_key:delete")
)

// These are godo's.
type (
	Account    = godo.Account // its UUID and Name are those of the team that the token is of, if it is of one
	Size       = godo.Size
	Region     = godo.Region // contract sizes are only in its Sizes, which the account may use there
	VPC        = godo.VPC
	NATGateway = godo.VPCNATGateway
)

// Account reads the account. The Client remembers it: a token that replaces this one
// must be of the same account.
func (c *Client) Account(ctx context.Context) (Account, error) {
	var a Account
	if _, err := c.send(ctx, request{op: opAccount, into: &a, under: "account"}); err != nil {
		return Account{}, err
	}
	if a.Team != nil && a.Team.UUID != "" {
		a.UUID, a.Name = a.Team.UUID, a.Team.Name
	}
	if ctx.Value(byToken{}) == nil {
		c.tokens.account.CompareAndSwap(nil, &a)
	}
	return a, nil
}

// Usage takes all counts from lists, which lack the youngest Droplets, so that the
// differences do not. GPU Droplets are in a list of their own, which has everybody's.
func (c *Client) Usage(ctx context.Context, tag string) (ig.Usage, error) {
	var account Account
	var totals [2]int
	var gpus ig.List
	var reads errgroup.Group
	for i, query := range []url.Values{{"per_page": {"1"}}, {"per_page": {"1"}, "tag_name": {tag}}} {
		reads.Go(func() error {
			a, err := c.send(ctx, request{op: opList, query: query, into: new([]droplet), under: "droplets"})
			totals[i] = a.total
			return err
		})
	}
	reads.Go(func() (err error) { gpus, err = c.list(ctx, url.Values{"type": {"gpus"}}); return err })
	reads.Go(func() (err error) {
		if account, err = c.Account(ctx); errors.Is(err, ig.ErrForbidden) {
			return nil // the limit is unknown
		}
		return err
	})
	if err := reads.Wait(); err != nil {
		return ig.Usage{}, err
	}
	u := ig.Usage{Limit: account.DropletLimit, Others: max(0, totals[0]-totals[1])}
	for _, d := range gpus.Droplets {
		if !ig.HasTag(d, tag) {
			u.Others++
		}
	}
	return u, nil
}

func (c *Client) AssignProject(ctx context.Context, project string, ids []int64) error {
	var resources []string
	for _, id := range ids {
		resources = append(resources, fmt.Sprint("do:droplet:", id))
	}
	_, err := c.send(ctx, request{op: opProject, name: project, body: map[string][]string{"resources": resources}})
	return err
}

// Key is an SSH key on the account.
type Key struct {
	ID          int64  `json:"id"`
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"` // MD5, with colons
}

// HasKey returns nil or ErrNotFound. Unlike Keys it has no rate limit of its own.
func (c *Client) HasKey(ctx context.Context, idOrFingerprint string) error {
	_, err := c.send(ctx, request{op: opKey, name: idOrFingerprint, into: &Key{}, under: "ssh_key"})
	return err
}

// UploadKey puts a public key on the account. That it is there already is no error.
func (c *Client) UploadKey(ctx context.Context, name, publicKey string) error {
	body := &godo.KeyCreateRequest{Name: name, PublicKey: publicKey}
	_, err := c.send(ctx, request{op: opUploadKey, body: body, into: &Key{}, under: "ssh_key"})
	if e, ok := errors.AsType[*ig.CloudError](err); ok && e.Status == 422 && strings.Contains(e.Message, "already in use") {
		return nil
	}
	return err
}

func (c *Client) DeleteKey(ctx context.Context, idOrFingerprint string) error {
	_, err := c.send(ctx, request{op: opDeleteKey, name: idOrFingerprint})
	return err
}

// Keys returns all keys of the account. DigitalOcean allows 10 such requests a minute.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	return getAll[Key](ctx, c, opKeys, "ssh_keys", nil)
}

func (c *Client) Sizes(ctx context.Context) ([]Size, error) {
	return getAll[Size](ctx, c, opSizes, "sizes", nil)
}

func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	return getAll[Region](ctx, c, opRegions, "regions", nil)
}

// Image is an image that Droplets can boot.
type Image struct {
	ID           int64    `json:"id"`
	Slug         string   `json:"slug"` // "" = a private one
	Name         string   `json:"name"` // for people: "Docker on Ubuntu 22.04"
	Type         string   `json:"type"` // base, snapshot, backup, custom, admin
	Public       bool     `json:"public"`
	Tags         []string `json:"tags"`
	Regions      []string `json:"regions"`
	MinDiskSize  int      `json:"min_disk_size"` // GiB
	Created      string   `json:"created_at"`    // RFC 3339 in UTC, which sorts as text
	Status       string   `json:"status"`        // NEW, available, pending, deleted or retired; "" = unknown
	ErrorMessage string   `json:"error_message"` // of a Status that is not available
}

// Image looks one image up by its slug or id.
func (c *Client) Image(ctx context.Context, slugOrID string) (i Image, err error) {
	_, err = c.send(ctx, request{op: opImage, name: slugOrID, into: &i, under: "image"})
	return i, err
}

// PublicSlugs returns the slugs of the images that DigitalOcean offers.
func (c *Client) PublicSlugs(ctx context.Context) (slugs []string, err error) {
	all, err := getAll[Image](ctx, c, opImages, "images", nil)
	for _, i := range all {
		if i.Public && i.Slug != "" {
			slugs = append(slugs, i.Slug)
		}
	}
	return slugs, err
}

// ImagesWithTag returns the account's private images that carry tag and can be used.
func (c *Client) ImagesWithTag(ctx context.Context, tag string) ([]Image, error) {
	all, err := getAll[Image](ctx, c, opImages, "images", url.Values{"tag_name": {tag}})
	return slices.DeleteFunc(all, func(i Image) bool {
		usable := i.ID != 0 && (i.Status == "" || i.Status == "available")
		return i.Public || !usable || i.Tags != nil && !ig.HasTag(ig.Droplet{Tags: i.Tags}, tag)
	}), err
}

func (c *Client) VPCs(ctx context.Context) ([]VPC, error) {
	return getAll[VPC](ctx, c, opVPCs, "vpcs", nil)
}

// VPCRegion returns the region that a VPC is in.
func (c *Client) VPCRegion(ctx context.Context, uuid string) (string, error) {
	var v VPC
	_, err := c.send(ctx, request{op: opVPC, name: uuid, into: &v, under: "vpc"})
	return v.RegionSlug, err
}

// Subnet is a part of a VPC, with addresses of its own.
type Subnet struct {
	ID      string `json:"id"`
	IPRange string `json:"ip_range"` // "10.20.0.0/16"
}

// Subnets returns the subnets of a VPC.
func (c *Client) Subnets(ctx context.Context, vpc string) ([]Subnet, error) {
	return getAll[Subnet](ctx, c, opVPCs+"/"+url.PathEscape(vpc)+"/subnets", "vpc_subnets", nil)
}

// NATGateways returns all NAT gateways of the account, which are ways out of VPCs.
func (c *Client) NATGateways(ctx context.Context) ([]NATGateway, error) {
	return getAll[NATGateway](ctx, c, "GET /v2/vpc_nat_gateways", "vpc_nat_gateways", nil)
}

// DefaultFor reports whether a gateway is the default route of a VPC.
func DefaultFor(g NATGateway, vpc string) bool {
	return strings.EqualFold(g.State, "active") &&
		slices.ContainsFunc(g.VPCs, func(v *godo.IngressVPC) bool { return v.VpcUUID == vpc && v.DefaultGateway })
}

// scopesOf are the scopes that each request needs of a custom token, by DigitalOcean's
// specification and by what it does along the way.
var scopesOf = map[string][]string{}

// op is a request by its method and path, as in DigitalOcean's documentation.
func op(request string, scopes ...string) string {
	scopesOf[request] = scopes
	return request
}

// Scope is a scope of a custom token, and how the token answered for it.
type Scope struct {
	Name    string // such as droplet:create
	Asked   string // the request that showed it
	Missing bool
	Unknown string // why it is unknown; "" = it is not
}

// probes are requests whose answers show whether the token has a scope: 403 = no.
//
// Invariant: no probe can change anything, whatever the answer. Those that do not only
// read have no target that can exist, and nothing in them that could be made: no
// Droplet has the id 0, no tag a space, a Droplet needs a name, a size and an image.
// (TestScopesChangeNothing)
var probes = map[string]string{
	"droplet:read":            "GET /v2/droplets?per_page=1",
	"droplet:create":          "POST /v2/droplets",
	"droplet:delete":          "DELETE /v2/droplets/0",
	"droplet:update":          "POST /v2/tags/no%20tag/resources",
	"tag:read":                "GET /v2/tags?per_page=1",
	"tag:create":              "POST /v2/tags",
	"tag:delete":              "DELETE /v2/tags/no%20tag",
	"regions:read":            "GET /v2/regions?per_page=1",
	"sizes:read":              "GET /v2/sizes?per_page=1",
	"image:read":              "GET /v2/images?per_page=1",
	"actions:read":            "GET /v2/actions?per_page=1",
	"account:read":            "GET /v2/account",
	"ssh_key:read":            "GET /v2/account/keys/0",
	"ssh_key:create":          "POST /v2/account/keys",
	"ssh_key:delete":          "DELETE /v2/account/keys/0",
	"vpc:read":                "GET /v2/vpcs?per_page=1",
	"project:assign_resource": "POST /v2/projects/00000000-0000-0000-0000-000000000000/resources",
}

// Scopes returns which of the named scopes the token has, in their order. An endpoint
// that checks a request's form before it looks at the token's scopes seems to allow all.
func (c *Client) Scopes(ctx context.Context, names ...string) ([]Scope, error) {
	var out []Scope
	for _, name := range names {
		s := Scope{Name: name, Asked: probes[name]}
		r := request{op: s.Asked}
		if strings.HasPrefix(r.op, "POST ") {
			r.body = struct{}{}
		}
		_, err := c.send(ctx, r)
		e, failed := errors.AsType[*ig.CloudError](err)
		switch {
		case !failed, e.Status == http.StatusNotFound, e.Status == http.StatusBadRequest, e.Status == http.StatusUnprocessableEntity:
		case errors.Is(e, ig.ErrUnauthorized), e.Status == 0:
			return nil, err
		case e.Status == http.StatusForbidden:
			s.Missing = true
		default:
			s.Unknown = e.Error()
		}
		out = append(out, s)
	}
	return out, nil
}

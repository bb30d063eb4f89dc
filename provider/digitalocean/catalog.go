package digitalocean

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

var (
	opSizes   = op("GET /v2/sizes", "sizes:read", "regions:read")
	opRegions = op("GET /v2/regions", "regions:read")
	opImages  = op("GET /v2/images", "image:read")
	opImage   = op("GET /v2/images/{id}", "image:read")
	opVPCs    = op("GET /v2/vpcs", "vpc:read")
	opVPC     = op("GET /v2/vpcs/{id}", "vpc:read")
)

// Size and Region are godo's. Contract sizes are only in a Region's Sizes, which the
// account may use there.
type (
	Size   = godo.Size
	Region = godo.Region
)

// HasGPUs reports whether a size has GPUs, by what DigitalOcean says or by its slug.
func HasGPUs(s Size) bool { return s.GPUInfo != nil || ig.GPUSize(s.Slug) }

// Image is an image that Droplets can boot.
type Image struct {
	ID           int64     `json:"id"`
	Slug         string    `json:"slug"` // "" = a private one
	Name         string    `json:"name"` // for people: "Docker on Ubuntu 22.04"
	Type         string    `json:"type"` // base, snapshot, backup, custom, admin
	Public       bool      `json:"public"`
	Tags         []string  `json:"tags"`
	Regions      []string  `json:"regions"`
	MinDiskSize  int       `json:"min_disk_size"` // GiB
	Created      time.Time `json:"created_at"`
	Status       string    `json:"status"`        // NEW, available, pending, deleted or retired; "" = unknown
	ErrorMessage string    `json:"error_message"` // of a Status that is not available
}

// Sizes returns all sizes on offer.
func (c *Client) Sizes(ctx context.Context) ([]Size, error) {
	return getAll[Size](ctx, c, opSizes, "sizes", nil)
}

// Regions returns all regions.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	return getAll[Region](ctx, c, opRegions, "regions", nil)
}

// Image looks one image up by its slug or id.
func (c *Client) Image(ctx context.Context, slugOrID string) (Image, error) {
	return getOne(ctx, c, request{op: opImage, name: slugOrID}, "image", func(i Image) bool { return i.ID != 0 })
}

// PublicSlugs returns the slugs of the images that DigitalOcean offers.
func (c *Client) PublicSlugs(ctx context.Context) ([]string, error) {
	all, err := getAll[Image](ctx, c, opImages, "images", nil)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, i := range all {
		if i.Public && i.Slug != "" {
			out = append(out, i.Slug)
		}
	}
	return out, nil
}

// ImagesWithTag returns the account's private images that carry tag and can be
// used.
func (c *Client) ImagesWithTag(ctx context.Context, tag string) ([]Image, error) {
	all, err := getAll[Image](ctx, c, opImages, "images", url.Values{"tag_name": {tag}})
	return slices.DeleteFunc(all, func(i Image) bool {
		usable := i.ID != 0 && (i.Status == "" || i.Status == "available")
		return i.Public || !usable || i.Tags != nil && !ig.HasTag(ig.Droplet{Tags: i.Tags}, tag)
	}), err
}

// VPC is a private network.
type VPC struct {
	ID      string `json:"id"`
	Region  string `json:"region"`
	IPRange string `json:"ip_range"` // "10.116.0.0/20"
	Default bool   `json:"default"`  // of its region
}

// VPCs returns all VPCs of the account.
func (c *Client) VPCs(ctx context.Context) ([]VPC, error) {
	return getAll[VPC](ctx, c, opVPCs, "vpcs", nil)
}

// VPCRegion returns the region that a VPC is in.
func (c *Client) VPCRegion(ctx context.Context, uuid string) (string, error) {
	v, err := getOne(ctx, c, request{op: opVPC, name: uuid}, "vpc", func(v VPC) bool { return v.Region != "" })
	return v.Region, err
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

// NATGateway is a way out of VPCs.
type NATGateway struct {
	State string `json:"state"` // "ACTIVE" when it works
	VPCs  []struct {
		ID      string `json:"vpc_uuid"`
		Default bool   `json:"default_gateway"`
	} `json:"vpcs"`
}

// DefaultFor reports whether the gateway is the default route of a VPC.
func (g NATGateway) DefaultFor(vpc string) bool {
	for _, v := range g.VPCs {
		if v.ID == vpc && v.Default && strings.EqualFold(g.State, "active") {
			return true
		}
	}
	return false
}

// NATGateways returns all NAT gateways of the account.
func (c *Client) NATGateways(ctx context.Context) ([]NATGateway, error) {
	return getAll[NATGateway](ctx, c, "GET /v2/vpc_nat_gateways", "vpc_nat_gateways", nil)
}

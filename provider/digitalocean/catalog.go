package digitalocean

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	opSizes   = "GET /v2/sizes"
	opRegions = "GET /v2/regions"
	opImages  = "GET /v2/images"
	opImage   = "GET /v2/images/{id}"
	opVPCs    = "GET /v2/vpcs"
	opVPC     = "GET /v2/vpcs/{id}"
)

// Size is a Droplet size on offer.
type Size struct {
	Slug        string
	Regions     []string // where it can be had now
	Available   bool
	Disk        int     // GiB
	PriceHourly float64 // USD; 0 = unknown
	GPU         bool    // by its slug, or because DigitalOcean says so
}

// Region is a region.
type Region struct {
	Slug      string   `json:"slug"`
	Available bool     `json:"available"`
	Sizes     []string `json:"sizes"` // that the account may use there; contract sizes are in no other list
}

// Image is an image that Droplets can boot.
type Image struct {
	ID           int64
	Slug         string // "" = a private one
	Name         string // for people: "Docker on Ubuntu 22.04"
	Type         string // base, snapshot, backup, custom, admin
	Public       bool
	Regions      []string
	MinDiskSize  int // GiB
	Created      time.Time
	Status       string // NEW, available, pending, deleted or retired; "" = unknown
	ErrorMessage string // of a Status that is not available
}

// Sizes returns all sizes on offer.
func (c *Client) Sizes(ctx context.Context) ([]Size, error) {
	type size struct {
		Slug        string                   `json:"slug"`
		Regions     []string                 `json:"regions"`
		Available   bool                     `json:"available"`
		Disk        lenient[int]             `json:"disk"`
		PriceHourly lenient[float64]         `json:"price_hourly"`
		GPUInfo     lenient[json.RawMessage] `json:"gpu_info"`
	}
	sizes, err := getAll[size](ctx, c, opSizes, "sizes", nil)
	if err != nil {
		return nil, err
	}
	out := make([]Size, len(sizes))
	for i, s := range sizes {
		info := string(s.GPUInfo.Value)
		out[i] = Size{Slug: s.Slug, Regions: s.Regions, Available: s.Available, Disk: s.Disk.Value,
			PriceHourly: s.PriceHourly.Value, GPU: info != "" && info != "null" || ig.GPUSize(s.Slug)}
	}
	return out, nil
}

// Regions returns all regions.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	return getAll[Region](ctx, c, opRegions, "regions", nil)
}

// image is an image as it is read: see Image.
type image struct {
	ID           int64           `json:"id"`
	Slug         string          `json:"slug"`
	Name         lenient[string] `json:"name"`
	Type         string          `json:"type"`
	Public       bool            `json:"public"`
	Regions      []string        `json:"regions"`
	MinDiskSize  lenient[int]    `json:"min_disk_size"`
	Created      lenient[string] `json:"created_at"`
	Status       string          `json:"status"`
	ErrorMessage lenient[string] `json:"error_message"`
	Tags         []string        `json:"tags"`
}

func (i image) Image() Image {
	created, _ := time.Parse(time.RFC3339, i.Created.Value) // else older than all others
	return Image{ID: i.ID, Slug: i.Slug, Name: i.Name.Value, Type: i.Type, Public: i.Public, Regions: i.Regions,
		MinDiskSize: i.MinDiskSize.Value, Created: created, Status: i.Status, ErrorMessage: i.ErrorMessage.Value}
}

// Image looks one image up by its slug or id.
func (c *Client) Image(ctx context.Context, slugOrID string) (Image, error) {
	i, err := getOne(ctx, c, request{op: opImage, name: slugOrID}, "image", func(i image) bool { return i.ID != 0 })
	return i.Image(), err
}

// PublicSlugs returns the slugs of the images that DigitalOcean offers.
func (c *Client) PublicSlugs(ctx context.Context) ([]string, error) {
	all, err := getAll[image](ctx, c, opImages, "images", nil)
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
	all, err := getAll[image](ctx, c, opImages, "images", url.Values{"tag_name": {tag}})
	if err != nil {
		return nil, err
	}
	var out []Image
	for _, i := range all {
		usable := i.ID != 0 && (i.Status == "" || i.Status == "available")
		if !i.Public && usable && (i.Tags == nil || ig.HasTag(ig.Droplet{Tags: i.Tags}, tag)) {
			out = append(out, i.Image())
		}
	}
	return out, nil
}

// TaggedImages implements instancegroup.Cloud.
func (c *Client) TaggedImages(ctx context.Context, tag string) ([]ig.TaggedImage, error) {
	images, err := c.ImagesWithTag(ctx, tag)
	if err != nil {
		return nil, err
	}
	out := make([]ig.TaggedImage, len(images))
	for n, i := range images {
		out[n] = ig.TaggedImage{ID: i.ID, Created: i.Created, Regions: i.Regions}
	}
	return out, nil
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

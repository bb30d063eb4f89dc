package digitalocean

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Size is a Droplet size on offer.
type Size struct {
	Slug        string
	Regions     []string // where it can be had now
	Available   bool
	Disk        int     // GiB
	PriceHourly float64 // USD
	GPU         bool    // by its slug, or because DigitalOcean says so
}

// Region is a region.
type Region struct {
	Slug      string
	Available bool
}

// Image is an image that Droplets can boot.
type Image struct {
	ID          int
	Slug        string // "" = a private one
	Name        string // for people: "Docker on Ubuntu 22.04"
	Public      bool
	Regions     []string
	MinDiskSize int // GiB
	Created     time.Time
}

// Sizes returns all sizes on offer.
func (c *Client) Sizes(ctx context.Context) ([]Size, error) {
	sizes, err := readAll(ctx, c, "v2/sizes", nil, func(l lists) *[]godo.Size { return l.Sizes })
	if err != nil {
		return nil, err
	}
	out := make([]Size, len(sizes))
	for i, s := range sizes {
		out[i] = Size{Slug: s.Slug, Regions: s.Regions, Available: s.Available, Disk: s.Disk,
			PriceHourly: s.PriceHourly, GPU: s.GPUInfo != nil || ig.GPUSize(s.Slug)}
	}
	return out, nil
}

// Regions returns all regions.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	regions, err := readAll(ctx, c, "v2/regions", nil, func(l lists) *[]godo.Region { return l.Regions })
	if err != nil {
		return nil, err
	}
	out := make([]Region, len(regions))
	for i, r := range regions {
		out[i] = Region{Slug: r.Slug, Available: r.Available}
	}
	return out, nil
}

// Image looks one image up by its slug or id.
func (c *Client) Image(ctx context.Context, slugOrID string) (Image, error) {
	var answer struct {
		Image *godo.Image `json:"image"`
	}
	_, err := c.get(ctx, "v2/images/"+url.PathEscape(slugOrID), nil, &answer)
	if err == nil && (answer.Image == nil || answer.Image.ID == 0) {
		err = errors.New("the answer has no image")
	}
	if err != nil {
		return Image{}, c.fail("GET /v2/images/{id}", err)
	}
	return fromImage(*answer.Image), nil
}

// PublicSlugs lists the slugs of the images that DigitalOcean offers.
func (c *Client) PublicSlugs(ctx context.Context) ([]string, error) {
	all, err := c.images(ctx, nil)
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

// ImagesWithTag lists the account's private images that carry tag and can be
// used.
func (c *Client) ImagesWithTag(ctx context.Context, tag string) ([]Image, error) {
	all, err := c.images(ctx, url.Values{"tag_name": {tag}})
	if err != nil {
		return nil, err
	}
	var out []Image
	for _, i := range all {
		usable := i.ID != 0 && (i.Status == "" || i.Status == "available")
		if !i.Public && usable && (i.Tags == nil || hasTag(i.Tags, tag)) {
			out = append(out, fromImage(i))
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

func (c *Client) images(ctx context.Context, query url.Values) ([]godo.Image, error) {
	return readAll(ctx, c, "v2/images", query, func(l lists) *[]godo.Image { return l.Images })
}

func fromImage(i godo.Image) Image {
	created, _ := time.Parse(time.RFC3339, i.Created) // none: older than all others
	return Image{ID: i.ID, Slug: i.Slug, Name: i.Name, Public: i.Public, Regions: i.Regions, MinDiskSize: i.MinDiskSize, Created: created}
}

// VPC is a private network.
type VPC struct {
	ID      string
	Region  string
	IPRange string // "10.116.0.0/20"
	Default bool   // of its region
}

// VPCs lists all VPCs of the account.
func (c *Client) VPCs(ctx context.Context) ([]VPC, error) {
	vpcs, err := readAll(ctx, c, "v2/vpcs", nil, func(l lists) *[]godo.VPC { return l.VPCs })
	if err != nil {
		return nil, err
	}
	out := make([]VPC, len(vpcs))
	for i, v := range vpcs {
		out[i] = VPC{ID: v.ID, Region: v.RegionSlug, IPRange: v.IPRange, Default: v.Default}
	}
	return out, nil
}

// VPCRegion returns the region that a VPC is in.
func (c *Client) VPCRegion(ctx context.Context, uuid string) (string, error) {
	var answer struct {
		VPC *godo.VPC `json:"vpc"`
	}
	_, err := c.get(ctx, "v2/vpcs/"+url.PathEscape(uuid), nil, &answer)
	if err == nil && (answer.VPC == nil || answer.VPC.RegionSlug == "") {
		err = errors.New("the answer has no VPC")
	}
	if err != nil {
		return "", c.fail("GET /v2/vpcs/{id}", err)
	}
	return answer.VPC.RegionSlug, nil
}

package digitalocean

import (
	"context"
	"fmt"
	"net/url"

	"github.com/digitalocean/godo"
)

// Size is a Droplet size on offer.
type Size struct {
	Slug        string
	Regions     []string // where it can be had now
	Available   bool
	Disk        int     // GiB
	PriceHourly float64 // USD
	GPU         bool
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
	Name        string
	Regions     []string
	MinDiskSize int // GiB
}

// Sizes returns all sizes on offer.
func (c *Client) Sizes(ctx context.Context) ([]Size, error) {
	var out []Size
	err := pages(func(page int) (bool, error) {
		var answer struct {
			Sizes []godo.Size `json:"sizes"`
			paging
		}
		_, err := c.get(ctx, "v2/sizes", pageQuery(page), &answer)
		for _, s := range answer.Sizes {
			out = append(out, Size{Slug: s.Slug, Regions: s.Regions, Available: s.Available, Disk: s.Disk,
				PriceHourly: s.PriceHourly, GPU: s.GPUInfo != nil})
		}
		return answer.more(), err
	})
	return out, c.fail("GET /v2/sizes", err)
}

// Regions returns all regions.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	var out []Region
	err := pages(func(page int) (bool, error) {
		var answer struct {
			Regions []godo.Region `json:"regions"`
			paging
		}
		_, err := c.get(ctx, "v2/regions", pageQuery(page), &answer)
		for _, r := range answer.Regions {
			out = append(out, Region{Slug: r.Slug, Available: r.Available})
		}
		return answer.more(), err
	})
	return out, c.fail("GET /v2/regions", err)
}

// Image looks one image up by its slug or id.
func (c *Client) Image(ctx context.Context, slugOrID string) (Image, error) {
	i, _, err := c.api.Images.GetBySlug(ctx, slugOrID)
	if err == nil && i == nil {
		err = fmt.Errorf("the answer has no image")
	}
	if err != nil {
		return Image{}, c.fail("GET /v2/images/{image}", err)
	}
	return fromImage(*i), nil
}

// PublicImages lists the images that DigitalOcean offers.
func (c *Client) PublicImages(ctx context.Context) ([]Image, error) {
	all, err := c.images(ctx, nil)
	if err != nil {
		return nil, err
	}
	var out []Image
	for _, i := range all {
		if i.Public && i.Slug != "" {
			out = append(out, fromImage(i))
		}
	}
	return out, nil
}

func fromImage(i godo.Image) Image {
	return Image{ID: i.ID, Slug: i.Slug, Name: i.Name, Regions: i.Regions, MinDiskSize: i.MinDiskSize}
}

func (c *Client) images(ctx context.Context, query url.Values) ([]godo.Image, error) {
	var out []godo.Image
	err := pages(func(page int) (bool, error) {
		var answer struct {
			Images []godo.Image `json:"images"`
			paging
		}
		q := pageQuery(page)
		for k, v := range query {
			q[k] = v
		}
		_, err := c.get(ctx, "v2/images", q, &answer)
		out = append(out, answer.Images...)
		return answer.more(), err
	})
	return out, c.fail("GET /v2/images", err)
}

// VPCRegion returns the region that a VPC is in.
func (c *Client) VPCRegion(ctx context.Context, uuid string) (string, error) {
	v, _, err := c.api.VPCs.Get(ctx, uuid)
	if err == nil && v == nil {
		err = fmt.Errorf("the answer has no VPC")
	}
	if err != nil {
		return "", c.fail("GET /v2/vpcs/{id}", err)
	}
	return v.RegionSlug, nil
}

package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Plan is the places to create Droplets in, in the order in which they are
// tried.
type Plan struct {
	MaxInstances int
	Placements   []instancegroup.Placement
	GPUs         bool               // a size of theirs is a GPU size
	Dearest      *digitalocean.Size // of the configured ones; nil = prices could not be read
	Unfit        []Unfit            // single places
	Fault        error              // why none can be had, and what could
	Unread       bool               // the token may not read what there is: nothing was checked

	Sizes  map[string]digitalocean.Size  // the configured ones that there are, by slug
	Images map[string]digitalocean.Image // what Droplets boot, by region
}

// Unfit is a place in which no Droplet can be made: never, or only not now.
type Unfit struct {
	instancegroup.Placement
	Never bool
	Why   string
}

func (p Plan) String() string {
	s := make([]string, len(p.Placements))
	for i, at := range p.Placements {
		s[i] = at.String()
	}
	return strings.Join(s, ", ")
}

// plan checks every combination of size, region and image. One that can never
// work is left out; one that is only short of capacity now stays, at its place.
// If none can be had at all, that is a fault.
func (o *offer) plan(c config.Config) Plan {
	all := Plan{Placements: combinations(c), Unread: o.unread,
		Sizes: map[string]digitalocean.Size{}, Images: map[string]digitalocean.Image{}}
	for _, slug := range c.Sizes {
		size := o.size(slug)
		all.GPUs = all.GPUs || instancegroup.GPUSize(slug) || size != nil && size.GPU // also if the catalog is not read
		if size == nil {
			continue
		}
		all.Sizes[slug] = *size
		if all.Dearest == nil || size.PriceHourly > all.Dearest.PriceHourly {
			all.Dearest = size
		}
	}
	for _, region := range c.Regions {
		if image := o.image(region); image != nil {
			all.Images[region] = *image
		}
	}
	if o.unread {
		return all
	}
	if all.Fault = o.unknown(c); all.Fault != nil {
		return all
	}
	p := all
	p.Placements = nil
	usable := 0
	for _, at := range all.Placements {
		never, notNow := o.fits(c, o.size(at.Size), at.Region)
		switch {
		case never != "":
			p.Unfit = append(p.Unfit, Unfit{at, true, never})
			continue
		case notNow != "":
			p.Unfit = append(p.Unfit, Unfit{at, false, notNow})
		default:
			usable++
		}
		p.Placements = append(p.Placements, at)
	}
	if usable == 0 {
		all.Unfit = p.Unfit
		var faults []string
		for _, u := range p.Unfit {
			faults = append(faults, fmt.Sprintf("%s: %s", u.Placement, u.Why))
		}
		all.Fault = fmt.Errorf("plugin_config: no combination of size, region and image can work:\n  %s%s",
			strings.Join(faults, "\n  "), o.alternatives(c))
		return all
	}
	return p
}

// combinations are all places: sizes outside, regions inside.
func combinations(c config.Config) []instancegroup.Placement {
	var all []instancegroup.Placement
	for _, s := range c.Sizes {
		for _, r := range c.Regions {
			all = append(all, instancegroup.Placement{Size: s, Region: r})
		}
	}
	return all
}

// unknown collects the slugs that do not exist.
func (o *offer) unknown(c config.Config) error {
	var faults []error
	for _, slug := range c.Regions {
		if o.region(slug) == nil {
			var slugs []string
			for _, r := range o.regions {
				slugs = append(slugs, r.Slug)
			}
			faults = append(faults, fmt.Errorf("plugin_config.region: DigitalOcean has no region %q%s", slug, near(slug, slugs)))
		}
	}
	for _, slug := range c.Sizes {
		if o.size(slug) == nil {
			var slugs []string
			for _, s := range o.sizes {
				slugs = append(slugs, s.Slug)
			}
			faults = append(faults, fmt.Errorf("plugin_config.size: DigitalOcean has no size %q%s", slug, near(slug, slugs)))
		}
	}
	switch {
	case len(o.images) > 0:
	case c.ImageTag != "":
		faults = append(faults, fmt.Errorf("plugin_config.image_tag: no private image on the account carries the tag %q", c.ImageTag))
	case c.Image.Slug == "":
		faults = append(faults, fmt.Errorf("plugin_config.image: the account has no image with the id %d", c.Image.ID))
	default:
		faults = append(faults, fmt.Errorf("plugin_config.image: DigitalOcean has no image %q%s", c.Image.Slug, near(c.Image.Slug, o.slugs)))
	}
	return errors.Join(faults...)
}

// fits tells why Droplets of a size can never be made in a region, or not now.
func (o *offer) fits(c config.Config, size *digitalocean.Size, region string) (never, notNow string) {
	image := o.image(region)
	switch {
	case image == nil && c.ImageTag != "":
		return "", fmt.Sprintf("no image with the tag %s is in %s: transfer one there", c.ImageTag, region)
	case image == nil:
		return fmt.Sprintf("image %s is not in %s; it is in %s", instancegroup.Image(c.Image), region, sorted(o.images[0].Regions)), ""
	case size.Disk < image.MinDiskSize:
		return fmt.Sprintf("image %s needs a disk of %d GiB, the size has %d",
			cmp.Or(image.Slug, fmt.Sprint(image.ID)), image.MinDiskSize, size.Disk), ""
	case !o.region(region).Available:
		return "", "the region takes no new Droplets now"
	case !size.Available:
		return "", "the size is not on offer now"
	case !slices.Contains(size.Regions, region):
		return "", fmt.Sprintf("the size is not on offer there now; it is in %s", sorted(size.Regions))
	}
	return "", ""
}

// alternatives proposes, for each configured region, the five cheapest sizes
// that would work there, and for each configured size the regions.
func (o *offer) alternatives(c config.Config) string {
	byPrice := slices.SortedStableFunc(slices.Values(o.sizes), func(a, b digitalocean.Size) int {
		return cmp.Compare(a.PriceHourly, b.PriceHourly)
	})
	var s strings.Builder
	for _, region := range c.Regions {
		var slugs []string
		for _, size := range byPrice {
			never, notNow := o.fits(c, &size, region)
			if never == "" && notNow == "" && !size.GPU && len(slugs) < 5 {
				slugs = append(slugs, size.Slug)
			}
		}
		if len(slugs) > 0 {
			fmt.Fprintf(&s, "\nIn %s these sizes would work: %s", region, strings.Join(slugs, ", "))
		}
	}
	for _, slug := range c.Sizes {
		var regions []string
		for _, r := range o.regions {
			if never, notNow := o.fits(c, o.size(slug), r.Slug); never == "" && notNow == "" {
				regions = append(regions, r.Slug)
			}
		}
		if len(regions) > 0 {
			fmt.Fprintf(&s, "\nWith the size %s these regions would work: %s", slug, sorted(regions))
		}
	}
	return s.String()
}

// near proposes up to three slugs that s may have been meant to be: a slip of
// the finger away, or with s as a part, as old slugs are of new ones.
func near(s string, slugs []string) string {
	type candidate struct {
		slug     string
		distance int
	}
	var found []candidate
	for _, slug := range slugs {
		d := levenshtein.ComputeDistance(s, slug)
		if d == 0 {
			continue // it exists, and the look-up of it failed all the same
		}
		if d <= max(2, len(s)/4) || strings.Contains(slug, s) {
			found = append(found, candidate{slug, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.slug, b.slug))
	})
	if len(found) == 0 {
		return ""
	}
	var quoted []string
	for _, c := range found[:min(3, len(found))] {
		quoted = append(quoted, strconv.Quote(c.slug))
	}
	return "; did you mean " + strings.Join(quoted, " or ") + "?"
}

func sorted(slugs []string) string {
	if len(slugs) == 0 {
		return "no region"
	}
	return strings.Join(slices.Sorted(slices.Values(slugs)), ", ")
}

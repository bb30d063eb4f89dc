package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// catalog is what DigitalOcean offers the group at Init.
type catalog struct {
	unread  bool // the token may not read it: nothing can be checked
	sizes   []digitalocean.Size
	regions []digitalocean.Region

	image   *digitalocean.Image // nil = there is none of that name
	similar []string            // slugs of images, if there is none
	tagged  []instancegroup.TaggedImage
}

// plan is which places can work.
type plan struct {
	placements []instancegroup.Placement
	warnings   []string
	gpus       bool // a size of the plan is a GPU size
}

func (p plan) String() string {
	s := make([]string, len(p.placements))
	for i, at := range p.placements {
		s[i] = at.String()
	}
	return strings.Join(s, ", ")
}

// readCatalog reads what plan needs.
func readCatalog(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) (catalog, error) {
	var offer catalog
	var err error
	if offer.sizes, err = api.Sizes(ctx); err == nil {
		offer.regions, err = api.Regions(ctx)
	}
	if err == nil {
		err = offer.readImage(ctx, api, c)
	}
	if errors.Is(err, instancegroup.ErrForbidden) {
		// Creating Droplets needs these scopes too, so it may well fail; but
		// that is for DigitalOcean to say.
		log.Warn("the token may not read what DigitalOcean offers, so size, region and image are not checked",
			"group", c.Name, "err", err)
		return catalog{unread: true}, nil
	}
	return offer, err
}

func (o *catalog) readImage(ctx context.Context, api *digitalocean.Client, c config.Config) error {
	if c.ImageTag != "" {
		var err error
		o.tagged, err = api.TaggedImages(ctx, c.ImageTag)
		return err
	}
	image, err := api.Image(ctx, instancegroup.Image(c.Image).String())
	if err == nil {
		o.image = &image
		return nil
	}
	if !errors.Is(err, instancegroup.ErrNotFound) {
		return err
	}
	// A slug that does not exist: near ones help, and cost one more request.
	if images, lerr := api.PublicImages(ctx); lerr == nil {
		for _, i := range images {
			o.similar = append(o.similar, i.Slug)
		}
	}
	return nil
}

// plan checks every combination of size, region and image, in the order in
// which they will be tried. A combination that cannot work is left out with a
// warning; one that is only short of capacity now stays, at its place. It is an
// error if none can be had.
func (o catalog) plan(c config.Config) (plan, error) {
	var p plan
	if o.unread {
		p.placements = combinations(c)
		return p, nil
	}
	if err := o.unknown(c); err != nil {
		return p, err
	}
	var faults []string
	usable := 0
	for _, at := range combinations(c) {
		size := o.size(at.Size)
		now, why := o.fits(c, size, at.Region)
		if why == "" {
			usable++
		} else {
			faults = append(faults, fmt.Sprintf("%s: %s", at, why))
		}
		if now {
			p.placements = append(p.placements, at)
			p.gpus = p.gpus || size.GPU
		}
	}
	if usable == 0 {
		return p, fmt.Errorf("plugin_config: no combination of size, region and image can work:\n  %s%s",
			strings.Join(faults, "\n  "), o.alternatives(c))
	}
	for _, f := range faults {
		p.warnings = append(p.warnings, "this place cannot be used now: "+f)
	}
	return p, nil
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
func (o catalog) unknown(c config.Config) error {
	var faults []error
	for _, r := range c.Regions {
		if o.region(r) == nil {
			var slugs []string
			for _, r := range o.regions {
				slugs = append(slugs, r.Slug)
			}
			faults = append(faults, fmt.Errorf("plugin_config.region: DigitalOcean has no region %q%s", r, near(r, slugs)))
		}
	}
	for _, s := range c.Sizes {
		if o.size(s) == nil {
			var slugs []string
			for _, s := range o.sizes {
				slugs = append(slugs, s.Slug)
			}
			faults = append(faults, fmt.Errorf("plugin_config.size: DigitalOcean has no size %q%s", s, near(s, slugs)))
		}
	}
	switch {
	case c.ImageTag != "" && len(o.tagged) == 0:
		faults = append(faults, fmt.Errorf("plugin_config.image_tag: no private image on the account carries the tag %q", c.ImageTag))
	case c.ImageTag == "" && o.image == nil && c.Image.Slug == "":
		faults = append(faults, fmt.Errorf("plugin_config.image: the account has no image with the id %d", c.Image.ID))
	case c.ImageTag == "" && o.image == nil:
		faults = append(faults, fmt.Errorf("plugin_config.image: DigitalOcean has no image %q%s", c.Image.Slug, near(c.Image.Slug, o.similar)))
	}
	return errors.Join(faults...)
}

// fits tells whether Droplets of a size can be made in a region: ever, and why
// not now.
func (o catalog) fits(c config.Config, size *digitalocean.Size, region string) (ever bool, why string) {
	switch {
	case c.ImageTag != "" && !slices.ContainsFunc(o.tagged, func(i instancegroup.TaggedImage) bool { return slices.Contains(i.Regions, region) }):
		return true, fmt.Sprintf("no image with the tag %s is in %s: transfer it there", c.ImageTag, region)
	case o.image != nil && len(o.image.Regions) > 0 && !slices.Contains(o.image.Regions, region):
		return false, fmt.Sprintf("image %s is not in %s; it is in %s", instancegroup.Image(c.Image), region, list(o.image.Regions))
	case o.image != nil && size.Disk < o.image.MinDiskSize:
		return false, fmt.Sprintf("image %s needs a disk of %d GiB, the size has %d", instancegroup.Image(c.Image), o.image.MinDiskSize, size.Disk)
	case !o.region(region).Available:
		return true, "the region takes no new Droplets now"
	case !size.Available || !slices.Contains(size.Regions, region):
		return true, fmt.Sprintf("the size is not on offer there now; it is in %s", list(size.Regions))
	}
	return true, ""
}

// alternatives proposes sizes that can be had in the configured regions.
func (o catalog) alternatives(c config.Config) string {
	var s strings.Builder
	for _, region := range c.Regions {
		var fit []digitalocean.Size
		for _, size := range o.sizes {
			if _, why := o.fits(c, &size, region); why == "" && !size.GPU {
				fit = append(fit, size)
			}
		}
		slices.SortFunc(fit, func(a, b digitalocean.Size) int { return cmp.Compare(a.PriceHourly, b.PriceHourly) })
		var slugs []string
		for _, size := range fit[:min(5, len(fit))] {
			slugs = append(slugs, size.Slug)
		}
		if len(slugs) > 0 {
			fmt.Fprintf(&s, "\nIn %s these sizes would work: %s", region, strings.Join(slugs, ", "))
		}
	}
	return s.String()
}

func (o catalog) size(slug string) *digitalocean.Size {
	i := slices.IndexFunc(o.sizes, func(s digitalocean.Size) bool { return s.Slug == slug })
	if i < 0 {
		return nil
	}
	return &o.sizes[i]
}

func (o catalog) region(slug string) *digitalocean.Region {
	i := slices.IndexFunc(o.regions, func(r digitalocean.Region) bool { return r.Slug == slug })
	if i < 0 {
		return nil
	}
	return &o.regions[i]
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

func list(slugs []string) string {
	if len(slugs) == 0 {
		return "no region"
	}
	return strings.Join(slices.Sorted(slices.Values(slugs)), ", ")
}

// checkVPCs tells about VPCs that creates would be refused for.
func checkVPCs(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) error {
	var faults []error
	for _, region := range c.Regions {
		uuid := c.VPC[region]
		if uuid == "" {
			continue
		}
		in, err := api.VPCRegion(ctx, uuid)
		switch {
		case errors.Is(err, instancegroup.ErrNotFound):
			faults = append(faults, fmt.Errorf("plugin_config.vpc_uuid: the account has no VPC %s", uuid))
		case err != nil:
			log.Warn("could not look up the VPC", "group", c.Name, "vpc_uuid", uuid, "err", err)
		case in != region:
			faults = append(faults, fmt.Errorf("plugin_config.vpc_uuid: VPC %s is in %s, not in %s", uuid, in, region))
		}
	}
	return errors.Join(faults...)
}

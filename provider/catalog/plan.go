package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Plan is what a configuration comes to on an account.
type Plan struct {
	Placements   []instancegroup.Placement // in the order in which they are tried
	GPUs         bool                      // a size of theirs is a GPU size
	MaxInstances int                       // the most Droplets of the group; 0 = with this Fault not even those that it has can be managed
	LimitedBy    string                    // what sets MaxInstances: "max_instances", "droplet_limit" or "max_hourly_cost"
	Dearest      *digitalocean.Size        // of the configured ones; nil = a price is not known
	Unfit        []Unfit                   // single placements
	Warnings     []Warning                 // of what does not keep the group from working

	// Fault is everything that DigitalOcean would refuse, or that cannot be kept: joined
	// errors, each a text that stands alone and begins with its key where it is about one.
	Fault error

	Unread bool // the token may not read all that is on offer: sizes, regions and images were not checked

	Sizes  map[string]digitalocean.Size  // the configured ones that are listed, by slug
	Images map[string]digitalocean.Image // what Droplets boot, by region

	notes []func(hclog.Logger)
}

// Unfit is a placement in which no Droplet can be made: never, or only not now.
type Unfit struct {
	instancegroup.Placement
	Never bool
	Why   string
}

// Warning is what may well make DigitalOcean refuse creates.
type Warning struct {
	Key  string // of plugin_config; "" = it is about the account
	What string
	Hint string // what to do
}

func (p Plan) String() string {
	s := make([]string, len(p.Placements))
	for i, at := range p.Placements {
		s[i] = at.String()
	}
	return strings.Join(s, ", ")
}

// plan makes every check.
func (o *offer) plan(c config.Config, faults config.Faults) Plan {
	p := Plan{Placements: combinations(c), Unread: o.catalogErr() != nil, Warnings: AccountWarnings(o.account.value),
		Sizes: map[string]digitalocean.Size{}, Images: map[string]digitalocean.Image{}}
	for _, slug := range c.Sizes {
		size := o.size(slug)
		p.GPUs = p.GPUs || instancegroup.GPUSize(slug) || size != nil && size.GPU // also if sizes are not read
		if size != nil {
			p.Sizes[slug] = *size
		}
	}
	p.Dearest = p.dearest(c)
	for _, region := range c.Regions {
		if image := o.image(region); image != nil {
			p.Images[region] = *image
		}
	}

	image := o.checkImage(c, faults, &p)
	if p.Unread {
		// Creating Droplets needs these scopes too, so it may well fail; but that is for
		// DigitalOcean to say.
		p.note("the token may not read what DigitalOcean offers, so size, region and image are not checked", "err", explain(o.catalogErr(), c))
		p.Fault = image
	} else {
		p.Fault = errors.Join(o.checkRegions(c), o.checkSizes(c), image)
		if p.Fault == nil && !faults.Has("region", "size", "image", "image_tag") {
			p.Fault = o.place(c, &p)
		}
	}
	limits := errors.Join(o.limit(c, faults, &p), o.guard(c, &p), o.checkTagRead(c))
	if limits != nil {
		p.MaxInstances, p.LimitedBy = 0, ""
	}
	p.Fault = errors.Join(p.Fault, o.checkFeatures(c), o.checkVPCs(c, &p), o.checkKeys(c, &p), limits)
	return p
}

// explain makes a text that stands alone: what the token lacks is in it.
func explain(err error, c config.Config) string {
	return digitalocean.Explain(err, c.Token.Source).Error()
}

// note is for Init's log alone: something was not checked.
func (p *Plan) note(what string, args ...any) {
	p.notes = append(p.notes, func(log hclog.Logger) { log.Warn(what, args...) })
}

// log says what Init's log should have of a plan.
func (p *Plan) log(log hclog.Logger, c config.Config) {
	for _, n := range p.notes {
		n(log)
	}
	for _, w := range p.Warnings {
		log.Warn(w.What, "hint", w.Hint)
	}
	if p.Fault != nil {
		return // nothing is tried, and nothing is in force
	}
	for _, u := range p.Unfit {
		if u.Never {
			log.Warn("a placement can never work and is left out", "size", u.Size, "region", u.Region, "why", u.Why)
		} else {
			log.Warn("a placement cannot be had now; it is tried at its turn", "size", u.Size, "region", u.Region, "why", u.Why)
		}
	}
	if c.MaxHourlyCost > 0 && p.MaxInstances > 0 && p.Dearest != nil { // else the configuration has faults of its own
		log.Info("max_hourly_cost is in force; max_instances in [runners.autoscaler] must not be more than its max_instances",
			"max_hourly_cost", c.MaxHourlyCost, "dearest_size", p.Dearest.Slug, "usd_per_hour", p.Dearest.PriceHourly,
			"max_instances", p.MaxInstances, "limited_by", p.LimitedBy)
	}
}

// combinations are all placements: sizes outside, regions inside.
func combinations(c config.Config) []instancegroup.Placement {
	var all []instancegroup.Placement
	for _, s := range c.Sizes {
		for _, r := range c.Regions {
			all = append(all, instancegroup.Placement{Size: s, Region: r})
		}
	}
	return all
}

// place checks every combination of size, region and image. One that can never work
// is left out; one that is only short of capacity now stays, at its turn. If none can be
// had at all, that is a fault.
func (o *offer) place(c config.Config, p *Plan) error {
	all := p.Placements
	p.Placements = nil
	usable := 0
	for _, at := range all {
		never, notNow := o.fits(c, at.Size, at.Region)
		switch {
		case never != "":
			p.Unfit = append(p.Unfit, Unfit{at, true, never})
			continue
		case notNow != "":
			p.Unfit = append(p.Unfit, Unfit{at, false, notNow})
		default:
			usable++
			if o.size(at.Size) == nil && !slices.Contains(o.region(at.Region).Sizes, at.Size) {
				p.Warnings = append(p.Warnings, Warning{"size",
					fmt.Sprintf("%s is not known to be on offer: DigitalOcean lists contract sizes only for the regions in which the account may use them", at),
					"ask DigitalOcean where the contract holds"})
			}
		}
		p.Placements = append(p.Placements, at)
	}
	if usable > 0 {
		return nil
	}
	p.Placements = all
	var lines []string
	for _, u := range p.Unfit {
		lines = append(lines, fmt.Sprintf("%s: %s", u.Placement, u.Why))
	}
	return fmt.Errorf("plugin_config: no combination of size, region and image can work:\n  %s%s", strings.Join(lines, "\n  "), o.alternatives(c))
}

// fits says why Droplets of a size can never be made in a region, or not now. The
// region is listed; the size is listed or a contract size, of which nothing is known.
func (o *offer) fits(c config.Config, slug, region string) (never, notNow string) {
	size, image := o.size(slug), o.image(region)
	switch {
	case image == nil && c.ImageTag != "":
		return "", fmt.Sprintf("no image with the tag %s is in %s: transfer one there", c.ImageTag, region)
	case image == nil:
		return fmt.Sprintf("image %s is not in %s; it is in %s", instancegroup.Image(c.Image), region, sorted(o.images.value.found[0].Regions)), ""
	case size != nil && size.Disk < image.MinDiskSize:
		return fmt.Sprintf("image %s needs a disk of %d GiB, the size has %d", reference(*image), image.MinDiskSize, size.Disk), ""
	case !o.region(region).Available:
		return "", "the region takes no new Droplets now"
	case size == nil:
	case !size.Available:
		return "", "the size is not on offer now"
	case !slices.Contains(size.Regions, region):
		return "", fmt.Sprintf("the size is not on offer there now; it is in %s", sorted(size.Regions))
	}
	return "", ""
}

package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
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

	Sizes  map[string]digitalocean.Size  // by slug
	Images map[string]digitalocean.Image // what Droplets boot, by configured region
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

func (s *survey) refuse(format string, args ...any) {
	s.refused = append(s.refused, fmt.Errorf(format, args...))
}

func (s *survey) warn(key, hint, format string, args ...any) {
	s.plan.Warnings = append(s.plan.Warnings, Warning{key, fmt.Sprintf(format, args...), hint})
}

// explain makes a text that stands alone: what the token lacks is in it.
func (s *survey) explain(err error) string {
	return digitalocean.Explain(err, s.config.Token.Source).Error()
}

// makePlan makes every check.
func (s *survey) makePlan() {
	s.plan = Plan{Warnings: AccountWarnings(s.account.value), Sizes: map[string]digitalocean.Size{}, Images: map[string]digitalocean.Image{}}
	p := &s.plan
	for _, size := range s.sizes.value {
		p.Sizes[size.Slug] = size
	}
	for _, slug := range s.config.Sizes {
		p.GPUs = p.GPUs || instancegroup.GPUSize(slug) || p.Sizes[slug].GPU // also if sizes are not read
		for _, region := range s.config.Regions {
			p.Placements = append(p.Placements, instancegroup.Placement{Size: slug, Region: region})
		}
	}
	p.setDearest(s.config.Sizes)
	for _, region := range s.config.Regions {
		if image := s.image(region); image != nil {
			p.Images[region] = *image
		}
	}

	if err := cmp.Or(s.sizes.err, s.regions.err, s.images.err); err != nil {
		// Creating Droplets needs these scopes too, so it may well fail; but that is for
		// DigitalOcean to say.
		p.Unread = true
		s.log.Warn("the token may not read what DigitalOcean offers, so size, region and image are not checked", "err", s.explain(err))
		if s.config.ImageTag != "" && s.images.err != nil { // there is nothing to boot, whatever else may not be read
			s.refuse("plugin_config.image_tag: images could not be looked up: %s", s.explain(s.images.err))
		}
	} else {
		s.checkSlugs()
		s.checkImage()
		if len(s.refused) == 0 && !s.faults.Has("region", "size", "image", "image_tag") {
			s.place()
		}
	}
	s.checkFeatures()
	s.checkVPCs()
	s.checkKeys()
	s.limit()
	p.Fault = errors.Join(s.refused...)
}

// logPlan says what Init's log should have of a plan.
func (s *survey) logPlan() {
	p := s.plan
	for _, w := range p.Warnings {
		s.log.Warn(w.What, "hint", w.Hint)
	}
	if p.Fault != nil {
		return // nothing is tried, and nothing is in force
	}
	for _, u := range p.Unfit {
		if u.Never {
			s.log.Warn("a placement can never work and is left out", "size", u.Size, "region", u.Region, "why", u.Why)
		} else {
			s.log.Warn("a placement cannot be had now; it is tried at its turn", "size", u.Size, "region", u.Region, "why", u.Why)
		}
	}
	if s.config.MaxHourlyCost > 0 && p.MaxInstances > 0 && p.Dearest != nil { // else the configuration has faults of its own
		s.log.Info("max_hourly_cost is in force; max_instances in [runners.autoscaler] must not be more than its max_instances",
			"max_hourly_cost", s.config.MaxHourlyCost, "dearest_size", p.Dearest.Slug, "usd_per_hour", p.Dearest.PriceHourly,
			"max_instances", p.MaxInstances, "limited_by", p.LimitedBy)
	}
}

package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// check makes the plan, by every check.
func (s *survey) check() {
	s.plan = Plan{
		Account: s.account.value, Warnings: AccountWarnings(s.account.value),
		Sizes: map[string]digitalocean.Size{}, Images: Newest(s.images.value.found, s.config.Regions), regions: map[string]digitalocean.Region{},
	}
	p := &s.plan
	for _, size := range s.sizes.value {
		p.Sizes[size.Slug] = size
	}
	for _, region := range s.regions.value {
		p.regions[region.Slug] = region
	}
	for _, slug := range s.config.Sizes {
		p.GPUs = p.GPUs || instancegroup.GPUSize(slug) || digitalocean.HasGPUs(p.Sizes[slug]) // also if sizes are not read
		for _, region := range s.config.Regions {
			p.Placements = append(p.Placements, instancegroup.Placement{Size: slug, Region: region})
		}
	}

	if err := cmp.Or(s.sizes.err, s.regions.err, s.images.err); err != nil {
		// Creating Droplets needs these scopes too, so it may well fail; but that is for
		// DigitalOcean to say.
		p.Unread = true
		s.log.Warn("the token may not read what DigitalOcean offers, so size, region and image are not checked", "err", err)
		if s.config.ImageTag != "" && s.images.err != nil { // there is nothing to boot, whatever else may not be read
			s.refuse("plugin_config.image_tag: images could not be looked up: %s", s.images.err)
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

// checkSlugs finds the regions and sizes that do not exist.
func (s *survey) checkSlugs() {
	for _, slug := range s.config.Regions {
		if _, listed := s.plan.regions[slug]; !listed {
			s.refuse("plugin_config.region: DigitalOcean has no region %q%s", slug, near(slug, slices.Collect(maps.Keys(s.plan.regions))))
		}
	}
	for _, slug := range s.config.Sizes {
		if _, listed := s.plan.Sizes[slug]; !listed && !s.contracted(slug) {
			s.refuse("plugin_config.size: DigitalOcean has no size %q%s", slug, near(slug, slices.Collect(maps.Keys(s.plan.Sizes))))
		}
	}
}

// near is the end of a fault: what a slug may have been meant to be.
func near(slug string, slugs []string) string {
	hint := config.DidYouMean(slug, slugs)
	if hint != "" {
		hint = "; " + hint
	}
	return hint
}

// contracted reports whether a size that is in no list may be one of a contract. Only
// regions list those, and not for sure.
func (s *survey) contracted(slug string) bool {
	return strings.HasSuffix(slug, "-contracted") ||
		slices.ContainsFunc(s.regions.value, func(r digitalocean.Region) bool { return slices.Contains(r.Sizes, slug) })
}

// checkVPCs finds VPCs for which creates would be refused.
func (s *survey) checkVPCs() {
	for i, a := range s.vpcs {
		region := s.config.Regions[i]
		uuid := s.config.VPC[region]
		switch {
		case errors.Is(a.err, instancegroup.ErrNotFound):
			s.refuse("plugin_config.vpc_uuid: the account has no VPC %s", uuid)
		case a.err != nil:
			s.log.Warn("could not look up the VPC", "vpc_uuid", uuid, "err", a.err)
		case a.asked && a.value != region:
			s.refuse("plugin_config.vpc_uuid: VPC %s is in %s, not in %s", uuid, a.value, region)
		}
	}
}

// checkKeys finds extra SSH keys for which creates would be refused.
func (s *survey) checkKeys() {
	for i, err := range s.keys {
		key := s.config.SSHKeys[i]
		switch {
		case errors.Is(err, instancegroup.ErrNotFound):
			s.refuse("plugin_config.ssh_keys: the account has no key %s", key)
		case err != nil:
			s.log.Warn("could not look up an SSH key", "key", key, "err", err)
		}
	}
}

// AccountWarnings says what of an account may make DigitalOcean refuse creates.
func AccountWarnings(a digitalocean.Account) []Warning {
	var all []Warning
	if a.Status != "" && a.Status != "active" {
		what := fmt.Sprintf("DigitalOcean has given the account the status %.200q", a.Status)
		if a.StatusMessage != "" {
			what += fmt.Sprintf(", %.200q", a.StatusMessage)
		}
		all = append(all, Warning{"", what + ": creates may be refused", "look at https://cloud.digitalocean.com, or ask DigitalOcean's support"})
	}
	if a.Status != "" && !a.EmailVerified { // without a status nothing was told
		all = append(all, Warning{"", "the account's e-mail address is not verified: DigitalOcean may refuse creates",
			"follow the link in DigitalOcean's mail; https://cloud.digitalocean.com/account/profile sends another"})
	}
	return all
}

func (s *survey) refuse(format string, args ...any) {
	s.refused = append(s.refused, fmt.Errorf(format, args...))
}

func (s *survey) warn(key, hint, format string, args ...any) {
	s.plan.Warnings = append(s.plan.Warnings, Warning{key, fmt.Sprintf(format, args...), hint})
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
			s.log.Warn("a placement is not available now; it stays in the list", "size", u.Size, "region", u.Region, "why", u.Why)
		}
	}
	if s.config.MaxHourlyCost > 0 && p.MaxInstances > 0 && p.Dearest != nil { // else the configuration has faults of its own
		s.log.Info("max_hourly_cost is in force: max_instances in [runners.autoscaler] must not be higher than here",
			"max_hourly_cost", s.config.MaxHourlyCost, "most_expensive_size", p.Dearest.Slug, "usd_per_hour", p.Dearest.PriceHourly,
			"max_instances", p.MaxInstances, "limited_by", p.LimitedBy)
	}
}

package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// check makes the plan, by every check.
func (s *survey) check() {
	s.Plan = Plan{Account: s.account.value, Warnings: AccountWarnings(s.account.value),
		Sizes: map[string]digitalocean.Size{}, Images: Newest(s.images, s.config.Regions)}
	s.listed = map[string]digitalocean.Region{}
	for _, region := range s.regions.value {
		s.listed[region.Slug] = region
	}
	for _, size := range s.sizes.value {
		s.Sizes[size.Slug] = size
	}
	for _, slug := range s.config.Sizes {
		s.GPUs = s.GPUs || instancegroup.GPUSize(slug) || s.Sizes[slug].GPUInfo != nil
		for _, region := range s.config.Regions {
			s.Placements = append(s.Placements, instancegroup.Placement{Size: slug, Region: region})
		}
	}

	s.checkSlugs()
	s.checkImage()
	if len(s.refused) == 0 && !s.faults.Has("region", "size", "image", "image_tag") {
		s.place()
	}
	s.checkFeatures()
	s.checkLookUps()
	s.limit()
	s.Fault = errors.Join(s.refused...)
}

// Newest returns, by region, the newest of the images that are there.
func Newest(found []digitalocean.Image, regions []string) map[string]digitalocean.Image {
	newest := map[string]digitalocean.Image{}
	for _, i := range found {
		for _, region := range regions {
			last, ok := newest[region]
			if slices.Contains(i.Regions, region) && (!ok || cmp.Or(cmp.Compare(last.Created, i.Created), cmp.Compare(last.ID, i.ID)) < 0) {
				newest[region] = i
			}
		}
	}
	return newest
}

// checkSlugs finds the regions and sizes that do not exist.
func (s *survey) checkSlugs() {
	for _, slug := range s.config.Regions {
		if _, listed := s.listed[slug]; !listed {
			s.refuse("region", config.DidYouMean(slug, slices.Collect(maps.Keys(s.listed))), "DigitalOcean has no region %q", slug)
		}
	}
	for _, slug := range s.config.Sizes {
		if _, listed := s.Sizes[slug]; !listed && !s.contracted(slug) {
			s.refuse("size", config.DidYouMean(slug, slices.Collect(maps.Keys(s.Sizes))), "DigitalOcean has no size %q", slug)
		}
	}
}

// contracted reports whether a size that is in no list may be one of a contract. Only regions list those, and not for sure.
func (s *survey) contracted(slug string) bool {
	return strings.HasSuffix(slug, "-contracted") ||
		slices.ContainsFunc(s.regions.value, func(r digitalocean.Region) bool { return slices.Contains(r.Sizes, slug) })
}

// checkImage looks at what Droplets would boot. An image that is not ready is a warning. By a tag only ready ones are found.
func (s *survey) checkImage() {
	c, found := s.config, s.images
	switch {
	case s.faults.Has("image", "image_tag"):
	case len(found) == 0 && c.ImageTag != "":
		s.refuse("image_tag", "", "no private image of the account that is available carries the tag %q", c.ImageTag)
	case len(found) == 0 && c.Image.Slug == "":
		s.refuse("image", "", "the account has no image with the id %d", c.Image.ID)
	case len(found) == 0:
		s.refuse("image", config.DidYouMean(c.Image.Slug, s.slugs), "DigitalOcean has no image %q", c.Image.Slug)
	case c.ImageTag == "":
		status := fmt.Sprintf("image %s has the status %s", named(found[0]), withReason(found[0].Status, found[0].ErrorMessage))
		switch found[0].Status {
		case "", "available":
		case "deleted", "retired":
			s.refuse("image", "", "%s: no Droplet can be made of it; choose another", status)
		default:
			s.warn("image", "wait for it, or choose another",
				"%s: it cannot be used yet, and creates will be refused until it is available", status)
		}
	}
}

// withReason is a status with what DigitalOcean says about it.
func withReason(status, reason string) string {
	return strings.TrimSuffix(fmt.Sprintf("%.200q, %.200q", status, reason), `, ""`)
}

// named is how a configuration names an image, and the name that people know it by.
func named(i digitalocean.Image) string {
	return strings.TrimSuffix(fmt.Sprintf("%s (%.200q)", cmp.Or(i.Slug, strconv.FormatInt(i.ID, 10)), i.Name), ` ("")`)
}

// place checks every combination of size, region and image. One that can never work is left out; one that is only short of
// capacity now stays, at its turn. If none can be had at all, that is a fault.
func (s *survey) place() {
	var possible []instancegroup.Placement
	lines := ""
	for _, at := range s.Placements {
		why, never := s.unfit(at.Size, at.Region)
		sizes := s.listed[at.Region].Sizes
		_, listed := s.Sizes[at.Size]
		switch {
		case why != "":
			s.Unfit = append(s.Unfit, Unfit{at, never, why})
			lines += fmt.Sprintf("\n  %s: %s", at, why)
		case slices.Contains(sizes, at.Size): // the account may use it there
		case !listed:
			s.warn("size", "ask DigitalOcean where the contract holds",
				"%s is not known to be on offer: DigitalOcean lists contract sizes only for the regions in which the account may use them", at)
		case len(sizes) > 0:
			s.warn("size", "take it out of the list, or ask DigitalOcean for it",
				"%s: DigitalOcean does not list the size among those that the account may use there, so creates may be refused", at)
		}
		if !never {
			possible = append(possible, at)
		}
	}
	if len(s.Unfit) == len(s.Placements) {
		s.refuse("", "", "no combination of size, region and image can work:%s\ndoctl compute size list shows which sizes there are", lines)
		return
	}
	s.Placements = possible
}

// unfit says why Droplets of a size cannot be made in a region, or "", and whether that is for ever. The region is listed;
// the size is listed or a contract size, of which nothing is known.
func (s *survey) unfit(slug, at string) (why string, never bool) {
	size, listed := s.Sizes[slug]
	image, there := s.Images[at]
	switch {
	case !there && s.config.ImageTag != "":
		return fmt.Sprintf("no image with the tag %s is in %s: transfer one there", s.config.ImageTag, at), false
	case !there:
		return fmt.Sprintf("image %s is not in %s; it is in %s", instancegroup.Image(s.config.Image), at, sorted(s.images[0].Regions)), true
	case listed && size.Disk > 0 && size.Disk < image.MinDiskSize:
		return fmt.Sprintf("image %s needs a disk of %d GiB, the size has %d", named(image), image.MinDiskSize, size.Disk), true
	case !s.listed[at].Available:
		return "the region takes no new Droplets now", false
	case listed && !size.Available:
		return "the size is not on offer now", false
	case listed && !slices.Contains(size.Regions, at):
		return fmt.Sprintf("the size is not on offer there now; it is in %s", sorted(size.Regions)), false
	}
	return "", false
}

func sorted(slugs []string) string {
	return cmp.Or(strings.Join(slices.Sorted(slices.Values(slugs)), ", "), "no region")
}

// checkFeatures finds what an uploaded image does not go with.
func (s *survey) checkFeatures() {
	const unsupported = "image %s is a custom image, for which DigitalOcean does not support %[2]s; set %[2]s = false, or choose another image"
	for _, region := range s.config.Regions {
		if image := s.Images[region]; image.Type == "custom" {
			if s.config.IPv6 {
				s.refuse("ipv6", "", unsupported, named(image), "ipv6")
			}
			if s.config.Monitoring {
				s.refuse("monitoring", "", unsupported, named(image), "monitoring")
			}
			return
		}
	}
}

// checkLookUps finds VPCs and extra SSH keys for which creates would be refused.
func (s *survey) checkLookUps() {
	for _, l := range s.lookUps {
		switch {
		case errors.Is(l.err, instancegroup.ErrNotFound):
			s.refuse(l.key, "", "the account has no %s", l.what)
		case l.err != nil:
			s.log.Warn("could not look up a VPC or an SSH key", "which", l.what, "err", l.err)
		case l.wrong != "":
			s.refuse(l.key, "", "%s: %s", l.what, l.wrong)
		}
	}
}

// limit sets the most Droplets of the group: as configured, or else the account's limit; none if it cannot be managed.
func (s *survey) limit() {
	refused := len(s.refused)
	configured, limit, err := s.config.MaxInstances, s.account.value.DropletLimit, s.account.err
	if err != nil {
		s.log.Warn("the account could not be read, so its status and its Droplet limit are not checked", "err", err)
	}
	switch {
	case s.faults.Has("max_instances"):
	case configured > 0:
		s.MaxInstances, s.LimitedBy = configured, "max_instances"
		if limit > 0 && configured > limit {
			s.warn("max_instances", "lower it, or ask DigitalOcean for a higher limit (Settings, Team)",
				"max_instances is %d, and the account's Droplet limit %d: creates beyond that will be refused", configured, limit)
		}
	case limit <= 0:
		s.refuse("max_instances", "", "must be set, since the account's Droplet limit is not known (the scope account:read shows it)")
	default:
		s.MaxInstances, s.LimitedBy = limit, "droplet_limit"
	}
	s.limitCost()
	if s.tagRead.err != nil { // all Droplets of the group would seem to be gone
		s.refused = append(s.refused, fmt.Errorf("the plugin finds its Droplets by their tags, which it may not read: %w", s.tagRead.err))
	}
	if len(s.refused) > refused {
		s.MaxInstances, s.LimitedBy = 0, ""
	}
}

// limitCost lowers the number to what max_hourly_cost allows by the dearest size: a create that is refused later fails jobs
// that the runner has taken. Without a known price it cannot be kept.
func (s *survey) limitCost() {
	const key = "max_hourly_cost"
	most, unpriced := s.config.MaxHourlyCost, ""
	for _, slug := range s.config.Sizes {
		size := s.Sizes[slug]
		if size.PriceHourly <= 0 {
			s.Dearest, unpriced = nil, slug
			break
		}
		if s.Dearest == nil || size.PriceHourly > s.Dearest.PriceHourly {
			s.Dearest = &size
		}
	}
	_, listed := s.Sizes[unpriced]
	switch {
	case most == 0:
	case unpriced != "" && (listed || s.contracted(unpriced)):
		s.refuse(key, "", "DigitalOcean tells no price of size %s, so it cannot be kept; "+
			"take the size out of plugin_config.size, or remove the key and limit max_instances", unpriced)
	case s.Dearest == nil: // a size has a fault
	case s.Dearest.PriceHourly > most:
		s.refuse(key, "", "%g USD an hour is less than one Droplet of size %s costs, %g", most, s.Dearest.Slug, s.Dearest.PriceHourly)
	default:
		// 0.3/0.1 is a little less than 3.
		if affordable := int(most/s.Dearest.PriceHourly + 1e-9); affordable < s.MaxInstances {
			s.MaxInstances, s.LimitedBy = affordable, key
		}
	}
}

// AccountWarnings says what of an account may make DigitalOcean refuse creates.
func AccountWarnings(a digitalocean.Account) (all []Warning) {
	if a.Status != "" && a.Status != "active" {
		what := "DigitalOcean has given the account the status " + withReason(a.Status, a.StatusMessage) + ": creates may be refused"
		all = append(all, Warning{"", what, "look at https://cloud.digitalocean.com, or ask DigitalOcean's support"})
	}
	if a.Status != "" && !a.EmailVerified { // without a status nothing was told
		all = append(all, Warning{"", "the account's e-mail address is not verified: DigitalOcean may refuse creates",
			"follow the link in DigitalOcean's mail; https://cloud.digitalocean.com/account/profile sends another"})
	}
	return all
}

// refuse is about a key of plugin_config; "" = about several.
func (s *survey) refuse(key, hint, format string, args ...any) {
	s.refused = append(s.refused, config.Fault{Key: key, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (s *survey) warn(key, hint, format string, args ...any) {
	s.Warnings = append(s.Warnings, Warning{key, fmt.Sprintf(format, args...), hint})
}

// logPlan says what Init's log should have of a plan.
func (s *survey) logPlan() {
	for _, w := range s.Warnings {
		s.log.Warn(w.What, "hint", w.Hint)
	}
	if s.Fault != nil {
		return // nothing is tried, and nothing is in force
	}
	for _, u := range s.Unfit {
		if u.Never {
			s.log.Warn("a placement can never work and is left out", "size", u.Size, "region", u.Region, "why", u.Why)
		} else {
			s.log.Warn("a placement is not available now; it stays in the list", "size", u.Size, "region", u.Region, "why", u.Why)
		}
	}
	if s.config.MaxHourlyCost > 0 && s.MaxInstances > 0 && s.Dearest != nil { // else the configuration has faults of its own
		s.log.Info("max_hourly_cost is in force: max_instances in [runners.autoscaler] must not be higher than here",
			"max_hourly_cost", s.config.MaxHourlyCost, "most_expensive_size", s.Dearest.Slug, "usd_per_hour", s.Dearest.PriceHourly,
			"max_instances", s.MaxInstances, "limited_by", s.LimitedBy)
	}
}

package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// checkSlugs finds the regions and sizes that do not exist.
func (s *survey) checkSlugs() {
	var regions, sizes []string
	for _, region := range s.regions.value {
		regions = append(regions, region.Slug)
	}
	for _, size := range s.sizes.value {
		sizes = append(sizes, size.Slug)
	}
	for _, slug := range s.config.Regions {
		if !slices.Contains(regions, slug) {
			s.refuse("plugin_config.region: DigitalOcean has no region %q%s", slug, near(slug, regions))
		}
	}
	for _, slug := range s.config.Sizes {
		if !slices.Contains(sizes, slug) && !s.contracted(slug) {
			s.refuse("plugin_config.size: DigitalOcean has no size %q%s", slug, near(slug, sizes))
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
			s.log.Warn("could not look up the VPC", "vpc_uuid", uuid, "err", s.explain(a.err))
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
			s.log.Warn("could not look up an SSH key", "key", key, "err", s.explain(err))
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

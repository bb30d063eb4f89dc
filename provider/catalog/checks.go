package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

func (o *offer) checkRegions(c config.Config) error {
	var slugs []string
	for _, r := range o.regions.value {
		slugs = append(slugs, r.Slug)
	}
	return unknown("region", c.Regions, slugs, func(slug string) bool { return o.region(slug) != nil })
}

func (o *offer) checkSizes(c config.Config) error {
	var slugs []string
	for _, s := range o.sizes.value {
		slugs = append(slugs, s.Slug)
	}
	return unknown("size", c.Sizes, slugs, func(slug string) bool { return o.size(slug) != nil || o.contracted(slug) })
}

// unknown finds the slugs that do not exist.
func unknown(key string, configured, all []string, known func(slug string) bool) error {
	var faults []error
	for _, slug := range configured {
		if !known(slug) {
			faults = append(faults, fmt.Errorf("plugin_config.%s: DigitalOcean has no %[1]s %q%s", key, slug, near(slug, all)))
		}
	}
	return errors.Join(faults...)
}

// contracted reports whether a size that is in no list may be one of a contract. Only
// regions list those, and not for sure.
func (o *offer) contracted(slug string) bool {
	return strings.HasSuffix(slug, "-contracted") ||
		slices.ContainsFunc(o.regions.value, func(r digitalocean.Region) bool { return slices.Contains(r.Sizes, slug) })
}

// checkImage looks at what Droplets would boot. An image that is not ready is a warning.
func (o *offer) checkImage(c config.Config, faults config.Faults, p *Plan) error {
	const key = "plugin_config.image"
	switch err := o.catalogErr(); {
	case faults.Has("image", "image_tag"):
		return nil
	case c.ImageTag != "" && o.images.err != nil: // there is nothing to boot, whatever else may not be read
		return fmt.Errorf("plugin_config.image_tag: images could not be looked up: %s", explain(o.images.err, c))
	case err != nil:
		return nil
	case len(o.images.value.found) > 0:
	case c.ImageTag != "":
		return fmt.Errorf("plugin_config.image_tag: no private image on the account carries the tag %q", c.ImageTag)
	case c.Image.Slug == "":
		return fmt.Errorf("%s: the account has no image with the id %d", key, c.Image.ID)
	default:
		return fmt.Errorf("%s: DigitalOcean has no image %q%s", key, c.Image.Slug, near(c.Image.Slug, o.images.value.slugs))
	}
	for _, image := range o.booted(c) {
		status := fmt.Sprintf("image %s has the status %s", named(image), quote(image.Status))
		if image.ErrorMessage != "" {
			status += ", " + quote(image.ErrorMessage)
		}
		switch {
		case withdrawn(image):
			return fmt.Errorf("%s: %s: no Droplet can be made of it; choose another%s", key, status, near(image.Slug, o.images.value.slugs))
		case image.Status != "" && image.Status != "available":
			p.Warnings = append(p.Warnings, Warning{"image", status + ": it cannot be used yet, and creates will be refused until it is available",
				"wait for it, or choose another"})
		}
	}
	return nil
}

// checkFeatures finds what an uploaded image does not go with.
func (o *offer) checkFeatures(c config.Config) error {
	booted := o.booted(c)
	i := slices.IndexFunc(booted, func(i digitalocean.Image) bool { return i.Type == "custom" })
	if i < 0 {
		return nil
	}
	var faults []error
	for _, feature := range []struct {
		key string
		on  bool
	}{{"ipv6", c.IPv6}, {"monitoring", c.Monitoring}} {
		if feature.on {
			faults = append(faults, fmt.Errorf("plugin_config.%s: image %s is a custom image, for which DigitalOcean does not support %[1]s; "+
				"set %[1]s = false, or choose another image", feature.key, named(booted[i])))
		}
	}
	return errors.Join(faults...)
}

// withdrawn reports whether an image will never be usable again.
func withdrawn(i digitalocean.Image) bool { return i.Status == "deleted" || i.Status == "retired" }

// booted returns the images that Droplets would boot.
func (o *offer) booted(c config.Config) []digitalocean.Image {
	if c.ImageTag == "" {
		return o.images.value.found
	}
	var newest []digitalocean.Image
	for _, region := range c.Regions {
		image := o.image(region)
		if image != nil && !slices.ContainsFunc(newest, func(i digitalocean.Image) bool { return i.ID == image.ID }) {
			newest = append(newest, *image)
		}
	}
	return newest
}

// checkVPCs finds VPCs for which creates would be refused.
func (o *offer) checkVPCs(c config.Config, p *Plan) error {
	var faults []error
	for i, a := range o.vpcs {
		region := c.Regions[i]
		uuid := c.VPC[region]
		switch {
		case errors.Is(a.err, instancegroup.ErrNotFound):
			faults = append(faults, fmt.Errorf("plugin_config.vpc_uuid: the account has no VPC %s", uuid))
		case a.err != nil:
			p.note("could not look up the VPC", "vpc_uuid", uuid, "err", explain(a.err, c))
		case a.asked && a.value != region:
			faults = append(faults, fmt.Errorf("plugin_config.vpc_uuid: VPC %s is in %s, not in %s", uuid, a.value, region))
		}
	}
	return errors.Join(faults...)
}

// checkKeys finds extra SSH keys for which creates would be refused.
func (o *offer) checkKeys(c config.Config, p *Plan) error {
	var faults []error
	for i, a := range o.keys {
		switch {
		case errors.Is(a.err, instancegroup.ErrNotFound):
			faults = append(faults, fmt.Errorf("plugin_config.ssh_keys: the account has no key %s", c.SSHKeys[i]))
		case a.err != nil:
			p.note("could not look up an SSH key", "key", c.SSHKeys[i], "err", explain(a.err, c))
		}
	}
	return errors.Join(faults...)
}

// checkTagRead refuses a token that would show no Droplet's tags: all Droplets of the
// group would seem to be gone.
func (o *offer) checkTagRead(c config.Config) error {
	if o.tagRead.err == nil {
		return nil
	}
	return fmt.Errorf("the plugin finds its Droplets by their tags, which it may not read: %s", explain(o.tagRead.err, c))
}

// AccountWarnings says what of an account may make DigitalOcean refuse creates.
func AccountWarnings(a digitalocean.Account) []Warning {
	var all []Warning
	if a.Status != "" && a.Status != "active" {
		what := "DigitalOcean has given the account the status " + quote(a.Status)
		if a.StatusMessage != "" {
			what += ", " + quote(a.StatusMessage)
		}
		all = append(all, Warning{"", what + ": creates may be refused", "look at https://cloud.digitalocean.com, or ask DigitalOcean's support"})
	}
	if a.Status != "" && !a.EmailVerified { // without a status nothing was told
		all = append(all, Warning{"", "the account's e-mail address is not verified: DigitalOcean may refuse creates",
			"follow the link in DigitalOcean's mail; https://cloud.digitalocean.com/account/profile sends another"})
	}
	return all
}

// quote makes what DigitalOcean answered fit for one line of a log.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strconv.Quote(s)
}

// reference is how a configuration names an image.
func reference(i digitalocean.Image) string { return cmp.Or(i.Slug, strconv.FormatInt(i.ID, 10)) }

// named adds to that the name that people know it by.
func named(i digitalocean.Image) string {
	if i.Name == "" {
		return reference(i)
	}
	return reference(i) + " (" + quote(i.Name) + ")"
}

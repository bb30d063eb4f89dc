package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

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

// booted returns the images that Droplets would boot.
func (s *survey) booted() []digitalocean.Image {
	return slices.DeleteFunc(slices.Clone(s.images.value.found), func(i digitalocean.Image) bool {
		isNewest := slices.ContainsFunc(s.config.Regions, func(region string) bool { return s.plan.Images[region].ID == i.ID })
		return s.config.ImageTag != "" && !isNewest
	})
}

// checkImage looks at what Droplets would boot. An image that is not ready is a warning.
func (s *survey) checkImage() {
	const key = "plugin_config.image"
	switch c := s.config; {
	case s.faults.Has("image", "image_tag"), len(s.images.value.found) > 0:
	case c.ImageTag != "":
		s.refuse("plugin_config.image_tag: no private image on the account carries the tag %q", c.ImageTag)
	case c.Image.Slug == "":
		s.refuse("%s: the account has no image with the id %d", key, c.Image.ID)
	default:
		s.refuse("%s: DigitalOcean has no image %q%s", key, c.Image.Slug, near(c.Image.Slug, s.images.value.slugs))
	}
	for _, image := range s.booted() {
		status := fmt.Sprintf("image %s has the status %.200q", named(image), image.Status)
		if image.ErrorMessage != "" {
			status += fmt.Sprintf(", %.200q", image.ErrorMessage)
		}
		switch {
		case image.Status == "deleted", image.Status == "retired":
			s.refuse("%s: %s: no Droplet can be made of it; choose another", key, status)
		case image.Status != "" && image.Status != "available":
			s.warn("image", "wait for it, or choose another", "%s: it cannot be used yet, and creates will be refused until it is available", status)
		}
	}
}

// checkFeatures finds what an uploaded image does not go with.
func (s *survey) checkFeatures() {
	booted := s.booted()
	i := slices.IndexFunc(booted, func(i digitalocean.Image) bool { return i.Type == "custom" })
	if i < 0 {
		return
	}
	const unsupported = "plugin_config.%s: image %s is a custom image, for which DigitalOcean does not support %[1]s; set %[1]s = false, or choose another image"
	if s.config.IPv6 {
		s.refuse(unsupported, "ipv6", named(booted[i]))
	}
	if s.config.Monitoring {
		s.refuse(unsupported, "monitoring", named(booted[i]))
	}
}

// named is how a configuration names an image, and the name that people know it by.
func named(i digitalocean.Image) string {
	reference := cmp.Or(i.Slug, strconv.FormatInt(i.ID, 10))
	if i.Name == "" {
		return reference
	}
	return fmt.Sprintf("%s (%.200q)", reference, i.Name)
}

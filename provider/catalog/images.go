package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// image returns the newest image that is in a region, or nil.
func (s *survey) image(region string) *digitalocean.Image {
	var newest *digitalocean.Image
	for _, image := range s.images.value.found {
		if slices.Contains(image.Regions, region) &&
			(newest == nil || cmp.Or(newest.Created.Compare(image.Created), cmp.Compare(newest.ID, image.ID)) < 0) {
			newest = &image
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
		case withdrawn(image):
			s.refuse("%s: %s: no Droplet can be made of it; choose another%s", key, status, near(image.Slug, s.images.value.slugs))
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

// withdrawn reports whether an image will never be usable again.
func withdrawn(i digitalocean.Image) bool { return i.Status == "deleted" || i.Status == "retired" }

// reference is how a configuration names an image.
func reference(i digitalocean.Image) string { return cmp.Or(i.Slug, strconv.FormatInt(i.ID, 10)) }

// named adds to that the name that people know it by.
func named(i digitalocean.Image) string {
	if i.Name == "" {
		return reference(i)
	}
	return fmt.Sprintf("%s (%.200q)", reference(i), i.Name)
}

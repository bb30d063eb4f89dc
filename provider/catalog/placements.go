package catalog

import (
	"fmt"
	"slices"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// place checks every combination of size, region and image. One that can never work
// is left out; one that is only short of capacity now stays, at its turn. If none can be
// had at all, that is a fault.
func (s *survey) place() {
	p := &s.plan
	var possible []instancegroup.Placement
	var lines []string
	for _, at := range p.Placements {
		why, never := s.unfit(at.Size, at.Region)
		if why != "" {
			p.Unfit = append(p.Unfit, Unfit{at, never, why})
			lines = append(lines, fmt.Sprintf("\n  %s: %s", at, why))
		} else if sizes := p.regions[at.Region].Sizes; slices.Contains(sizes, at.Size) {
			// The account may use it there.
		} else if _, listed := p.Sizes[at.Size]; listed && len(sizes) > 0 {
			s.warn("size", "take it out of the list, or ask DigitalOcean for it",
				"%s: DigitalOcean does not list the size among those that the account may use there, so creates may be refused", at)
		} else if !listed {
			s.warn("size", "ask DigitalOcean where the contract holds",
				"%s is not known to be on offer: DigitalOcean lists contract sizes only for the regions in which the account may use them", at)
		}
		if !never {
			possible = append(possible, at)
		}
	}
	if len(lines) == len(p.Placements) {
		s.refuse("plugin_config: no combination of size, region and image can work:%s\ndoctl compute size list shows which sizes there are", strings.Join(lines, ""))
		return
	}
	p.Placements = possible
}

// unfit says why Droplets of a size cannot be made in a region, or "", and whether that
// is for ever. The region is listed; the size is listed or a contract size, of which
// nothing is known.
func (s *survey) unfit(slug, region string) (why string, never bool) {
	size, listed := s.plan.Sizes[slug]
	image, there := s.plan.Images[region]
	switch {
	case !there && s.config.ImageTag != "":
		return fmt.Sprintf("no image with the tag %s is in %s: transfer one there", s.config.ImageTag, region), false
	case !there:
		return fmt.Sprintf("image %s is not in %s; it is in %s", instancegroup.Image(s.config.Image), region, sorted(s.images.value.found[0].Regions)), true
	case listed && size.Disk > 0 && size.Disk < image.MinDiskSize:
		return fmt.Sprintf("image %s needs a disk of %d GiB, the size has %d", named(image), image.MinDiskSize, size.Disk), true
	case !s.plan.regions[region].Available:
		return "the region takes no new Droplets now", false
	case listed && !size.Available:
		return "the size is not on offer now", false
	case listed && !slices.Contains(size.Regions, region):
		return fmt.Sprintf("the size is not on offer there now; it is in %s", sorted(size.Regions)), false
	}
	return "", false
}

func sorted(slugs []string) string {
	if len(slugs) == 0 {
		return "no region"
	}
	return strings.Join(slices.Sorted(slices.Values(slugs)), ", ")
}

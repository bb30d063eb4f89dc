package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// alternatives proposes, for each configured region, the five cheapest sizes
// that would work there, and for each configured size the regions.
func (o *offer) alternatives(c config.Config) string {
	byPrice := slices.SortedStableFunc(slices.Values(o.sizes.value), func(a, b digitalocean.Size) int {
		return cmp.Compare(a.PriceHourly, b.PriceHourly)
	})
	var s strings.Builder
	for _, region := range c.Regions {
		var slugs []string
		for _, size := range byPrice {
			never, notNow := o.fits(c, size.Slug, region)
			if never == "" && notNow == "" && !size.GPU && len(slugs) < 5 {
				slugs = append(slugs, size.Slug)
			}
		}
		if len(slugs) > 0 {
			fmt.Fprintf(&s, "\nIn %s these sizes would work: %s", region, strings.Join(slugs, ", "))
		}
	}
	for _, slug := range c.Sizes {
		var regions []string
		for _, r := range o.regions.value {
			if never, notNow := o.fits(c, slug, r.Slug); never == "" && notNow == "" {
				regions = append(regions, r.Slug)
			}
		}
		if len(regions) > 0 {
			fmt.Fprintf(&s, "\nWith the size %s these regions would work: %s", slug, sorted(regions))
		}
	}
	return s.String()
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
		if d == 0 {
			continue // it exists, and the look-up of it failed all the same
		}
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

func sorted(slugs []string) string {
	if len(slugs) == 0 {
		return "no region"
	}
	return strings.Join(slices.Sorted(slices.Values(slugs)), ", ")
}

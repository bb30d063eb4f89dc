package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// slugPattern holds for the slugs of regions (nyc3), sizes (so1_5-2vcpu-16gb) and images (ubuntu-24-04-x64).
var slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$`)

func isSlug(text string) bool { return slugPattern.MatchString(text) && !tokenLike.MatchString(text) }

func slug(slug string) (string, error) {
	if isSlug(slug) {
		return slug, nil
	}
	hint := ""
	if proposal := strings.ToLower(strings.TrimSpace(slug)); isSlug(proposal) && len(proposal) <= shown {
		hint = fmt.Sprintf("did you mean %q?", proposal)
	}
	return "", withHint(hint, "must be a slug, made of a-z, 0-9, -, _ and ., not %s", quote(slug))
}

func image(v any) (Image, error) {
	if id, ok := id(v); ok {
		return Image{ID: id}, nil
	}
	text, ok := v.(string)
	if !ok {
		return Image{}, fmt.Errorf("must be a slug or the id of an image, not %s", show(v))
	}
	slug, err := slug(text)
	return Image{Slug: slug}, err
}

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func uuid(text string) (string, error) {
	if !uuidPattern.MatchString(text) {
		return "", fmt.Errorf("must be a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4, not %s", quote(text))
	}
	return strings.ToLower(text), nil
}

// vpc takes a UUID for the only region, since a VPC is in one region, or a table. Where the regions have a fault, it is
// not known what is wrong here.
func (p *parser) vpc(v any) (map[string]string, error) {
	regions := p.config.Regions
	switch v := v.(type) {
	case string:
		id, err := uuid(v)
		switch {
		case err != nil || len(regions) == 0:
			return nil, err
		case len(regions) > 1:
			return nil, withHint(fmt.Sprintf("for example vpc_uuid = { %q = %q }", regions[0], id),
				"must be a table of region = UUID when there are several regions, since a VPC is in one region")
		}
		return map[string]string{regions[0]: id}, nil
	case map[string]any:
		return vpcTable(v, regions)
	}
	return nil, wrongType("a UUID or a table of region = UUID", v)
}

func vpcTable(table map[string]any, regions []string) (map[string]string, error) {
	if len(regions) == 0 {
		return nil, nil
	}
	var faults []error
	vpc := map[string]string{}
	for _, region := range slices.Sorted(maps.Keys(table)) {
		id, err := text(uuid)(table[region])
		if !slices.Contains(regions, region) {
			err = fmt.Errorf("is not among the regions, which are %s", strings.Join(regions, ", "))
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %w", quote(region), err))
		}
		vpc[region] = id
	}
	return vpc, errors.Join(faults...)
}

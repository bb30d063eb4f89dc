package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// slugPattern holds for the slugs of regions (nyc3), sizes (so1_5-2vcpu-16gb) and images (ubuntu-24-04-x64).
var slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$`)

func slug(slug string) (string, error) {
	if slugPattern.MatchString(slug) {
		return slug, nil
	}
	proposal := strings.ToLower(strings.TrimSpace(slug))
	if !slugPattern.MatchString(proposal) {
		proposal = ""
	}
	return "", withHint(didYouMean(proposal), "must be a slug, made of a-z, 0-9, -, _ and ., not %s", quote(slug))
}

func image(v value) (Image, error) {
	switch {
	case v.kind != aString && v.kind != aNumber:
		return Image{}, v.not("a slug or the id of an image")
	case v.text == "":
		return Image{}, errEmpty
	case v.kind == aString && !isDigits(v.text):
		slug, err := slug(v.text)
		return Image{Slug: slug}, err
	}
	id, ok := whole(v.text)
	if !ok || id <= 0 {
		return Image{}, fmt.Errorf("must be the id of an image, a whole number above 0, not %s", v.shown())
	}
	return Image{ID: id}, nil
}

func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func uuid(text string) (string, error) {
	if !uuidPattern.MatchString(text) {
		return "", fmt.Errorf("must be a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4, not %s", quote(text))
	}
	return strings.ToLower(text), nil
}

// vpc takes one UUID for the only region, since a VPC is in one region, or a table.
func (p *parser) vpc(v value) (map[string]string, error) {
	regions := p.config.Regions
	switch v.kind {
	case aTable:
		return vpcTable(v, regions)
	case aString:
	default:
		return nil, v.not("a UUID or a table of region = UUID")
	}
	id, err := text(uuid)(v)
	switch {
	case err != nil:
		return nil, err
	case len(regions) == 0: // a fault already
		return nil, nil
	case len(regions) > 1:
		return nil, withHint(fmt.Sprintf("for example vpc_uuid = { %q = %q }", regions[0], id),
			"must be a table of region = UUID when there are several regions, since a VPC is in one region")
	}
	return map[string]string{regions[0]: id}, nil
}

// vpcTable returns nil when the table is empty. Without regions, which have a fault then, their names are not checked.
func vpcTable(v value, regions []string) (vpc map[string]string, err error) {
	entries, _ := members(json.RawMessage(v.text)) // cannot fail: it is a valid table
	free := slices.DeleteFunc(slices.Clone(regions), func(region string) bool {
		return slices.ContainsFunc(entries, func(e member) bool { return e.name == region })
	})
	var faults []error
	for _, e := range entries {
		id, err := e.value.text, error(nil)
		_, twice := vpc[e.name]
		switch {
		case len(regions) > 0 && !slices.Contains(regions, e.name):
			err = withHint(didYouMean(nearest(e.name, free)), "%s is not among the regions, which are %s", quote(e.name), quoteAll(regions, ", "))
		case twice:
			err = fmt.Errorf("lists %s more than once", quote(e.name))
		case e.value.kind != aString:
			err = fmt.Errorf("%s %w", quote(e.name), e.value.not("a UUID"))
		default:
			if id, err = uuid(id); err != nil {
				err = fmt.Errorf("%s %w", quote(e.name), err)
			}
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if vpc == nil {
			vpc = map[string]string{}
		}
		vpc[e.name] = id
	}
	if len(regions) == 0 {
		vpc = nil
	}
	return vpc, errors.Join(faults...)
}

package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

var (
	// slugs are those of regions (nyc3), sizes (so1_5-2vcpu-16gb) and images (ubuntu-24-04-x64).
	slugs = matching(`^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$`, "a slug, made of a-z, 0-9, -, _ and .")
	uuids = matching(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`, "a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4").and(lower)
	tags  = matching(`^[a-zA-Z0-9_:-]{1,255}$`, "a tag, at most 255 letters, digits, _, - and :")

	fingerprints = matching(`^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){15}$`, "a fingerprint").and(lower)
)

func lower(text string) (string, error) { return strings.ToLower(text), nil }

var images = kind[Image]{anyOf(slugs.schema, ids), func(v any) (Image, error) {
	if id, ok := id(v); ok {
		return Image{ID: id}, nil
	}
	if _, ok := v.(string); !ok {
		return Image{}, mustBe("a slug or the id of an image", v)
	}
	slug, err := slugs.check(v)
	return Image{Slug: slug}, err
}}

// sshKeys are ids or MD5 fingerprints, the only ones that DigitalOcean's API takes.
var sshKeys = kind[string]{anyOf(fingerprints.schema, ids, idTexts), func(v any) (string, error) {
	if id, ok := id(v); ok {
		return strconv.FormatInt(id, 10), nil
	}
	fingerprint, err := fingerprints.check(v)
	if err != nil {
		err = hinted{mustBe("the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account", v),
			"ssh-keygen -E md5 -lf KEY.pub prints the fingerprint"}
	}
	return fingerprint, err
}}

// byRegion is a UUID for the only region, or a table. Where the regions have a fault, it is not known what is wrong here.
func (p *parser) byRegion() kind[map[string]string] {
	tables := object{"type": "object", "additionalProperties": uuids.schema}
	return kind[map[string]string]{anyOf(uuids.schema, tables), func(v any) (map[string]string, error) {
		regions := p.config.Regions
		table, isTable := v.(map[string]any)
		_, isText := v.(string)
		switch {
		case !isTable && !isText:
			return nil, mustBe("a UUID or a table of region = UUID", v)
		case !isTable && len(regions) > 1:
			return nil, hinted{mustBe("a table of region = UUID since there are several regions", v),
				fmt.Sprintf("for example %s = { %s = \"...\" }", p.key, regions[0])}
		case !isTable:
			id, err := uuids.check(v)
			if err != nil || len(regions) == 0 {
				return nil, err
			}
			return map[string]string{regions[0]: id}, nil
		case len(regions) == 0:
			return nil, nil
		}
		var faults []error
		checked := map[string]string{}
		for _, region := range slices.Sorted(maps.Keys(table)) {
			id, err := uuids.check(table[region])
			if !slices.Contains(regions, region) {
				err = fmt.Errorf("is not among the regions, which are %s", strings.Join(regions, ", "))
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("%s %w", quote(region), err))
			}
			checked[region] = id
		}
		return checked, errors.Join(faults...)
	}}
}

// withVPC wants the VPC of each subnet, by which DigitalOcean knows subnets.
func (p *parser) withVPC(subnets map[string]string) (map[string]string, error) {
	for _, region := range slices.Sorted(maps.Keys(subnets)) {
		if p.config.VPC[region] == "" && !p.isFaulty("vpc_uuid") {
			return nil, fmt.Errorf("needs vpc_uuid for %s too: a subnet is a part of one VPC", region)
		}
	}
	return subnets, nil
}

func (p *parser) ipv6(ipv6 bool) (bool, error) {
	if ipv6 && !p.config.PublicNetworking {
		return false, errors.New("excludes public_networking = false: IPv6 addresses are public")
	}
	return ipv6, nil
}

// freeTag refuses the plugin's own tags. DigitalOcean ignores the case of tags.
func freeTag(tag string) (string, error) {
	if folded := strings.ToLower(tag); folded == "fleeting" || strings.HasPrefix(folded, "fleeting-") {
		return "", fmt.Errorf(`must not be "fleeting" or begin with "fleeting-", which are the plugin's own tags: %s`, quote(tag))
	}
	return tag, nil
}

const maxUserData = 64 << 10 // DigitalOcean's limit, in bytes

// checkUserData never repeats any of the data, which may hold secrets.
func checkUserData(data string) (string, error) {
	if data == "" {
		return "", errors.New("is empty")
	}
	if len(data) > maxUserData {
		return "", fmt.Errorf("has %d bytes, and DigitalOcean takes at most %d (64 KiB)", len(data), maxUserData)
	}
	if i := strings.IndexFunc(data, func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
		line := 1 + strings.Count(data[:i], "\n")
		return "", fmt.Errorf("must be ASCII, since DigitalOcean truncates or refuses anything else: line %d is not", line)
	}
	return data, nil
}

var userData = kind[string]{object{"type": "string", "minLength": 1, "maxLength": maxUserData}, text.and(checkUserData).check}

// userDataFile replaces the name of a file by its content.
func (p *parser) userDataFile(name string) (string, error) {
	data, err := readChecked(p.host, name, maxUserData, checkUserData)
	if err != nil {
		return "", fmt.Errorf("%s %w", quote(name), err)
	}
	return data, nil
}

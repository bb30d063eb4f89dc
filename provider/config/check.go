package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

func lower(text string) (string, error) { return strings.ToLower(text), nil }

// checkPath does not look whether there is such a file.
func checkPath(path string) (string, error) {
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
		return "", errors.New("must be the path of a file, not its content")
	}
	if strings.HasPrefix(path, "~") {
		return "", errors.New("must be a whole path: ~ is expanded by shells only")
	}
	return path, nil
}

// checkTag refuses the plugin's own tags. DigitalOcean ignores the case of tags.
func checkTag(tag string) (string, error) {
	if folded := strings.ToLower(tag); folded == "fleeting" || strings.HasPrefix(folded, "fleeting-") {
		return "", fmt.Errorf(`must not be "fleeting" or begin with "fleeting-", which are the plugin's own tags: %s`, quote(tag))
	}
	return tag, nil
}

// subnetsHaveVPCs wants the VPC of each subnet, by which DigitalOcean knows subnets.
func (p *parser) subnetsHaveVPCs() error {
	for _, region := range slices.Sorted(maps.Keys(p.config.Subnet)) {
		if p.config.VPC[region] == "" && !p.faults.Has("vpc_uuid") {
			return fmt.Errorf("needs vpc_uuid for %s too: a subnet is a part of one VPC", region)
		}
	}
	return nil
}

func (p *parser) ipv6IsPublic() error {
	if p.config.IPv6 && !p.config.PublicNetworking {
		return errors.New("excludes public_networking = false: IPv6 addresses are public")
	}
	return nil
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

// readUserData returns what is in a file.
func (p *parser) readUserData(path string) (string, error) {
	if _, err := checkPath(path); err != nil {
		return "", err
	}
	data, err := readChecked(p.host, path, maxUserData, checkUserData)
	if err != nil {
		return "", fmt.Errorf("%s %w", quote(path), err)
	}
	return data, nil
}

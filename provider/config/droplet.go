package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// fingerprintPattern is the MD5 form: the only one that DigitalOcean's API takes.
var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){15}$`)

func sshKey(v any) (string, error) {
	if id, ok := id(v); ok {
		return strconv.FormatInt(id, 10), nil
	}
	text, _ := v.(string)
	if fingerprint := strings.ToLower(text); fingerprintPattern.MatchString(fingerprint) {
		return fingerprint, nil
	}
	return "", withHint("ssh-keygen -E md5 -lf KEY.pub prints the fingerprint",
		"must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not %s", show(v))
}

func (p *parser) ipv6(v any) (bool, error) {
	ipv6, err := boolean(v)
	if ipv6 && !p.config.PublicNetworking {
		return false, errors.New("excludes public_networking = false: IPv6 addresses are public")
	}
	return ipv6, err
}

// tagPattern is DigitalOcean's, from its API specification, with its length.
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_:-]{1,255}$`)

func tag(tag string) (string, error) {
	if !tagPattern.MatchString(tag) || tokenLike.MatchString(tag) {
		return "", fmt.Errorf("must be a tag, at most 255 letters, digits, _, - and :, not %s", quote(tag))
	}
	return tag, nil
}

// freeTag takes a tag that is not the plugin's. DigitalOcean ignores the case of tags.
func freeTag(text string) (string, error) {
	if folded := strings.ToLower(text); folded == "fleeting" || strings.HasPrefix(folded, "fleeting-") {
		return "", fmt.Errorf(`must not be "fleeting" or begin with "fleeting-", which are the plugin's own tags: %s`, quote(text))
	}
	return tag(text)
}

const maxUserData = 64 << 10 // DigitalOcean's limit, in bytes

// userData never repeats any of the data, which may hold secrets.
func userData(data string) (string, error) {
	if data == "" {
		return "", errors.New("is empty")
	}
	if len(data) > maxUserData {
		return "", fmt.Errorf("has %d bytes, and DigitalOcean takes at most %d (64 KiB)", len(data), maxUserData)
	}
	if i := strings.IndexFunc(data, func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
		return "", fmt.Errorf("must be ASCII, since DigitalOcean truncates or refuses anything else: line %d is not", 1+strings.Count(data[:i], "\n"))
	}
	return data, nil
}

func (p *parser) userDataFile(name string) (string, error) {
	if _, err := path(name); err != nil {
		return "", err
	}
	data, err := readChecked(p.host, name, maxUserData, userData)
	if err != nil {
		return "", fmt.Errorf("%s %w", quote(name), err)
	}
	return data, nil
}

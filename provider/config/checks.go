package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

var (
	slug   = `^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$` // of a region (nyc3), a size (so1_5-2vcpu-16gb) or an image (ubuntu-24-04-x64)
	slugs  = text("a slug, made of a-z, 0-9, -, _ and .", slug)
	images = then(orID(text("a slug or the id of an image", slug)), image)
	tags   = text("a tag, at most 255 letters, digits, _, - and :", `^[a-zA-Z0-9_:-]{1,255}$`)
	uuids  = then(text("a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4",
		"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"), lower)
	// sshKeys are ids or MD5 fingerprints, the only ones that DigitalOcean's API takes.
	sshKeys = then(orID(text("the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account",
		"^([1-9][0-9]*|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){15})$")), lower)
	count   = number("a whole number", "integer", 1, 100_000)
	path    = then(plain, checkPath)
	timeout = then(text(duration, `^\+?([0-9.]+(ns|us|µs|μs|ms|s|m|h))+$`), checkTimeout)
)

func lower(text string) (string, error) { return strings.ToLower(text), nil }

func pointer(on bool) (*bool, error) { return &on, nil }

func image(text string) (Image, error) {
	if id, err := strconv.ParseInt(text, 10, 64); err == nil && id > 0 {
		return Image{ID: id}, nil
	}
	return Image{Slug: text}, nil
}

const duration = `a duration from 30s to 24h, such as "10m"`

// checkTimeout has bounds because a Droplet takes about 30 s to become active, and no job waits for a day.
func checkTimeout(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 30*time.Second || d > 24*time.Hour {
		return 0, mustBe(duration, text)
	}
	return d, nil
}

// notOurs refuses the plugin's own tags. DigitalOcean ignores the case of tags.
func notOurs(tag string) (string, error) {
	if folded := strings.ToLower(tag); folded == "fleeting" || strings.HasPrefix(folded, "fleeting-") {
		return "", fmt.Errorf(`must not be "fleeting" or begin with "fleeting-", which are the plugin's own tags: %s`, quote(tag))
	}
	return tag, nil
}

// checkPath does not look whether there is such a file.
func checkPath(path string) (string, error) {
	if strings.HasPrefix(path, "~") || strings.ContainsFunc(path, unicode.IsControl) {
		return "", errors.New("must be the path of a file, not its content, and without ~, which only shells expand")
	}
	return path, nil
}

// checkToken accepts what can be sent in a header. Its error follows the source in a sentence.
func checkToken(content string) (string, error) {
	token := strings.TrimSpace(content)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("holds something other than a token, which is printable ASCII without spaces")
	}
	return token, nil
}

func (p *parser) token(text string) (Token, error) {
	token, err := checkToken(text)
	return Token{Value: NewSecret(token), Source: p.source}, err
}

// tokenFile tries the file, unless the key token says what the token is.
func (p *parser) tokenFile(path string) (Token, error) {
	if p.has("token") {
		return p.config.Token, nil
	}
	_, err := p.host.content(quote(path), path, checkToken)
	return Token{File: path, Source: p.source + " " + path}, err
}

// userData is not repeated in an error: it may hold secrets.
func userData(data string) (string, error) {
	if len(data) > maxFile || strings.ContainsFunc(data, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "", fmt.Errorf("must be ASCII, and at most %d bytes: DigitalOcean truncates or refuses anything else", maxFile)
	}
	return data, nil
}

func (p *parser) userDataFile(path string) (string, error) {
	return p.host.content(quote(path), path, userData)
}

func (p *parser) ipv6(on bool) (bool, error) {
	if on && !p.config.PublicNetworking {
		return false, errors.New("excludes public_networking = false: IPv6 addresses are public")
	}
	return on, nil
}

// MaxName is the most characters of a group's name. With "-" and 10 more it is a Droplet's, a DNS label of at most 63.
const MaxName = 45

// bootSuffix ends the names of the groups of doctor --boot, whose Droplets are destroyed: plugin_config may name none of them.
const bootSuffix = "-doctor"

var (
	names  = text("1 to 45 characters of a-z, 0-9 and -, with a letter or a digit at both ends", `^[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?$`)
	groups = then(names, notBoot)
)

// BootGroup returns the group of the Droplet that doctor --boot makes for a group. Two groups never share one.
func BootGroup(name string) string { return name + bootSuffix }

// CheckName returns why no group can have the name, following the name's key in a sentence, or nil. It accepts the groups
// of doctor --boot, which plugin_config may not name.
func CheckName(name string) error {
	_, err := names.read(name)
	return err
}

func notBoot(name string) (string, error) {
	if strings.HasSuffix(name, bootSuffix) {
		return "", errors.New("must not end in -doctor, as the groups do that doctor --boot makes and deletes")
	}
	return name, nil
}

const defaultAPIURL = "https://api.digitalocean.com"

// normalURL returns the API's URL in one spelling, by which this host's plugins know the same account. A fault repeats nothing
// of it: there may be a password in it.
func normalURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		u = &url.URL{}
	}
	address, _ := netip.ParseAddr(u.Hostname())
	isLoopback := strings.EqualFold(u.Hostname(), "localhost") || address.IsLoopback()
	if u.Hostname() == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback) || u.User != nil ||
		strings.ContainsAny(text, "?#") || strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v2") {
		return "", errors.New("must be an https URL such as " + defaultAPIURL +
			", without user name, query and /v2; http is for loopback hosts")
	}
	usualPort := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	u.Host = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(u.Host), usualPort), ":")
	return strings.TrimRight(u.String(), "/"), nil
}

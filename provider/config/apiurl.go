package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const defaultAPIURL = "https://api.digitalocean.com"

// apiURL falls back to the environment. After a fault there is no URL: the token is not for another host.
func (p *parser) apiURL(v value) error {
	const variable = "DIGITALOCEAN_API_URL"
	fromEnvironment := strings.TrimSpace(p.host.Getenv(variable))
	switch {
	case v.kind != nothing:
		return set(&p.config.APIURL, text(normalURL))(v)
	case fromEnvironment == "":
		p.config.APIURL = defaultAPIURL
		return nil
	}
	normal, err := normalURL(fromEnvironment)
	if err != nil {
		return fmt.Errorf("the environment variable %s %w", variable, err)
	}
	p.config.APIURL = normal
	return nil
}

// normalURL checks where the API is said to be, and returns it in one spelling, by which this host's plugins know that
// they are on the same account: scheme and host in lower case, without the scheme's port, a slash at the end and the
// version. A fault never repeats a user name, a password or a query.
func normalURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errNotAbsolute
	}
	host, err := normalHost(u)
	switch {
	case err != nil:
		return "", err
	case u.User != nil:
		return "", errors.New("must not hold a user name or a password")
	case strings.ContainsAny(text, "?#"):
		return "", errors.New("must not hold a query or a fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "", fmt.Errorf("must be https, or the token could be read on the way: plain http is for loopback hosts, and %s is not one",
			quote(u.Hostname()))
	}
	u.Host = host
	normal := strings.TrimRight(u.String(), "/")
	if without, ok := strings.CutSuffix(normal, "/v2"); ok {
		return "", withHint(didYouMean(without), "must not end in the version, which is added to it")
	}
	return normal, nil
}

var errNotAbsolute = errors.New("must be an absolute https URL, such as " + defaultAPIURL)

// normalHost returns the host with its port, if that is not the scheme's.
func normalHost(u *url.URL) (string, error) {
	host := strings.ToLower(u.Hostname())
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch usual := map[string]uint64{"https": 443, "http": 80}[u.Scheme]; {
	case u.Port() != "" && (err != nil || port == 0):
		return "", errNotAbsolute
	case u.Port() != "" && port != usual:
		return net.JoinHostPort(host, strconv.FormatUint(port, 10)), nil
	case strings.Contains(host, ":"):
		return "[" + host + "]", nil
	}
	return host, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

const defaultAPIURL = "https://api.digitalocean.com"

var apiURLs = kind[string]{object{"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^?#]+$"}, text.and(normalURL).check}

// apiURL falls back to the environment. After a fault there is no URL: the token is not for another host.
func (p *parser) apiURL(v any) error {
	const variable = "DIGITALOCEAN_API_URL"
	if v != nil {
		return apiURLs.into(&p.config.APIURL).read(v)
	}
	var err error
	if p.config.APIURL, err = normalURL(cmp.Or(strings.TrimSpace(p.host.Getenv(variable)), defaultAPIURL)); err != nil {
		err = fmt.Errorf("the environment variable %s %w", variable, err)
	}
	return err
}

// normalURL checks where the API is said to be, and returns it in one spelling, by which this host's plugins know that
// they are on the same account: scheme and host in lower case, without the scheme's port and a slash at the end. A fault
// never repeats a user name, a password or a query.
func normalURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("must be an absolute https URL, such as " + defaultAPIURL)
	}
	usualPort := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	u.Host = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(u.Host), usualPort), ":")
	normal := strings.TrimRight(u.String(), "/")
	address, err := netip.ParseAddr(u.Hostname())
	isLoopback := u.Hostname() == "localhost" || err == nil && address.IsLoopback()
	switch {
	case u.User != nil:
		return "", errors.New("must not hold a user name or a password")
	case strings.ContainsAny(text, "?#"):
		return "", errors.New("must not hold a query or a fragment")
	case u.Scheme == "http" && !isLoopback:
		return "", fmt.Errorf("must be https, or the token could be read on the way: plain http is for loopback hosts, and %s is not one",
			quote(u.Hostname()))
	case strings.HasSuffix(normal, "/v2"):
		return "", errors.New("must not end in the version, /v2, which is added to it")
	}
	return normal, nil
}

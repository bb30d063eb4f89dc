package config

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

func decodeAPIURL(p *parser, value json.RawMessage) {
	const variable = "DIGITALOCEAN_API_URL"
	text, from := strings.TrimSpace(p.host.Getenv(variable)), "the environment variable "+variable+" "
	if p.has("api_url") {
		var ok bool
		if text, ok = p.text(value); !ok {
			return
		}
		from = ""
	}
	if text == "" {
		return
	}
	normal, wrong, hint := normalURL(text)
	if wrong != "" {
		p.faultHint(from+wrong, hint)
		return
	}
	p.config.APIURL = normal
}

// normalURL checks where the API is said to be and returns it without a trailing slash, or else what is wrong. A fault
// never repeats a user name, a password or a query.
func normalURL(text string) (normal, wrong, hint string) {
	const absolute = "must be an absolute https URL, such as https://api.digitalocean.com"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || !isPort(u.Port()):
		return "", absolute, ""
	case u.User != nil:
		return "", "must not hold a user name or a password", ""
	case strings.ContainsAny(text, "?#"):
		return "", "must not hold a query or a fragment", ""
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "", "must be https, or the token could be read on the way: plain http is for loopback hosts, and " +
			quote(u.Hostname()) + " is not one", ""
	}
	normal = strings.TrimRight(u.String(), "/")
	if without, ok := strings.CutSuffix(normal, "/v2"); ok {
		return "", "must not end in the version, which is added to it", didYouMean(without)
	}
	return normal, "", ""
}

// isPort accepts an empty port too.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

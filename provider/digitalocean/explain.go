package digitalocean

import (
	"errors"
	"fmt"
	"strings"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Explain adds to an error of DigitalOcean what its reader needs to fix it. source
// says where the token comes from. Of a 403 DigitalOcean does not say which scope is
// missing.
func Explain(err error, source string) error {
	e, ok := errors.AsType[*ig.CloudError](err)
	switch {
	case !ok:
		return err
	case errors.Is(e, ig.ErrUnauthorized):
		return fmt.Errorf("%w: DigitalOcean refused the token. It came from %s: put a valid one there", err, source)
	case errors.Is(e, ig.ErrOtherAccount):
		return fmt.Errorf("%w: the token comes from %s", err, source)
	case errors.Is(e, ig.ErrForbidden):
		return fmt.Errorf("%w: the token from %s lacks a scope that this needs, %s", err, source, strings.Join(scopesOf[e.Op], " or "))
	}
	return err
}

// Hint says what a person can do when DigitalOcean does not do what it was asked. It is
// "" for any other error.
func Hint(err error) string {
	e, ok := errors.AsType[*ig.CloudError](err)
	switch {
	case !ok:
		return ""
	case errors.Is(e, ig.ErrRateLimited):
		wait := "a minute"
		if e.RetryAfter > 0 {
			wait = e.RetryAfter.Round(time.Second).String()
		}
		return "the token's rate limit is reached; try again in " + wait
	case errors.Is(e, ig.ErrUnsent):
		return "look at HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and plugin_config.api_url"
	case errors.Is(e, ig.ErrUnauthorized):
		return "make a token at https://cloud.digitalocean.com/account/api/tokens"
	case errors.Is(e, ig.ErrForbidden):
		return "fleeting-plugin-digitalocean doctor shows which scopes the token has, and what each is for"
	case errors.Is(e, ig.ErrOtherAccount):
		return "put a token of the team that the Droplets belong to where this one came from"
	}
	return "try again in a minute; https://status.digitalocean.com shows outages"
}

// scopesOf are the scopes that each request needs of a custom token: those of
// DigitalOcean's specification; those that droplet:create requires; and what tags need
// that are made, read or put on Droplets along the way.
var scopesOf = map[string][]string{}

// op is a request, by its method and path as in DigitalOcean's documentation, and its
// scopes.
func op(request string, scopes ...string) string {
	scopesOf[request] = scopes
	return request
}

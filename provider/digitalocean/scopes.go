package digitalocean

import (
	"context"
	"errors"
	"net/http"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

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

// Scope is a scope of a custom token, and how the token answered for it.
type Scope struct {
	Name    string // such as droplet:create
	Asked   string // the request that showed it
	Missing bool
	Unknown string // why it is unknown; "" = it is not
}

// probe is a request whose answer shows whether the token has a scope: 403 = no.
//
// Invariant: no probe can change anything, whatever the answer. Those that do not only
// read have no target that can exist, and nothing in them that could be made: no
// Droplet has the id 0, no tag a space, a Droplet needs a name, a size and an image.
// (TestScopesChangeNothing)
type probe struct {
	op   string
	body any
}

var (
	nothing   = struct{}{}
	noTargets = map[string][]string{"resources": {}}

	probes = map[string]probe{
		"droplet:read":            {"GET /v2/droplets?per_page=1", nil},
		"droplet:create":          {"POST /v2/droplets", nothing},
		"droplet:delete":          {"DELETE /v2/droplets/0", nil},
		"droplet:update":          {"POST /v2/tags/no%20tag/resources", noTargets},
		"tag:read":                {"GET /v2/tags?per_page=1", nil},
		"tag:create":              {"POST /v2/tags", nothing},
		"tag:delete":              {"DELETE /v2/tags/no%20tag", nil},
		"regions:read":            {"GET /v2/regions?per_page=1", nil},
		"sizes:read":              {"GET /v2/sizes?per_page=1", nil},
		"image:read":              {"GET /v2/images?per_page=1", nil},
		"actions:read":            {"GET /v2/actions?per_page=1", nil},
		"account:read":            {"GET /v2/account", nil},
		"ssh_key:read":            {"GET /v2/account/keys/0", nil},
		"ssh_key:create":          {"POST /v2/account/keys", nothing},
		"ssh_key:delete":          {"DELETE /v2/account/keys/0", nil},
		"vpc:read":                {"GET /v2/vpcs?per_page=1", nil},
		"project:assign_resource": {"POST /v2/projects/00000000-0000-0000-0000-000000000000/resources", noTargets},
	}
)

// Scopes returns which of the named scopes the token has, in their order. The error
// says that DigitalOcean could not be asked, or refused the token altogether.
//
// It can show no more than DigitalOcean's answers do: an endpoint that checks a
// request's form before it looks at the token's scopes seems to allow all.
func (c *Client) Scopes(ctx context.Context, names ...string) ([]Scope, error) {
	var out []Scope
	for _, name := range names {
		p := probes[name]
		s := Scope{Name: name, Asked: p.op}
		_, err := c.do(ctx, request{op: p.op, body: p.body})
		e, failed := errors.AsType[*ig.CloudError](err)
		switch {
		case !failed, e.Status == http.StatusNotFound, e.Status == http.StatusBadRequest, e.Status == http.StatusUnprocessableEntity:
		case errors.Is(e, ig.ErrUnauthorized), e.Status == 0:
			return nil, err
		case e.Status == http.StatusForbidden:
			s.Missing = true
		default:
			s.Unknown = e.Error()
		}
		out = append(out, s)
	}
	return out, nil
}

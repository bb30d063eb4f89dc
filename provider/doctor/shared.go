package doctor

import (
	"context"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// Shared is what subjects on one account have in common. The first that needs a thing
// asks for it, once; what failed is not asked for again, since the next would fare no
// better. The zero value has asked nothing. Not for concurrent use.
//
// Invariant: the requests of a subject more do not grow with what is checked of the token
// and the catalog. DigitalOcean allows 250 a minute. (TestManyRunners)
type Shared struct {
	inventory inventory.Account
	catalog   catalog.Reader

	listed bool // all has been asked for
	all    inventory.Found

	scopes    map[string]digitalocean.Scope
	scopesErr error

	vpcsRead bool
	vpcs     []digitalocean.VPC
	vpcsErr  error
}

// boots returns the Droplets of a group of doctor --boot, of which there mostly are none.
func (s *Shared) boots(ctx context.Context, api *digitalocean.Client, group string) []instancegroup.Droplet {
	if !s.listed {
		s.listed = true
		s.all, _ = inventory.Look(ctx, api, "") // none: the group's own list tells why
	}
	var found []instancegroup.Droplet
	for _, d := range s.all.Owned {
		if instancegroup.GroupOf(d) == group {
			found = append(found, d)
		}
	}
	return found
}

// answers returns which of the named scopes the token has.
func (s *Shared) answers(ctx context.Context, api *digitalocean.Client, names []string) ([]digitalocean.Scope, error) {
	if s.scopesErr != nil {
		return nil, s.scopesErr
	}
	if s.scopes == nil {
		s.scopes = map[string]digitalocean.Scope{}
	}
	var unasked []string
	for _, name := range names {
		if _, ok := s.scopes[name]; !ok {
			unasked = append(unasked, name)
		}
	}
	fresh, err := api.Scopes(ctx, unasked...)
	if err != nil {
		s.scopesErr = err
		return nil, err
	}
	for _, a := range fresh {
		s.scopes[a.Name] = a
	}
	var all []digitalocean.Scope
	for _, name := range names {
		all = append(all, s.scopes[name])
	}
	return all, nil
}

// networks lists the account's VPCs.
func (s *Shared) networks(ctx context.Context, api *digitalocean.Client) ([]digitalocean.VPC, error) {
	if !s.vpcsRead {
		s.vpcsRead = true
		s.vpcs, s.vpcsErr = api.VPCs(ctx)
	}
	return s.vpcs, s.vpcsErr
}

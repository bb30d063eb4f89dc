package doctor

import (
	"context"
	"slices"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// need is a scope that a group needs, and what it costs to be without.
type need struct {
	scope   string
	level   Level
	without string
	when    func(Subject) bool // nil = always
}

// needs are as docs/security.md has them; TestNeedsAreInTheDocs holds both together.
var needs = []need{
	{"droplet:read", Fault, "the plugin cannot find its Droplets: it does not start", nil},
	{"droplet:create", Fault, "no Droplet can be made", nil},
	{"droplet:delete", Fault, "no Droplet can be deleted: each is billed until a person does it", nil},
	{"tag:create", Fault, "Droplets cannot be tagged, and none is made without", nil},
	{"tag:read", Fault, "the plugin cannot find its Droplets by their tags: it does not start", nil},
	{"regions:read", Warning, "regions are not checked, and droplet:create requires it", nil},
	{"sizes:read", Warning, "sizes and prices are not checked, and droplet:create requires it", nil},
	{"image:read", Warning, "the image is not checked, and droplet:create requires it", nil},
	{"actions:read", Warning, "droplet:create requires it", nil},
	{"ssh_key:create", Fault, "the plugin cannot upload its key: it does not start", Subject.generatesKey},
	{"ssh_key:create", Warning, "a key that is not on the account yet cannot be uploaded", Subject.staticKey},
	{"ssh_key:read", Note, "the key is uploaded at every start instead of being looked up", Subject.staticKey},
	{"ssh_key:delete", Warning, "each start leaves its public key on the account", Subject.generatesKey},
	{"account:read", Fault, "max_instances must be set in plugin_config: the account's limit cannot be read", Subject.unlimited},
	{"account:read", Note, "the account's Droplet limit is not checked", func(s Subject) bool { return !s.unlimited() }},
	{"droplet:update", Note, "many Droplets at once are deleted by a request each", nil},
	{"tag:delete", Note, "tags by which Droplets were deleted stay on the account", nil},
	{"vpc:read", Warning, "the VPC is not checked", usesVPC},
	{"project:assign_resource", Warning, "Droplets stay in the default project", func(s Subject) bool { return s.Config.ProjectID != "" }},
}

// staticKey reports whether the group's SSH key outlives the process.
func (s Subject) staticKey() bool {
	return s.valid() && (s.Config.SSHKeyFile != "" || s.Runner.Autoscaler.Connector.KeyPath != "")
}

func (s Subject) generatesKey() bool { return s.valid() && !s.staticKey() }

// unlimited reports whether the account's limit is the limit of the group.
func (s Subject) unlimited() bool { return s.valid() && s.Config.MaxInstances == 0 }

// scopes finds the scopes that the token lacks.
func (e *exam) scopes(ctx context.Context) {
	all, err := e.Shared.scopes.get(func() ([]digitalocean.Scope, error) {
		var names []string
		for _, n := range needs {
			names = append(names, n.scope)
		}
		return e.api.Scopes(ctx, slices.Compact(names)...) // a scope's rows are beside each other
	})
	if e.unread(err, Warning, "the token's scopes") {
		return
	}
	before := len(e.found)
	for _, n := range needs {
		i := slices.IndexFunc(all, func(s digitalocean.Scope) bool { return s.Name == n.scope })
		switch s := all[i]; {
		case n.when != nil && !n.when(e.Subject):
		case s.Missing:
			e.addAt(n.level, s.Asked, "give the token the scope "+n.scope, "the token lacks %s: %s", n.scope, n.without)
		case s.Unknown != "":
			e.addAt(Note, s.Asked, "", "it is not known whether the token has %s: %s", n.scope, s.Unknown)
		}
	}
	if len(e.found) == before {
		e.addAt(OK, "scopes", "", "the token has the scopes that this group needs, as far as reads and empty requests show")
	}
}

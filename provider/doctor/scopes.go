package doctor

import (
	"context"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// need is a scope that a group needs, and what it costs to be without.
type need struct {
	scope   string
	mark    Mark
	without string
	when    func(Subject) bool // nil = always
}

// needs are as docs/security.md has them; TestNeedsAreInTheDocs holds both together.
var needs = []need{
	{"droplet:read", Fault, "the plugin cannot find its Droplets: it does not start", nil},
	{"droplet:create", Fault, "no Droplet can be made", nil},
	{"droplet:delete", Fault, "no Droplet can be destroyed: each is billed until a person does it", nil},
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
	{"account:read", Fault, "max_instances must be set in plugin_config: the account's limit cannot be read", func(s Subject) bool {
		return s.valid() && s.Config.MaxInstances == 0
	}},
	{"account:read", Note, "the account's Droplet limit is not checked", func(s Subject) bool {
		return !s.valid() || s.Config.MaxInstances > 0
	}},
	{"droplet:update", Note, "many Droplets at once are destroyed by a request each", nil},
	{"tag:delete", Note, "tags by which Droplets were destroyed stay on the account", nil},
	{"vpc:read", Warning, "the VPC is not checked", func(s Subject) bool { return len(s.Config.VPC) > 0 || s.dialsPrivate() }},
	{"project:assign_resource", Warning, "Droplets stay in the default project", func(s Subject) bool { return s.Config.ProjectID != "" }},
}

// staticKey reports whether the group's SSH key outlives the process.
func (s Subject) staticKey() bool {
	return s.valid() && (s.Config.SSHKeyFile != "" || s.Runner.Autoscaler.Connector.KeyPath != "")
}

func (s Subject) generatesKey() bool { return s.valid() && !s.staticKey() }

// dialsPrivate reports whether the runner reaches Droplets by their private addresses.
func (s Subject) dialsPrivate() bool {
	return s.valid() && (!s.Runner.Autoscaler.Connector.UseExternalAddr || !s.Config.PublicNetworking)
}

// scopes finds the scopes that the token lacks. The error ends the examination.
func (e *exam) scopes(ctx context.Context, api *digitalocean.Client) error {
	e.check = "scopes"
	byName := map[string]need{}
	var names []string
	for _, n := range needs {
		if n.when == nil || n.when(e.Subject) {
			byName[n.scope] = n
			names = append(names, n.scope)
		}
	}
	answers, err := e.Shared.answers(ctx, api, names)
	if err != nil {
		return err
	}
	missing := 0
	var unknown []string
	for _, a := range answers {
		n := byName[a.Name]
		switch {
		case a.Missing:
			missing++
			e.at(n.mark, a.Asked, "give the token the scope "+a.Name, "the token lacks %s: %s", a.Name, n.without)
		case a.Unknown != "":
			unknown = append(unknown, a.Name+" ("+a.Unknown+")")
		}
	}
	if len(unknown) > 0 {
		e.at(Note, "scopes", "", "not answered clearly, so not known: %s", strings.Join(unknown, ", "))
	}
	if missing+len(unknown) == 0 {
		e.at(Good, "scopes", "", "the token has the %d scopes that this group needs, as far as the answers to reads and to empty requests tell",
			len(answers))
	}
	return nil
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// Shared is what subjects on one account have in common. It is asked for once, by the first that needs it, also if that fails:
// DigitalOcean allows 250 requests a minute (TestManyRunners). The zero value has asked nothing. Not for concurrent use.
type Shared struct {
	catalog  catalog.Reader
	scopes   catalog.Answer[[]digitalocean.Scope]
	droplets catalog.Answer[inventory.Found] // of all groups
}

// unread reports whether something could not be read. It adds a finding of why, unless the scopes explain it.
func (e *exam) unread(err error, level Level, what string) bool {
	if err != nil && !errors.Is(err, instancegroup.ErrForbidden) {
		asked := "DigitalOcean"
		if c, ok := errors.AsType[*instancegroup.CloudError](err); ok {
			asked = c.Op
		}
		e.addAt(level, asked, digitalocean.Hint(err), "%s could not be read: %v", what, err)
	}
	return err != nil
}

func (e *exam) token() {
	account, err := e.Shared.catalog.Account(e.ctx, e.api)
	if e.unread(err, Fault, "the account") && !errors.Is(err, instancegroup.ErrForbidden) {
		e.api = nil // it would not answer the rest
		return
	}
	const asked = "GET /v2/account"
	e.addAt(OK, asked, "", "DigitalOcean accepts the token from %s", e.Account.Token.Source)
	for _, w := range catalog.AccountWarnings(account) {
		e.addAt(Warning, asked, w.Hint, "%s", w.What)
	}
}

// catalog makes the checks of a start.
func (e *exam) catalog() {
	const table = "autoscaler.plugin_config."
	plan, err := e.Shared.catalog.Survey(e.ctx, hclog.NewNullLogger(), e.api, e.Config, nil)
	if e.unread(err, Fault, "what DigitalOcean offers") {
		return
	}
	e.plan = plan
	for _, u := range plan.Unfit {
		level, hint, what := Note, "", "not available now, and tried when its turn comes"
		if u.Never {
			level, hint, what = Warning, "remove the size or the region from its list", "left out"
		}
		e.add(level, table+"size", hint, "%s is %s: %s", u.Placement, what, u.Why)
	}
	for _, w := range plan.Warnings {
		e.when(w.Key != "", Warning, table+w.Key, w.Hint, "%s", w.What) // else token has it
	}
	e.refused(plan.Fault)
	e.when(plan.Fault == nil, OK, table+"size", "", "Droplets can be created: %s", plan)
}

// image warns of a public image without Docker. What is in a snapshot only a boot shows.
func (e *exam) image() {
	i := e.plan.Images[e.Config.Regions[0]] // a public one is the same in all of them
	e.when(i.Public && e.docker() && !strings.Contains(strings.ToLower(i.Slug+i.Name+e.Config.UserData), "docker"), Warning,
		"autoscaler.plugin_config.image", "doctl compute image list-application --public",
		"image %d (%s) has no Docker, and user_data does not install it: every job would fail", i.ID, i.Name)
}

// staticKey reports whether the group's SSH key outlives the process.
func (s Subject) staticKey() bool {
	return s.valid() && (s.Config.SSHKeyFile != "" || s.Runner.Autoscaler.Connector.KeyPath != "")
}

func (s Subject) generatesKey() bool { return s.valid() && !s.staticKey() }
func (s Subject) hasProject() bool   { return s.Config.ProjectID != "" }

// dialsPrivate reports whether the runner reaches Droplets by their private addresses.
func (s Subject) dialsPrivate() bool {
	return !s.Runner.Autoscaler.Connector.UseExternalAddr || !s.Config.PublicNetworking
}

// usesVPC reports whether it matters in which VPC the Droplets are.
func (s Subject) usesVPC() bool { return s.valid() && (len(s.Config.VPC) > 0 || s.dialsPrivate()) }

func (e *exam) vpc() {
	if !e.usesVPC() {
		return
	}
	vpcs, err := e.api.VPCs(e.ctx)
	if e.unread(err, Warning, "the VPCs") {
		return
	}
	for _, region := range e.Config.Regions {
		i := slices.IndexFunc(vpcs, func(v digitalocean.VPC) bool {
			return v.ID == e.Config.VPC[region] || e.Config.VPC[region] == "" && v.Default && v.RegionSlug == region
		})
		if i < 0 {
			continue // the catalog has it, or it is made with the first Droplet
		}
		own, all := e.ranges(region, vpcs[i])
		// The network, its gateway and its broadcast address are not for Droplets, and no VPC takes more than 10,000.
		room, most := min(1<<(32-own.Bits())-3, 10_000), lower(e.maxInstances(), e.plan.MaxInstances)
		e.when(own.Addr().Is4() && most > room, Warning, "autoscaler.plugin_config.vpc_uuid", fmt.Sprintf("max_instances = %d", room),
			"the VPC of %s, %s, has room for %d Droplets at most, and max_instances is %d", region, own, room, most)
		here := slices.ContainsFunc(all, func(p netip.Prefix) bool { return slices.ContainsFunc(e.Host.Addresses, p.Contains) })
		hint := "run the runner on a Droplet in that VPC"
		if e.Config.PublicNetworking {
			hint = "use_external_addr = true"
		}
		e.when(e.dialsPrivate() && !here, Warning, "autoscaler.connector_config.use_external_addr", hint,
			"no address of this host is in the VPC of %s, %v: unless it is routed, Droplets cannot be reached", region, all)
		if e.Config.PublicNetworking {
			continue
		}
		const key = "autoscaler.plugin_config.public_networking" // without it Droplets need another way out
		gateways, err := e.api.NATGateways(e.ctx)
		e.when(errors.Is(err, instancegroup.ErrForbidden), Note, key, "give the token the scope nat_gateway:read",
			"the token cannot show whether the VPC of %s has a NAT gateway", region)
		out := e.unread(err, Warning, "the NAT gateways") ||
			slices.ContainsFunc(gateways, func(g digitalocean.NATGateway) bool { return digitalocean.DefaultFor(g, vpcs[i].ID) })
		e.when(!out, Warning, key, "doctl compute vpc-nat-gateway create --help; or public_networking = true",
			"no NAT gateway is the default route of the VPC of %s: Droplets may reach neither GitLab nor a registry", region)
	}
}

// ranges are the address ranges of a VPC and its subnets, which may be outside of it, and the one that Droplets are in.
func (e *exam) ranges(region string, vpc digitalocean.VPC) (own netip.Prefix, all []netip.Prefix) {
	own, _ = netip.ParsePrefix(vpc.IPRange) // of what cannot be read nothing is found
	subnets, err := e.api.Subnets(e.ctx, vpc.ID)
	if errors.Is(err, instancegroup.ErrNotFound) { // they are a preview
		err = nil
	}
	id := e.Config.Subnet[region]
	all, found := []netip.Prefix{own}, e.unread(err, Warning, "the subnets of the VPC of "+region) || id == ""
	for _, s := range subnets {
		p, _ := netip.ParsePrefix(s.IPRange)
		all = append(all, p)
		if s.ID == id {
			own, found = p, true
		}
	}
	e.when(!found, Fault, "autoscaler.plugin_config.subnet_uuid",
		`curl -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" `+e.Account.APIURL+"/v2/vpcs/"+vpc.ID+"/subnets",
		"the VPC of %s has no subnet %s", region, id)
	return own, all
}

// leftovers finds Droplets that are billed though nobody manages them: of the group, and of any doctor --boot.
func (e *exam) leftovers() {
	look := func(ctx context.Context) (inventory.Found, error) { return inventory.Look(ctx, e.api, "") }
	there, err := e.Shared.droplets.Get(e.ctx, look)
	if e.unread(err, Warning, "the Droplets") {
		return
	}
	found := map[string]int{}
	for _, d := range there.Owned {
		found[instancegroup.GroupOf(d)]++
	}
	for _, group := range slices.Sorted(maps.Keys(found)) {
		where := "tag " + instancegroup.GroupTag(group)
		boots := strings.HasSuffix(group, config.BootGroup(""))
		here := state.Snapshot{}
		if boots {
			here, _ = state.Peek(e.ctx, e.Account.APIURL, group) // what is unknown may have been killed
		}
		switch {
		case here.Held:
			e.addAt(OK, where, "", "Droplets of a doctor --boot that runs now, as process %d: %d", here.PID, found[group])
		case boots:
			e.addAt(Warning, where, e.RemoveOrphans(group),
				"Droplets of a doctor --boot that was killed, unless it runs on another host: %d", found[group])
		case group == e.Account.Name && e.Host.Holder == "":
			e.addAt(Note, where, e.RemoveOrphans(group), "Droplets that another host manages, or that are billed for nothing: %d", found[group])
		}
	}
}

// needs are the scopes that groups need, and what it costs to be without, as docs/security.md has them
// (TestNeedsAreInTheDocs).
var needs = []struct {
	scopes  []string
	level   Level
	without string
	when    func(Subject) bool // nil = always
}{
	{[]string{"droplet:read", "tag:read"}, Fault, "the plugin does not find its Droplets, and does not start", nil},
	{[]string{"droplet:create", "tag:create"}, Fault, "no Droplet can be made", nil},
	{[]string{"droplet:delete"}, Fault, "no Droplet can be deleted: each is billed until a person does it", nil},
	{[]string{"regions:read", "sizes:read", "image:read"}, Fault, "the plugin does not start, and droplet:create requires it", nil},
	{[]string{"actions:read"}, Warning, "droplet:create requires it", nil},
	{[]string{"ssh_key:create"}, Fault, "the plugin cannot upload its key: it does not start", Subject.generatesKey},
	{[]string{"ssh_key:create"}, Warning, "a key that is not on the account yet cannot be uploaded", Subject.staticKey},
	{[]string{"ssh_key:read"}, Note, "the key is uploaded at every start instead of being looked up", Subject.staticKey},
	{[]string{"ssh_key:delete"}, Warning, "each start leaves its public key on the account", Subject.generatesKey},
	{[]string{"account:read"}, Note, "the account's Droplet limit is not checked, and plugin_config needs max_instances", nil},
	{[]string{"droplet:update", "tag:delete"}, Note, "many Droplets at once are deleted by a request each, or leave a tag", nil},
	{[]string{"vpc:read"}, Warning, "the VPC is not checked", Subject.usesVPC},
	{[]string{"project:assign_resource"}, Warning, "Droplets stay in the default project", Subject.hasProject},
}

// scopes finds the scopes that the token lacks.
func (e *exam) scopes() {
	all, err := e.Shared.scopes.Get(e.ctx, func(ctx context.Context) ([]digitalocean.Scope, error) {
		var names []string
		for _, n := range needs {
			names = append(names, n.scopes...)
		}
		return e.api.Scopes(ctx, slices.Compact(names)...) // ssh_key:create is there twice
	})
	if e.unread(err, Warning, "the token's scopes") {
		return
	}
	before := len(e.found)
	for _, n := range needs {
		for _, s := range all {
			switch {
			case !slices.Contains(n.scopes, s.Name), n.when != nil && !n.when(e.Subject):
			case s.Missing:
				e.addAt(n.level, s.Asked, "give the token the scope "+s.Name, "the token lacks %s: %s", s.Name, n.without)
			case s.Unknown != "":
				e.addAt(Note, s.Asked, "", "it is not known whether the token has %s: %s", s.Name, s.Unknown)
			}
		}
	}
	if len(e.found) == before {
		e.addAt(OK, "scopes", "", "the token has the scopes that this group needs, as far as reads and empty requests show")
	}
}

package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// Shared is what subjects on one account have in common: it is asked for once, by the first that needs it. What failed is not
// asked for again. The zero value has asked nothing. Not for concurrent use.
//
// Invariant: the requests of one more subject do not grow with what is checked of the token, the catalog and the account's
// Droplets. DigitalOcean allows 250 a minute. (TestManyRunners)
type Shared struct {
	catalog catalog.Reader

	scopes   once[[]digitalocean.Scope]
	vpcs     once[[]digitalocean.VPC]
	gateways once[[]digitalocean.NATGateway]
	droplets once[inventory.Found] // of all groups
}

// once is an answer that is asked for once.
type once[T any] struct {
	value T
	err   error
	asked bool
}

func (o *once[T]) get(ask func() (T, error)) (T, error) {
	if !o.asked {
		o.value, o.err = ask()
		o.asked = true
	}
	return o.value, o.err
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

func (e *exam) token(ctx context.Context) {
	account, err := e.Shared.catalog.Account(ctx, e.api)
	if e.unread(err, Fault, "the account") && !errors.Is(err, instancegroup.ErrForbidden) {
		e.unreachable = true
		return
	}
	const asked = "GET /v2/account"
	e.addAt(OK, asked, "", "DigitalOcean accepts the token from %s", e.Account.Token.Source)
	for _, w := range catalog.AccountWarnings(account) {
		e.addAt(Warning, asked, w.Hint, "%s", w.What)
	}
}

// catalog makes the checks of a start.
func (e *exam) catalog(ctx context.Context) {
	const table = "autoscaler.plugin_config."
	plan, err := e.Shared.catalog.Survey(ctx, hclog.NewNullLogger(), e.api, e.Config, nil)
	if e.unread(err, Fault, "what DigitalOcean offers") {
		return
	}
	e.plan = plan
	for _, u := range plan.Unfit {
		if u.Never {
			e.add(Warning, table+"size", "remove the size or the region from its list", "%s is left out: %s", u.Placement, u.Why)
		} else {
			e.add(Note, table+"size", "", "%s is not available now, and is tried when its turn comes: %s", u.Placement, u.Why)
		}
	}
	for _, w := range plan.Warnings {
		if w.Key != "" && w.Key != "max_instances" { // else token or quota has it
			e.add(Warning, table+w.Key, w.Hint, "%s", w.What)
		}
	}
	if joined, ok := plan.Fault.(interface{ Unwrap() []error }); ok { //nolint:errorlint // of this very error
		for _, err := range joined.Unwrap() {
			e.catalogFault(err)
		}
	} else {
		e.add(OK, table+"size", "", "Droplets can be created: %s", plan)
	}
	runner, most := e.Runner.Autoscaler.MaxInstances, plan.MaxInstances
	e.when(most > 0 && runner > most && most != e.Config.MaxInstances, Fault,
		"autoscaler.max_instances", fmt.Sprintf("max_instances = %d", most),
		"max_instances is %d, more than the %d that the plugin allows by %s: the runner refuses to start it", runner, most, plan.LimitedBy)
}

// catalogFault adds a fault of the catalog: its first line, since the placements below it have findings of their own.
func (e *exam) catalogFault(err error) {
	what, _, _ := strings.Cut(err.Error(), "\n")
	key, ours := strings.CutPrefix(what, "plugin_config")
	if !ours {
		e.addAt(Fault, "DigitalOcean", "give the token the scope tag:read", "%s", what)
		return
	}
	key, _, _ = strings.Cut(strings.TrimPrefix(key, "."), ":")
	e.add(Fault, "autoscaler.plugin_config."+key, cmp.Or(remedies[key], seeDocs), "%s", strings.TrimSuffix(what, ":"))
}

// image warns of a public image without Docker. What is in a snapshot only a boot shows.
func (e *exam) image(context.Context) {
	seen := map[int64]bool{}
	for _, region := range e.Config.Regions {
		i, ok := e.plan.Images[region]
		has := strings.Contains(strings.ToLower(i.Slug+i.Name+e.Config.UserData), "docker")
		e.when(ok && i.Public && e.docker() && !has && !seen[i.ID], Warning,
			"autoscaler.plugin_config.image", "doctl compute image list-application --public",
			"image %s (%q) has no Docker, and user_data does not install it: every job would fail", cmp.Or(i.Slug, fmt.Sprint(i.ID)), i.Name)
		seen[i.ID] = true
	}
}

// dialsPrivate reports whether the runner reaches Droplets by their private addresses.
func (s Subject) dialsPrivate() bool {
	return s.valid() && (!s.Runner.Autoscaler.Connector.UseExternalAddr || !s.Config.PublicNetworking)
}

// reachable is a hint at how the runner reaches Droplets without being in their VPC, or gets into it.
func (s Subject) reachable() string {
	if s.Config.PublicNetworking {
		return "use_external_addr = true"
	}
	return "run the runner on a Droplet in that VPC"
}

// usesVPC reports whether it matters in which VPC the Droplets are.
func usesVPC(s Subject) bool { return s.valid() && len(s.Config.VPC) > 0 || s.dialsPrivate() }

func (e *exam) vpc(ctx context.Context) {
	vpcs, err := e.Shared.vpcs.get(func() ([]digitalocean.VPC, error) { return e.api.VPCs(ctx) })
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
		own, all := e.ranges(ctx, region, vpcs[i])
		// The network, its gateway and its broadcast address are not for Droplets, and no VPC takes more than 10,000.
		room, most := min(1<<(32-own.Bits())-3, 10_000), lower(e.maxInstances(), e.plan.MaxInstances)
		e.when(own.Addr().Is4() && most > room, Warning, "autoscaler.plugin_config.vpc_uuid", fmt.Sprintf("max_instances = %d", room),
			"the VPC of %s, %s, has room for %d Droplets at most, and max_instances is %d", region, own, room, most)
		here := slices.ContainsFunc(all, func(p netip.Prefix) bool { return slices.ContainsFunc(e.Host.Addresses, p.Contains) })
		e.when(e.dialsPrivate() && !here, Warning, "autoscaler.connector_config.use_external_addr", e.reachable(),
			"no address of this host is in the VPC of %s, %v: unless it is routed, Droplets cannot be reached", region, all)
		if !e.Config.PublicNetworking {
			e.wayOut(ctx, region, vpcs[i].ID)
		}
	}
}

// ranges are the address ranges of a VPC and its subnets, which may be outside of it, and the one that Droplets are in.
func (e *exam) ranges(ctx context.Context, region string, vpc digitalocean.VPC) (own netip.Prefix, all []netip.Prefix) {
	own, _ = netip.ParsePrefix(vpc.IPRange) // of what cannot be read nothing is found
	all = []netip.Prefix{own}
	id := e.Config.Subnet[region]
	subnets, err := e.api.Subnets(ctx, vpc.ID)
	if errors.Is(err, instancegroup.ErrNotFound) { // they are a preview
		err = nil
	}
	if e.unread(err, Warning, "the subnets of the VPC of "+region) {
		return own, all
	}
	found := id == ""
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

// wayOut finds out whether Droplets without public addresses reach the internet.
func (e *exam) wayOut(ctx context.Context, region, vpc string) {
	const key = "autoscaler.plugin_config.public_networking"
	gateways, err := e.Shared.gateways.get(func() ([]digitalocean.NATGateway, error) { return e.api.NATGateways(ctx) })
	e.when(errors.Is(err, instancegroup.ErrForbidden), Note, key, "give the token the scope nat_gateway:read",
		"the token cannot show whether the VPC of %s has a NAT gateway", region)
	out := e.unread(err, Warning, "the NAT gateways") ||
		slices.ContainsFunc(gateways, func(g digitalocean.NATGateway) bool { return digitalocean.DefaultFor(g, vpc) })
	e.when(!out, Warning, key, "doctl compute vpc-nat-gateway create --help, with the VPC's default gateway; or public_networking = true",
		"no NAT gateway is the default route of the VPC of %s: without another route Droplets reach neither GitLab nor a registry", region)
}

// quota compares the account's limit with what may be asked of it.
func (e *exam) quota(ctx context.Context) {
	u, err := e.api.Usage(ctx, instancegroup.GroupTag(e.Account.Name))
	if e.unread(err, Warning, "the account's limit and its Droplets") || u.Limit == 0 {
		return
	}
	most, free := lower(e.maxInstances(), e.plan.MaxInstances), max(0, u.Limit-u.Others)
	if most <= free {
		return
	}
	level := Warning
	if free == 0 {
		level = Fault
	}
	e.addAt(level, "GET /v2/account",
		"lower max_instances, or ask for more: https://cloud.digitalocean.com/account/team/droplet_limit_increase",
		"the account may have %s, and has %d that are not this group's: there is room for %d, and max_instances is %d",
		plural(u.Limit, "Droplet"), u.Others, free, most)
}

// leftovers finds Droplets that are billed though nobody manages them: of the group, kept ones, and those of its boots.
func (e *exam) leftovers(ctx context.Context) {
	name := e.Account.Name
	tag := "tag " + instancegroup.GroupTag(name)
	there, err := e.Shared.droplets.get(func() (inventory.Found, error) { return inventory.Look(ctx, e.api, "") })
	if e.unread(err, Warning, "the Droplets") {
		return
	}
	if there.Unread != nil {
		e.addAt(Warning, tag, "where GPU Droplets were used, look for them in the console", "not looked for: %v", there.Unread)
	}
	for _, d := range there.Kept {
		if instancegroup.GroupOf(d) == name {
			e.addAt(Note, tag, fmt.Sprintf("when it is not needed any more: doctl compute droplet delete %d", d.ID),
				"Droplet %s (%d) is kept by the tag %s: it is billed, %s USD an hour, and counts for max_instances until a person deletes it",
				d.Name, d.ID, instancegroup.KeepTag, usd(d.PriceHourly))
		}
	}
	n, price, ours := 0, 0.0, true
	boots := map[string]int{}
	for _, d := range there.Owned {
		switch group := instancegroup.GroupOf(d); {
		case group == name:
			n, price = n+1, price+d.PriceHourly
			ours = ours && slices.Contains(e.Host.DeadRuns, instancegroup.RunOf(name, d.Name))
		case isBootOf(name, group):
			boots[group]++
		}
	}
	owned := fmt.Sprintf("%s of the group, %s USD an hour", plural(n, "Droplet"), usd(price))
	switch {
	case n == 0 || e.Host.Holder != "":
	case ours:
		e.addAt(Warning, tag, e.Sweep(name), "%s, and no process manages them: they are billed until the next start takes them over", owned)
	default:
		e.addAt(Note, tag, e.Sweep(name),
			"%s, and no process on this host manages them: another host's may, else they are billed for nothing", owned)
	}
	for group, n := range boots {
		e.addAt(Warning, "tag "+instancegroup.GroupTag(group), e.Sweep(group),
			"%s of a doctor --boot: unless that runs now, it was killed", plural(n, "Droplet"))
	}
}

// Sweep is the command that shows what of a group nobody manages.
func (s Subject) Sweep(group string) string {
	from := ""
	if s.File != nil {
		from = " --config " + s.File.Path
	}
	return "fleeting-plugin-digitalocean sweep" + from + " --group " + group
}

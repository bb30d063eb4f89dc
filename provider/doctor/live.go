package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
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
// Invariant: the requests of one more subject do not grow with what is checked of the token and the catalog. DigitalOcean
// allows 250 a minute. (TestManyRunners)
type Shared struct {
	catalog   catalog.Reader
	inventory inventory.Account

	scopes   once[[]digitalocean.Scope]
	vpcs     once[[]digitalocean.VPC]
	gateways once[[]digitalocean.NATGateway]
	all      once[inventory.Found] // Droplets of all groups
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
func (e *exam) unread(err error, what string) bool {
	if err != nil && !errors.Is(err, instancegroup.ErrForbidden) {
		e.addAt(Warning, askedOf(err), digitalocean.Hint(err), "%s could not be read: %v", what, err)
	}
	return err != nil
}

// askedOf is the request that failed.
func askedOf(err error) string {
	if e, ok := errors.AsType[*instancegroup.CloudError](err); ok {
		return e.Op
	}
	return "DigitalOcean"
}

func (e *exam) token(ctx context.Context) {
	const asked = "GET /v2/account"
	_, err := e.Shared.catalog.Account(ctx, e.api)
	e.unreachable = err != nil && !errors.Is(err, instancegroup.ErrForbidden)
	switch c, _ := errors.AsType[*instancegroup.CloudError](err); {
	case !e.unreachable:
		e.addAt(OK, asked, "", "DigitalOcean accepts the token from %s", e.Account.Token.Source)
	case errors.Is(err, instancegroup.ErrUnauthorized):
		e.addAt(Fault, asked, "make a new token at https://cloud.digitalocean.com/account/api/tokens, and put it there",
			"DigitalOcean refused the token: %v", err)
	case errors.Is(err, instancegroup.ErrRateLimited):
		e.addAt(Fault, asked, digitalocean.Hint(err), "the token's requests are used up, so nothing more was asked: %v", err)
	case c != nil && c.Status != 0:
		e.addAt(Fault, asked, digitalocean.Hint(err), "%s does not answer as it should: %v", e.Account.APIURL, err)
	default:
		e.addAt(Fault, asked, "look at HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and api_url",
			"%s cannot be reached from here: %v", e.Account.APIURL, err)
	}
}

func (e *exam) account(ctx context.Context) {
	account, _ := e.Shared.catalog.Account(ctx, e.api) // without the scope nothing is known
	for _, w := range catalog.AccountWarnings(account) {
		e.addAt(Warning, "GET /v2/account", w.Hint, "%s", w.What)
	}
}

// remedies help with a key, where its fault has no hint.
var remedies = map[string]string{"size": "doctl compute size list", "region": "doctl compute region list",
	"image": "doctl compute image list --public", "vpc_uuid": "doctl vpcs list", "ssh_keys": "doctl compute ssh-key list",
	"ipv6": "ipv6 = false", "monitoring": "monitoring = false"}

// catalog makes the checks of a start.
func (e *exam) catalog(ctx context.Context) {
	const table = "autoscaler.plugin_config."
	plan, err := e.Shared.catalog.Survey(ctx, hclog.NewNullLogger(), e.api, e.Config, nil)
	if err != nil {
		e.addAt(Fault, askedOf(err), digitalocean.Hint(err), "what DigitalOcean offers could not be read: %v", err)
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
	for _, at := range plan.Placements {
		if size, listed := plan.Sizes[at.Size]; listed && plan.Fault == nil && !unfit(plan, at) {
			e.add(OK, table+"size", "", "%s: %s USD an hour, %d GiB disk", at, usd(size.PriceHourly), size.Disk)
		}
	}
	for _, w := range plan.Warnings {
		if w.Key != "" && w.Key != "max_instances" { // else the account or the quota has it
			e.add(Warning, table+w.Key, w.Hint, "%s", w.What)
		}
	}
	if joined, ok := plan.Fault.(interface{ Unwrap() []error }); ok { //nolint:errorlint // of this very error
		for _, err := range joined.Unwrap() {
			e.catalogFault(err)
		}
	}
	if runner, most := e.Runner.Autoscaler.MaxInstances, plan.MaxInstances; most > 0 && runner > most && most != e.Config.MaxInstances {
		e.add(Fault, "autoscaler.max_instances", fmt.Sprintf("max_instances = %d", most),
			"max_instances is %d, more than the %d that the plugin allows by %s: the runner refuses to start it", runner, most, plan.LimitedBy)
	}
}

// catalogFault adds a fault of the catalog: its first line, and as hints those that propose something.
func (e *exam) catalogFault(err error) {
	what, rest, _ := strings.Cut(err.Error(), "\n")
	key, ours := strings.CutPrefix(what, "plugin_config")
	if !ours {
		e.addAt(Fault, "DigitalOcean", "give the token the scope tag:read", "%s", what)
		return
	}
	key, _, _ = strings.Cut(strings.TrimPrefix(key, "."), ":")
	var hints []string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "  ") { // a placement, which has a finding of its own
			hints = append(hints, strings.TrimSpace(line))
		}
	}
	if size := e.plan.Dearest; size != nil && key == "max_hourly_cost" {
		hints = []string{fmt.Sprintf("max_hourly_cost = %.2f", math.Ceil(size.PriceHourly*100)/100)}
	}
	e.add(Fault, "autoscaler.plugin_config."+key, cmp.Or(strings.Join(hints, "\n"), remedies[key], seeDocs), "%s", strings.TrimSuffix(what, ":"))
}

func unfit(p catalog.Plan, at instancegroup.Placement) bool {
	return slices.ContainsFunc(p.Unfit, func(u catalog.Unfit) bool { return u.Placement == at })
}

// image finds out whether Docker is in what Droplets boot.
func (e *exam) image(context.Context) {
	seen := map[int64]bool{}
	for _, region := range e.Config.Regions {
		i, ok := e.plan.Images[region]
		if !ok || seen[i.ID] || !e.docker() {
			continue
		}
		seen[i.ID] = true
		const key = "autoscaler.plugin_config.image"
		name := fmt.Sprintf("image %s (%q)", cmp.Or(i.Slug, fmt.Sprint(i.ID)), i.Name)
		mentions := func(s string) bool { return strings.Contains(strings.ToLower(s), "docker") }
		switch {
		case mentions(i.Slug), mentions(i.Name):
			e.add(OK, key, "", "%s has Docker, by its name", name)
		case mentions(e.Config.UserData):
			e.add(OK, key, "", "%s gets Docker from user_data, as far as can be known", name)
		case i.Public:
			e.add(Warning, key, "doctl compute image list-application --public",
				"%s has no Docker, and user_data does not install it: every job would fail", name)
		case mentions(e.Runner.Autoscaler.InstanceReadyCommand):
			e.add(OK, key, "", "%s is your own: instance_ready_command will show whether it has Docker", name)
		default:
			e.add(Note, key, `instance_ready_command = "docker info"`, "%s is your own: nothing shows whether it has Docker", name)
		}
	}
}

// dialsPrivate reports whether the runner reaches Droplets by their private addresses.
func (s Subject) dialsPrivate() bool {
	return s.valid() && (!s.Runner.Autoscaler.Connector.UseExternalAddr || !s.Config.PublicNetworking)
}

// usesVPC reports whether it matters in which VPC the Droplets are.
func usesVPC(s Subject) bool { return s.valid() && len(s.Config.VPC) > 0 || s.dialsPrivate() }

func (e *exam) vpc(ctx context.Context) {
	vpcs, err := e.Shared.vpcs.get(func() ([]digitalocean.VPC, error) { return e.api.VPCs(ctx) })
	if e.unread(err, "the VPCs") {
		return
	}
	for _, region := range e.Config.Regions {
		i := slices.IndexFunc(vpcs, func(v digitalocean.VPC) bool {
			return v.ID == e.Config.VPC[region] || e.Config.VPC[region] == "" && v.Default && v.Region == region
		})
		if i < 0 {
			continue // the catalog has it, or it is made with the first Droplet
		}
		network, err := netip.ParsePrefix(vpcs[i].IPRange)
		if err != nil {
			continue
		}
		subnets := e.subnets(ctx, region, vpcs[i].ID)
		if own, ok := subnets[e.Config.Subnet[region]]; ok {
			network = own
		}
		// The network, its gateway and its broadcast address are not for Droplets, and no VPC takes more than 10,000.
		room := min(1<<(32-network.Bits())-3, 10_000)
		e.when(network.Addr().Is4() && e.most() > room, Warning, "autoscaler.plugin_config.vpc_uuid", fmt.Sprintf("max_instances = %d", room),
			"the VPC of %s, %s, has room for %d Droplets at most, and max_instances is %d", region, network, room, e.most())
		if e.dialsPrivate() {
			e.hostIn(region, append(slices.Collect(maps.Values(subnets)), network))
		}
		if !e.Config.PublicNetworking {
			e.wayOut(ctx, region, vpcs[i].ID)
		}
	}
}

// subnets reads a VPC's subnets, whose addresses may be outside of the VPC's range, where they matter.
func (e *exam) subnets(ctx context.Context, region, vpc string) map[string]netip.Prefix {
	id := e.Config.Subnet[region]
	if id == "" && !e.dialsPrivate() {
		return nil
	}
	all, err := e.api.Subnets(ctx, vpc)
	if err != nil {
		if !errors.Is(err, instancegroup.ErrNotFound) { // else there are none: they are a preview
			e.unread(err, "the subnets of the VPC of "+region)
		}
		return nil
	}
	byID := map[string]netip.Prefix{}
	for _, s := range all {
		if p, err := netip.ParsePrefix(s.IPRange); err == nil {
			byID[s.ID] = p
		}
	}
	_, ok := byID[id]
	list := `curl -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" ` + e.Account.APIURL + "/v2/vpcs/" + vpc + "/subnets"
	e.when(id != "" && !ok, Fault, "autoscaler.plugin_config.subnet_uuid", list,
		"the VPC of %s has no subnet %s", region, id)
	return byID
}

// hostIn finds out whether this host can reach private addresses: whether it is in one of the networks.
func (e *exam) hostIn(region string, networks []netip.Prefix) {
	const key = "autoscaler.connector_config.use_external_addr"
	for _, p := range networks {
		if slices.ContainsFunc(e.Host.Addresses, p.Contains) {
			e.add(OK, key, "", "this host is in the VPC of %s, %s", region, p)
			return
		}
	}
	hint := "run the runner on a Droplet in that VPC"
	if e.Config.PublicNetworking {
		hint = "use_external_addr = true"
	}
	e.add(Warning, key, hint,
		"no address of this host is in the VPC of %s, %v: unless it is routed, Droplets cannot be reached", region, networks)
}

// wayOut finds out whether Droplets without public addresses reach the internet.
func (e *exam) wayOut(ctx context.Context, region, vpc string) {
	const key = "autoscaler.plugin_config.public_networking"
	gateways, err := e.Shared.gateways.get(func() ([]digitalocean.NATGateway, error) { return e.api.NATGateways(ctx) })
	switch {
	case errors.Is(err, instancegroup.ErrForbidden):
		e.add(Note, key, "give the token the scope nat_gateway:read", "the token cannot show whether the VPC of %s has a NAT gateway", region)
	case e.unread(err, "the NAT gateways"):
	case slices.ContainsFunc(gateways, func(g digitalocean.NATGateway) bool { return g.DefaultFor(vpc) }):
		e.add(OK, key, "", "a NAT gateway is the default route of the VPC of %s", region)
	default:
		e.add(Warning, key, "doctl compute vpc-nat-gateway create --help, with the VPC's default gateway; or public_networking = true",
			"no NAT gateway is the default route of the VPC of %s: unless there is another route, Droplets reach neither GitLab nor a registry",
			region)
	}
}

// quota compares the account's limit with what may be asked of it.
func (e *exam) quota(ctx context.Context) {
	u, err := e.api.Usage(ctx, instancegroup.GroupTag(e.Account.Name))
	if e.unread(err, "the account's limit and its Droplets") || u.Limit == 0 {
		return
	}
	most, free := e.most(), max(0, u.Limit-u.Others)
	room := fmt.Sprintf("the account may have %s, and has %d that are not this group's", plural(u.Limit, "Droplet"), u.Others)
	const higher = "ask DigitalOcean for a higher limit: https://cloud.digitalocean.com/account/team/droplet_limit_increase"
	switch {
	case most > free && free == 0:
		e.addAt(Fault, "GET /v2/account", "delete some, or "+higher, "%s: there is room for none of this group", room)
	case most > free:
		e.addAt(Warning, "GET /v2/account", fmt.Sprintf("max_instances = %d, or %s", free, higher),
			"%s: there is room for %d, and max_instances is %d", room, free, most)
	default:
		e.addAt(OK, "GET /v2/account", "", "%s", room)
	}
}

// leftovers finds what of the group is on the account.
func (e *exam) leftovers(ctx context.Context) {
	name := e.Account.Name
	asked := "tag " + instancegroup.GroupTag(name)
	there, err := inventory.Look(ctx, e.api, name)
	if err != nil {
		e.addAt(Warning, asked, digitalocean.Hint(err), "the group's Droplets could not be listed: %v", err)
		return
	}
	if there.Unread != nil {
		e.addAt(Warning, asked, "where GPU Droplets were used, look for them in the console", "not looked for: %v", there.Unread)
	}
	for _, d := range there.Kept {
		e.addAt(Note, asked, fmt.Sprintf("when it is not needed any more: doctl compute droplet delete %d", d.ID),
			"Droplet %s (%d) is kept by the tag %s: it is billed, %s USD an hour, and counts for max_instances until a person deletes it",
			d.Name, d.ID, instancegroup.KeepTag, usd(d.PriceHourly))
	}
	for _, d := range there.Strangers {
		e.addAt(Warning, asked, fmt.Sprintf("doctl compute droplet untag %d --tag-name %s", d.ID, instancegroup.GroupTag(name)),
			"Droplet %s (%d) has the group's tag but does not belong to the group, by its name or its other tags: "+
				"nobody manages it, and it costs %s USD an hour", d.Name, d.ID, usd(d.PriceHourly))
	}
	sum := 0.0
	for _, d := range there.Owned {
		sum += d.PriceHourly
	}
	owned := fmt.Sprintf("%s of the group, %s USD an hour", plural(len(there.Owned), "Droplet"), usd(sum))
	if e.Host.Holder != "" {
		e.addAt(OK, asked, "", "%s: process %s manages them", owned, e.Host.Holder)
	} else {
		e.unmanaged(ctx, asked, owned)
	}
	boots := map[string]int{}
	all, _ := e.Shared.all.get(func() (inventory.Found, error) { return inventory.Look(ctx, e.api, "") }) // as above
	for _, d := range all.Owned {
		if group := instancegroup.GroupOf(d); isBootOf(name, group) {
			boots[group]++
		}
	}
	for group, n := range boots {
		e.addAt(Warning, "tag "+instancegroup.GroupTag(group), e.Sweep(group),
			"%s of a doctor --boot: unless that runs now, it was killed", plural(n, "Droplet"))
	}
}

// Sweep is the command that shows what of a group nobody manages.
func (s Subject) Sweep(group string) string {
	from := ""
	switch {
	case s.File != nil:
		from = " --config " + s.File.Path
	case s.Account.Token.File != "":
		from = " --token-file " + s.Account.Token.File
	}
	return "fleeting-plugin-digitalocean sweep" + from + " --group " + group
}

// unmanaged finds what a group has that no process of this host manages. owned is its Droplets in words.
func (e *exam) unmanaged(ctx context.Context, asked, owned string) {
	l, err := e.Shared.inventory.Find(ctx, e.api, e.Account.Name, e.Host.DeadRuns)
	if e.unread(err, "the group's leftovers") {
		return
	}
	sweep := e.Sweep(e.Account.Name)
	switch {
	case l.Count(inventory.DropletKind) > 0 && l.Doubtful():
		e.addAt(Note, asked, sweep, "%s, and no process on this host manages them: another host's may, else they are billed for nothing", owned)
	case l.Count(inventory.DropletKind) > 0:
		e.addAt(Warning, asked, sweep, "%s, and no process manages them: they are billed until the next start takes them over", owned)
	case len(l.All) > 0:
		e.addAt(Note, asked, sweep, "%s and %s of earlier plugin processes: the next start removes them from the account",
			plural(l.Count(inventory.KeyKind), "SSH key"), plural(l.Count(inventory.TagKind), "tag"))
	default:
		e.addAt(OK, asked, "", "no Droplet is left over")
	}
	for _, err := range l.Unread {
		e.unread(err, "a list of leftovers")
	}
}

func (e *exam) requests(context.Context) { e.budget(e.api.Budget()) }

func (e *exam) budget(b instancegroup.Budget) {
	if b.Remaining < b.Limit/10 {
		e.addAt(Warning, "ratelimit-remaining", "give the group a token of its own",
			"%d of the token's %d requests of this hour are left: programs that share the token use them up", b.Remaining, b.Limit)
	}
}

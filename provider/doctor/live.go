package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// ask makes every check that asks DigitalOcean.
func (e *exam) ask(ctx context.Context, api *digitalocean.Client) {
	if !e.token(ctx, api) {
		return
	}
	if err := e.scopes(ctx, api); err != nil {
		e.at(Warning, "scopes", digitalocean.Hint(err), "could not be told: %v", err)
	}
	if e.valid() {
		if e.placements(ctx, api) {
			e.image(ctx, api)
		}
		e.limits()
		e.vpc(ctx, api)
		e.keys(ctx, api)
	}
	if e.Account.Name != "" {
		e.quota(ctx, api)
		e.leftovers(ctx, api)
	}
	e.requests(api.Budget())
}

// token reports whether there is any use in asking more.
func (e *exam) token(ctx context.Context, api *digitalocean.Client) bool {
	e.check = "token"
	const asked = "GET /v2/account"
	account, err := e.Shared.catalog.Account(ctx, api)
	switch c, _ := errors.AsType[*instancegroup.CloudError](err); {
	case err == nil, errors.Is(err, instancegroup.ErrForbidden):
		e.at(Good, asked, "", "DigitalOcean accepts the token from %s", e.Account.Token.Source)
		e.check = "account"
		for _, w := range catalog.AccountWarnings(account) {
			e.at(Warning, asked, w.Hint, "%s", w.What)
		}
		return true
	case errors.Is(err, instancegroup.ErrUnauthorized):
		e.at(Fault, asked, "make a new token in DigitalOcean's console (API, Generate New Token), and put it there",
			"DigitalOcean refused the token from %s: %v", e.Account.Token.Source, err)
	case errors.Is(err, instancegroup.ErrRateLimited):
		e.at(Fault, asked, digitalocean.Hint(err), "the token's requests are spent, so nothing more was asked: %v", err)
	case c != nil && c.Status != 0:
		e.at(Fault, asked, digitalocean.Hint(err), "%s does not answer as it should: %v", e.Account.APIURL, err)
	default:
		e.at(Fault, asked, "look at HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and api_url", "%s cannot be reached from here: %v", e.Account.APIURL, err)
	}
	return false
}

// checkOf says which check a fault of the catalog belongs to, by its key.
var checkOf = map[string]string{"image": "image", "image_tag": "image", "ipv6": "image", "monitoring": "image", "vpc_uuid": "vpc", "ssh_keys": "ssh-key",
	"max_instances": "max-instances", "max_hourly_cost": "cost"}

// remedies are what helps with a key, where its fault does not say better.
var remedies = map[string]string{"size": "doctl compute size list", "region": "doctl compute region list", "ssh_keys": "doctl compute ssh-key list",
	"vpc_uuid": "doctl vpcs list", "image": "doctl compute image list", "ipv6": "ipv6 = false", "monitoring": "monitoring = false"}

// placements checks every size in every region, and whatever else the catalog finds. It
// returns false if that is not known.
func (e *exam) placements(ctx context.Context, api *digitalocean.Client) bool {
	e.check = "placements"
	var err error
	if e.plan, err = e.Shared.catalog.Survey(ctx, hclog.NewNullLogger(), api, e.Config, nil); err != nil {
		e.at(Fault, askedOf(err), digitalocean.Hint(err), "what it offers could not be read: %v", err)
		return false
	}
	unfit := map[instancegroup.Placement]catalog.Unfit{}
	for _, u := range e.plan.Unfit {
		unfit[u.Placement] = u
	}
	for _, size := range e.Config.Sizes {
		for _, region := range e.Config.Regions {
			at := instancegroup.Placement{Size: size, Region: region}
			s, known := e.plan.Sizes[size]
			switch u, bad := unfit[at]; {
			case bad && u.Never:
				e.say(Warning, "autoscaler.plugin_config.size", "take the size, or the region, out of the list", "%s is left out: %s", at, u.Why)
			case bad:
				e.say(Note, "autoscaler.plugin_config.size", "", "%s cannot be had now, and is tried at its turn: %s", at, u.Why)
			case known && (e.plan.Fault == nil || len(e.plan.Unfit) > 0):
				e.say(Good, "autoscaler.plugin_config.size", "", "%s: %s USD an hour, %d GiB disk", at, usd(s.PriceHourly), s.Disk)
			}
		}
	}
	for _, w := range e.plan.Warnings {
		if w.Key == "" || w.Key == "max_instances" {
			continue // told by the account and by the quota
		}
		e.check = cmp.Or(checkOf[w.Key], "placements")
		e.say(Warning, "autoscaler.plugin_config."+w.Key, w.Hint, "%s", w.What)
	}
	for _, fault := range faults(e.plan.Fault) {
		e.fault(fault)
	}
	return !e.plan.Unread
}

// fault tells of a fault of the catalog.
func (e *exam) fault(err error) {
	what, hint, _ := strings.Cut(err.Error(), "\n")
	if !strings.HasPrefix(what, "plugin_config") {
		const lacking = "give the token the scope tag:read"
		if e.check = "scopes"; !slices.ContainsFunc(e.found, func(f Finding) bool { return f.Hint == lacking }) {
			e.at(Fault, "GET /v2/tags/{tag}", lacking, "%s", what)
		}
		return
	}
	key, _, _ := strings.Cut(strings.TrimPrefix(what, "plugin_config."), ":")
	// The placements follow, which have been told, and then what could be had.
	var hints []string
	for line := range strings.Lines(hint) {
		if !strings.HasPrefix(line, "  ") {
			hints = append(hints, strings.TrimSpace(line))
		}
	}
	if d := e.plan.Dearest; d != nil && key == "max_hourly_cost" {
		hints = []string{fmt.Sprintf("max_hourly_cost = %.2f", math.Ceil(d.PriceHourly*100)/100)}
	}
	e.check = cmp.Or(checkOf[key], "placements")
	e.say(Fault, "autoscaler.plugin_config."+key, cmp.Or(strings.Join(hints, "\n"), remedies[key], documented), "%s", strings.TrimSuffix(what, ":"))
}

// faults takes joined errors apart.
func faults(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // of this very error
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, faults(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// image says what is booted, and whether Docker is in it.
func (e *exam) image(ctx context.Context, api *digitalocean.Client) {
	e.check = "image"
	const key = "autoscaler.plugin_config.image"
	seen := map[int64]bool{}
	for _, region := range e.Config.Regions {
		i, ok := e.plan.Images[region]
		if !ok || seen[i.ID] {
			continue
		}
		seen[i.ID] = true
		name := fmt.Sprintf("image %s (%s)", cmp.Or(i.Slug, fmt.Sprint(i.ID)), i.Name)
		mentions := func(s string) bool { return strings.Contains(strings.ToLower(s), "docker") }
		switch {
		case !e.docker():
			e.say(Good, key, "", "%s is there", name)
		case mentions(i.Slug), mentions(i.Name):
			e.say(Good, key, "", "%s has Docker, by its name", name)
		case mentions(e.Config.UserData):
			e.say(Good, key, "", "%s gets Docker from user_data, as far as can be told", name)
		case i.Public:
			e.say(Warning, key, e.dockerImage(ctx, api), "%s has no Docker, and user_data does not install it: every job would fail", name)
		case mentions(e.Runner.Autoscaler.InstanceReadyCommand):
			e.say(Good, key, "", "%s is your own: the ready command will report whether it has Docker", name)
		default:
			e.say(Note, key, `instance_ready_command = "docker info"`, "%s is your own: nothing reports whether it has Docker", name)
		}
	}
}

// dockerImage proposes DigitalOcean's own, whose slug changes with the system in it.
func (e *exam) dockerImage(ctx context.Context, api *digitalocean.Client) string {
	slugs, err := api.PublicSlugs(ctx)
	if err != nil {
		return ""
	}
	for _, slug := range slices.Backward(slices.Sorted(slices.Values(slugs))) {
		if strings.HasPrefix(slug, "docker-") {
			return fmt.Sprintf("image = %q", slug)
		}
	}
	return ""
}

// limits compares the runner's max_instances with what the plugin's Init will allow.
func (e *exam) limits() {
	e.check = "max-instances"
	e.maxSize = e.plan.MaxInstances
	most, runner := e.plan.MaxInstances, e.Runner.Autoscaler.MaxInstances
	if told := e.Config.MaxInstances > 0 && runner > e.Config.MaxInstances; most > 0 && runner > most && !told {
		why := "the account's Droplet limit"
		if e.plan.LimitedBy == "max_hourly_cost" {
			why = "max_hourly_cost"
		}
		e.say(Fault, "autoscaler.max_instances", fmt.Sprintf("max_instances = %d", most),
			"max_instances is %d, more than the %d that the plugin allows by %s: the runner refuses to start it", runner, most, why)
	}
}

// vpc finds out whether this host can reach private addresses.
func (e *exam) vpc(ctx context.Context, api *digitalocean.Client) {
	e.check = "vpc"
	if !e.dialsPrivate() {
		return
	}
	vpcs, err := e.Shared.networks(ctx, api)
	if errors.Is(err, instancegroup.ErrForbidden) {
		return // told by the scopes
	}
	if err != nil {
		e.at(Warning, "GET /v2/vpcs", digitalocean.Hint(err), "the VPCs could not be read: %v", err)
		return
	}
	for _, region := range e.Config.Regions {
		i := slices.IndexFunc(vpcs, func(v digitalocean.VPC) bool {
			return v.ID == e.Config.VPC[region] || e.Config.VPC[region] == "" && v.Default && v.Region == region
		})
		if i < 0 {
			continue // told by placements, or made with the first Droplet
		}
		network, err := netip.ParsePrefix(vpcs[i].IPRange)
		if err != nil {
			continue
		}
		const key = "autoscaler.connector_config.use_external_addr"
		if slices.ContainsFunc(e.Host.Addresses, network.Contains) {
			e.say(Good, key, "", "this host is in the VPC of %s, %s", region, network)
			continue
		}
		hint := "run the runner on a Droplet in that VPC"
		if e.Config.PublicNetworking {
			hint += ", or set use_external_addr = true"
		}
		e.say(Warning, key, hint, "no address of this host is in the VPC of %s, %s: unless it is routed, Droplets cannot be dialed", region, network)
	}
}

// BootGroup is the group of the Droplet that doctor --boot makes for a group.
func BootGroup(name string) string { return config.BootGroup(name) }

// usd writes a price as it is.
func usd(price float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.5f", price), "0"), ".")
}

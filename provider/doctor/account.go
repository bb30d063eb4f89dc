package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// keys looks the static keys up. Those in ssh_keys are Survey's.
func (e *exam) keys(ctx context.Context, api *digitalocean.Client) {
	e.check = "ssh-key"
	for _, k := range e.Host.Keys {
		if k.Fingerprint == "" {
			continue
		}
		switch err := api.HasKey(ctx, k.Fingerprint); {
		case err == nil:
			e.say(Good, k.Key, "", "the account has the key of %s, %s", lastPart(k.Key), k.Fingerprint)
		case errors.Is(err, instancegroup.ErrNotFound):
			e.say(Good, k.Key, "", "the account does not have the key of %s yet: the next start uploads it", lastPart(k.Key))
		case !errors.Is(err, instancegroup.ErrForbidden):
			e.say(Warning, k.Key, digitalocean.Hint(err), "the key could not be looked up: %v", err)
		}
	}
}

// quota compares the account's limit with what may be asked of it.
func (e *exam) quota(ctx context.Context, api *digitalocean.Client) {
	e.check = "quota"
	u, err := api.Usage(ctx, instancegroup.GroupTag(e.Account.Name))
	if errors.Is(err, instancegroup.ErrForbidden) || err == nil && u.Limit == 0 {
		return // told by the scopes
	}
	if err != nil {
		e.at(Warning, askedOf(err), digitalocean.Hint(err), "the account's limit, and what it has of it, could not be read: %v", err)
		return
	}
	most, free := e.most(), max(0, u.Limit-u.Others)
	said := fmt.Sprintf("the account may have %s, and has %d that are not this group's", plural(u.Limit, "Droplet"), u.Others)
	switch {
	case most > free && free == 0:
		e.at(Fault, "GET /v2/account", "destroy some, or ask DigitalOcean for a higher limit (Settings, Team)", "%s: there is room for none of this group", said)
	case most > free:
		e.at(Warning, "GET /v2/account", fmt.Sprintf("max_instances = %d, or ask DigitalOcean for a higher limit (Settings, Team)", free),
			"%s: there is room for %d, and max_instances is %d", said, free, most)
	default:
		e.at(Good, "GET /v2/account", "", "%s", said)
	}
}

// askedOf is the request that failed.
func askedOf(err error) string {
	if e, ok := errors.AsType[*instancegroup.CloudError](err); ok {
		return e.Op
	}
	return "DigitalOcean"
}

// leftovers tells what of the group is on the account.
func (e *exam) leftovers(ctx context.Context, api *digitalocean.Client) {
	e.check = "leftovers"
	name := e.Account.Name
	asked := "tag " + instancegroup.GroupTag(name)
	there, err := inventory.Look(ctx, api, name)
	if err = cmp.Or(err, there.Unread); err != nil {
		e.at(Warning, asked, digitalocean.Hint(err), "the group's Droplets could not be listed: %v", err)
		return
	}
	for _, d := range there.Kept {
		e.at(Note, asked, fmt.Sprintf("when it is not needed any more: doctl compute droplet delete %d", d.ID),
			"Droplet %s (%d) is kept by the tag %s: it is billed, %s USD an hour, and counts for max_instances until a person deletes it",
			d.Name, d.ID, instancegroup.KeepTag, usd(d.PriceHourly))
	}
	for _, d := range there.Strangers {
		e.at(Warning, asked, fmt.Sprintf("doctl compute droplet untag %d --tag-name %s", d.ID, instancegroup.GroupTag(name)),
			"Droplet %s (%d) carries the group's tag but is not of the group, by its name or its other tags: nobody manages it, and it costs %s USD an hour",
			d.Name, d.ID, usd(d.PriceHourly))
	}
	sum := 0.0
	for _, d := range there.Owned {
		sum += d.PriceHourly
	}
	owned := fmt.Sprintf("%s of the group, %s USD an hour", plural(len(there.Owned), "Droplet"), usd(sum))
	sweep := e.Sweep(name)
	switch {
	case e.Host.Holder != "":
		e.at(Good, asked, "", "%s: process %s looks after them", owned, e.Host.Holder)
	default:
		e.unmanaged(ctx, api, owned, sweep)
	}
	if test := BootGroup(name); test != name {
		left := e.Shared.boots(ctx, api, test)
		switch asked, n := "tag "+instancegroup.GroupTag(test), plural(len(left), "Droplet"); {
		case len(left) == 0:
		case e.Host.Booting != "":
			e.at(Note, asked, "", "%s of a doctor --boot, which is at work: process %s", n, e.Host.Booting)
		default:
			e.at(Warning, asked, e.Sweep(test)+" --delete",
				"%s of a doctor --boot: if none runs now on another host, it was killed", n)
		}
	}
}

// Sweep is the command that shows what of a group nobody looks after.
func (s Subject) Sweep(group string) string {
	return "fleeting-plugin-digitalocean sweep" + s.from() + " --group " + group
}

// from is the flag that says where a command finds the account.
func (s Subject) from() string {
	switch {
	case s.File != nil:
		return " --config " + s.File.Path
	case s.Account.Token.File != "":
		return " --token-file " + s.Account.Token.File
	}
	return ""
}

// unmanaged tells what a group has that no process of this host manages.
func (e *exam) unmanaged(ctx context.Context, api *digitalocean.Client, there, sweep string) {
	asked := "tag " + instancegroup.GroupTag(e.Account.Name)
	l, err := e.Shared.inventory.Find(ctx, api, e.Account.Name, e.Host.DeadRuns)
	switch {
	case errors.Is(err, instancegroup.ErrForbidden):
		return // told by the scopes
	case err != nil:
		e.at(Warning, asked, digitalocean.Hint(err), "the group's leftovers could not be looked for: %v", err)
		return
	}
	switch {
	case len(l.Droplets) > 0 && l.Doubtful():
		e.at(Note, asked, sweep, "%s, and no process on this host manages them: another host's may, else they are billed for nothing", there)
	case len(l.Droplets) > 0:
		e.at(Warning, asked, sweep, "%s, and no process manages them: they are billed until the next start takes them over", there)
	case len(l.Keys)+len(l.Tags) > 0:
		e.at(Note, asked, sweep, "%s and %s of earlier plugin processes: the next start takes them off the account", plural(len(l.Keys), "SSH key"), plural(len(l.Tags), "tag"))
	case len(l.Unread) > 0:
		e.at(Good, asked, "", "no Droplet is left over")
	default:
		e.at(Good, asked, "", "nothing is left over")
	}
	for _, err := range l.Unread {
		switch {
		case errors.Is(err, instancegroup.ErrForbidden): // told by the scopes
		case errors.Is(err, instancegroup.ErrRateLimited):
			e.at(Note, asked, "ask again in a minute", "leftovers were not looked for among the %v", err)
		default:
			e.at(Warning, asked, digitalocean.Hint(err), "leftovers were not looked for among the %v", err)
		}
	}
}

// requests tells what is left of the token's hour.
func (e *exam) requests(b instancegroup.Budget) {
	e.check = "requests"
	switch said := fmt.Sprintf("%d of the token's %d requests of this hour are left", b.Remaining, b.Limit); {
	case b.Limit == 0:
	case b.Remaining < b.Limit/10:
		e.at(Warning, "ratelimit-remaining", "give the group a token of its own", "%s: programs that share the token spend it", said)
	case b.Remaining < b.Limit/2:
		e.at(Note, "ratelimit-remaining", "", "%s", said)
	default:
		e.at(Good, "ratelimit-remaining", "", "%s", said)
	}
}

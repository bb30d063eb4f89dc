package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	if errors.Is(err, instancegroup.ErrForbidden) {
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
	owned, strangers, err := inventory.Droplets(ctx, api, name)
	if err != nil {
		e.at(Warning, asked, digitalocean.Hint(err), "the group's Droplets could not be listed: %v", err)
		return
	}
	e.adrift(ctx, api)
	for _, d := range strangers {
		e.at(Warning, asked, fmt.Sprintf("doctl compute droplet untag %d --tag-name %s", d.ID, instancegroup.GroupTag(name)),
			"Droplet %s (%d) carries the group's tag but is not of the group, by its name or its other tags: nobody manages it, and it costs %s USD an hour",
			d.Name, d.ID, usd(d.PriceHourly))
	}
	sum := 0.0
	for _, d := range owned {
		sum += d.PriceHourly
	}
	there := fmt.Sprintf("%s of the group, %s USD an hour", plural(len(owned), "Droplet"), usd(sum))
	sweep := e.Sweep(name)
	switch {
	case e.Host.Holder != "":
		e.at(Good, asked, "", "%s: process %s looks after them", there, e.Host.Holder)
	default:
		e.unmanaged(ctx, api, there, sweep)
	}
	if test := BootGroup(name); test != name {
		left, err := e.Shared.inventory.Owned(ctx, api, test)
		if err != nil { // as by a token that is not shown tags
			left, _, err = inventory.Droplets(ctx, api, test)
		}
		switch asked, n := "tag "+instancegroup.GroupTag(test), plural(len(left), "Droplet"); {
		case err != nil || len(left) == 0:
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

// adrift tells what the group made that has lost its tag.
func (e *exam) adrift(ctx context.Context, api *digitalocean.Client) {
	tag := instancegroup.GroupTag(e.Account.Name)
	found, err := e.Shared.inventory.Adrift(ctx, api, e.Account.Name, e.Host.LetGo)
	if err != nil && e.Host.Holder != "" && !errors.Is(err, instancegroup.ErrForbidden) { // else it is told elsewhere
		e.at(Warning, "tag "+tag, digitalocean.Hint(err), "not looked for: %v", err)
	}
	for _, d := range found {
		mark, what, hint := Warning, d.Doubt, fmt.Sprintf("fleeting-plugin-digitalocean rm%s --group %s %s", e.from(), e.Account.Name, d.Name)
		switch {
		case d.Doubt != "":
			mark = Note
		case e.Host.Holder != "":
			what, hint = fmt.Sprintf("it has lost the group's tag, which process %s puts back if it may", e.Host.Holder), "look again in a minute; else the runner's log tells why it may not"
		case slices.Contains(e.Host.DeadRuns, instancegroup.RunOf(d.Droplet)):
			what = "it has lost the group's tag, which somebody deleted; the next start takes it over"
		default:
			what = "it has lost the group's tag, which somebody deleted, so that no start on this host takes it over"
		}
		e.at(mark, "tag "+tag, hint, "Droplet %s (%d), %s USD an hour: %s", d.Name, d.ID, usd(d.PriceHourly), what)
	}
}

// unmanaged tells what a group has that no process of this host manages.
func (e *exam) unmanaged(ctx context.Context, api *digitalocean.Client, there, sweep string) {
	asked := "tag " + instancegroup.GroupTag(e.Account.Name)
	l, err := e.Shared.inventory.Find(ctx, api, e.Account.Name, e.Host.DeadRuns, e.Host.LetGo)
	adrift := map[string]bool{} // runs of what is, which has been told
	l.Droplets = slices.DeleteFunc(l.Droplets, func(d inventory.Droplet) bool {
		if d.Adrift {
			adrift[instancegroup.RunOf(d.Droplet)] = true
		}
		return d.Adrift
	})
	switch {
	case errors.Is(err, instancegroup.ErrForbidden):
		return // told by the scopes
	case err != nil:
		e.at(Warning, asked, digitalocean.Hint(err), "the group's leftovers could not be looked for: %v", err)
		return
	}
	keys, tags := len(l.Keys), 0
	for _, t := range l.Tags {
		if !t.Unowned && !adrift[t.Run] {
			tags++
		}
	}
	switch {
	case len(l.Droplets) > 0 && l.Doubtful():
		e.at(Note, asked, sweep, "%s, and no process on this host manages them: another host's may, else they are billed for nothing", there)
	case len(l.Droplets) > 0:
		e.at(Warning, asked, sweep, "%s, and no process manages them: they are billed until the next start takes them over", there)
	case keys+tags > 0:
		e.at(Note, asked, sweep, "%s and %s of earlier runs: the next start takes them off the account", plural(keys, "SSH key"), plural(tags, "tag"))
	case len(adrift) > 0:
	case len(l.Unread) > 0:
		e.at(Good, asked, "", "no Droplet is left over")
	default:
		e.at(Good, asked, "", "nothing is left over")
	}
	for _, err := range l.Unread {
		switch {
		case errors.Is(err, instancegroup.ErrForbidden): // told by the scopes
		case errors.Is(err, instancegroup.ErrThrottled):
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

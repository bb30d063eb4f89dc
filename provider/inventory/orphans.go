package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Orphans is what a group has on an account that no living process looks after, as far
// as can be known on this host, where none manages it.
type Orphans struct {
	All    []*Item
	Now    time.Time // by DigitalOcean's clock, where it says so
	Unread []error   // what could not be listed, and so was not looked for
}

// elsewhere is the doubt: the account alone does not distinguish a living manager of another host
// from a dead one.
const elsewhere = "no plugin process that has ended on this host made it: a living manager elsewhere may use it"

// Account is what groups share on an account: its SSH keys and its tags. The zero value
// is ready for use, by one goroutine.
//
// Invariant: however many groups there are, keys are listed once, also if that fails. DigitalOcean
// allows that 10 times a minute. (TestUnlisted)
type Account struct {
	keys catalog.Answer[[]digitalocean.Key]
	tags catalog.Answer[[]digitalocean.Tag]
}

// Find looks for the orphans of a group. dead are the runs of this host that are known
// to have ended (state.State and state.Snapshot have them); what is of any other run is
// returned with a doubt. An error says that nothing was found out; what hides nothing
// else is in Unread.
func (a *Account) Find(ctx context.Context, api *digitalocean.Client, group string, dead []string) (Orphans, error) {
	found, err := Look(ctx, api, group)
	if err != nil {
		return Orphans{}, err
	}
	keys, keysErr := a.keys.Get(ctx, api.Keys)
	tags, tagsErr := a.tags.Get(ctx, api.Tags)
	o := Orphans{All: orphans(group, dead, found.Owned, keys, tags), Now: found.Now}
	if keysErr != nil {
		o.Unread = append(o.Unread, fmt.Errorf("SSH keys: %w", keysErr))
	}
	if tagsErr != nil {
		o.Unread = append(o.Unread, fmt.Errorf("tags: %w", tagsErr))
	}
	if found.Unread != nil {
		o.Unread = append(o.Unread, found.Unread)
	}
	return o, ctx.Err()
}

// orphans picks a group's out of what the account has.
func orphans(group string, dead []string, droplets []instancegroup.Droplet, keys []digitalocean.Key, tags []digitalocean.Tag) (all []*Item) {
	unknown := len(dead) == 0
	youngest := map[string]time.Time{} // of each run
	add := func(i *Item, run string) {
		if !slices.Contains(dead, run) {
			i.Doubt, unknown = elsewhere, true
		}
		all = append(all, i)
	}
	for _, d := range droplets {
		run := instancegroup.RunOf(group, d.Name)
		if d.Created.After(youngest[run]) {
			youngest[run] = d.Created
		}
		add(NewItem(d), run)
	}
	for _, k := range keys {
		if run := instancegroup.RunOfKey(group, k.Name); run != "" {
			add(&Item{Kind: KeyKind, Name: k.Name, Group: group, Created: youngest[run], fingerprint: k.Fingerprint}, run)
		}
	}
	for _, t := range tags {
		if t.Resources.Count > 0 || !strings.EqualFold(t.Name, instancegroup.DeleteTag(group)) {
			continue
		}
		tag := &Item{Kind: TagKind, Name: t.Name, Group: group}
		if unknown {
			tag.Doubt = elsewhere
		}
		all = append(all, tag)
	}
	return all
}

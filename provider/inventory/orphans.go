package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// elsewhere is the doubt: the account does not show whether another host's manager lives.
const elsewhere = "no plugin process that has ended on this host made it: a living manager elsewhere may use it"

// Account is what groups share on an account. Its keys are listed once, also if that fails: DigitalOcean allows 10 lists a
// minute. (TestUnlisted) The zero value is ready, for one goroutine.
type Account struct {
	keys catalog.Answer[[]digitalocean.Key]
}

// Find looks for the orphans of a group. What is of a run that is not in dead is returned with a doubt. What could not be
// listed is in Unread.
func (a *Account) Find(ctx context.Context, api *digitalocean.Client, group string, dead []string) ([]*Item, Found, error) {
	found, err := Look(ctx, api, group)
	if err != nil {
		return nil, Found{}, err
	}
	keys, err := a.keys.Get(ctx, api.Keys)
	if err != nil {
		found.Unread = append(found.Unread, fmt.Errorf("SSH keys: %w", err))
	}
	return orphans(group, dead, found.Owned, keys), found, ctx.Err()
}

// orphans picks a group's out of what the account has.
func orphans(group string, dead []string, droplets []instancegroup.Droplet, keys []digitalocean.Key) (all []*Item) {
	youngest := map[string]time.Time{} // of each run
	add := func(i *Item, run string) {
		if !slices.Contains(dead, run) {
			i.Doubt = elsewhere
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
	return all
}

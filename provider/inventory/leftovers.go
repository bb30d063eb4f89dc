package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Leftovers is what a group has on an account that no living process looks after, as far
// as can be known on this host, where none manages it.
type Leftovers struct {
	Droplets []Droplet
	Keys     []Key // generated ones
	Tags     []Tag

	Now    time.Time // by DigitalOcean's clock, where it says so
	Unread []error   // what could not be listed, and so was not looked for
}

// Droplet is a Droplet, and why it may be no leftover: "" = its run was on this host, and
// has ended.
type Droplet struct {
	instancegroup.Droplet
	Doubt string
}

// Key is an SSH key of the account.
type Key struct {
	digitalocean.Key
	Run   string
	Doubt string
}

// Tag is a delete tag that nothing carries. Without a Doubt all that is known of the
// group is of this host's dead runs.
type Tag struct {
	Name  string
	Doubt string
}

// The doubts: the account alone does not distinguish a living manager of another host
// from a dead one.
const (
	elsewhere = "the plugin process that made it is not known on this host: a living manager elsewhere may look after it"
	inUse     = "a living manager elsewhere may use it"
)

// Doubtful reports whether anything of l may be no leftover.
func (l Leftovers) Doubtful() bool {
	return slices.ContainsFunc(l.Droplets, func(d Droplet) bool { return d.Doubt != "" }) ||
		slices.ContainsFunc(l.Keys, func(k Key) bool { return k.Doubt != "" }) ||
		slices.ContainsFunc(l.Tags, func(t Tag) bool { return t.Doubt != "" })
}

// Account is what groups share on an account: its SSH keys and its tags. The zero value
// is ready for use, by one goroutine.
//
// Invariant: however many groups there are, keys are listed once. DigitalOcean allows
// that 10 times a minute. (TestUnlistedHidesNoDroplets)
type Account struct {
	listed bool
	keys   []digitalocean.Key
	tags   []digitalocean.Tag
	unread []error
}

// list asks for keys and tags. What fails is not asked for again: the next group would
// fare no better.
func (a *Account) list(ctx context.Context, api *digitalocean.Client) {
	if a.listed {
		return
	}
	a.listed = true
	var err error
	if a.keys, err = api.Keys(ctx); err != nil {
		a.unread = append(a.unread, fmt.Errorf("SSH keys: %w", err))
	}
	if a.tags, err = api.Tags(ctx); err != nil {
		a.unread = append(a.unread, fmt.Errorf("tags: %w", err))
	}
}

// Find looks for the leftovers of a group. dead are the runs of this host that are known
// to have ended (state.State and state.Snapshot have them); what is of any other run is
// returned with a doubt. An error says that nothing was found out; what hides nothing
// else is in Unread.
func (a *Account) Find(ctx context.Context, api *digitalocean.Client, group string, dead []string) (Leftovers, error) {
	found, err := Look(ctx, api, group)
	if err != nil {
		return Leftovers{}, err
	}
	a.list(ctx, api)
	if err := ctx.Err(); err != nil {
		return Leftovers{}, err
	}
	l := sort(group, dead, found.Owned, a.keys, a.tags)
	l.Now = found.Now
	if found.Unread != nil {
		l.Unread = append(l.Unread, found.Unread)
	}
	l.Unread = append(l.Unread, a.unread...)
	return l, nil
}

// sort picks a group's leftovers out of what the account has.
func sort(group string, dead []string, droplets []instancegroup.Droplet, keys []digitalocean.Key, tags []digitalocean.Tag) Leftovers {
	unknown := len(dead) == 0
	doubt := func(run string) string {
		if slices.Contains(dead, run) {
			return ""
		}
		unknown = true
		return elsewhere
	}
	var l Leftovers
	for _, d := range droplets {
		l.Droplets = append(l.Droplets, Droplet{d, doubt(instancegroup.RunOf(group, d.Name))})
	}
	for _, k := range keys {
		if run, ok := instancegroup.RunOfKey(group, k.Name); ok {
			l.Keys = append(l.Keys, Key{k, run, doubt(run)})
		}
	}
	for _, t := range tags {
		if t.Carriers > 0 || !strings.EqualFold(t.Name, instancegroup.DeleteTag(group)) {
			continue
		}
		tag := Tag{Name: t.Name}
		if unknown {
			tag.Doubt = inUse
		}
		l.Tags = append(l.Tags, tag)
	}
	return l
}

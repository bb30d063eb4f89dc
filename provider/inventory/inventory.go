// Package inventory is what groups have on an account, for people: their Droplets,
// and what processes that have ended left behind.
package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Found are Droplets, in the order in which they were made.
type Found struct {
	Owned     []instancegroup.Droplet
	Strangers []instancegroup.Droplet // they only carry a tag of the plugin's
	Adrift    []Adrift                // of all groups. A list of one has none

	Unread error // what could not be looked for, and why: GPU Droplets, or what lost its tags
}

// Adrift is a Droplet that a group made and that has lost the group's tag. No list of
// the group has it, and it is billed.
type Adrift struct {
	instancegroup.Droplet
	Doubt string // why it may be meant; "" = somebody deleted the tag. Look does not tell
}

// Look lists the Droplets of a group, or of all groups if group is "". DigitalOcean has
// a list of its own for GPU Droplets: one that fails hides none of the others.
// (TestUnlistedGPUsHideNoDroplets) The error says that nothing was found out.
func Look(ctx context.Context, api *digitalocean.Client, group string) (Found, error) {
	tag := instancegroup.CommonTag
	if group != "" {
		tag = instancegroup.GroupTag(group)
	}
	var f Found
	l, err := api.List(ctx, tag, true)
	if err != nil && ctx.Err() == nil && !errors.Is(err, instancegroup.ErrUnauthorized) {
		gpus := err
		if l, err = api.List(ctx, tag, false); err == nil && !gpusRefused(gpus) {
			f.Unread = fmt.Errorf("GPU Droplets: %w", gpus)
		}
	}
	if group == "" && l.TagsHidden {
		f.Unread = errors.Join(f.Unread, errTagsHidden)
	}
	for _, d := range l.Droplets {
		switch of := instancegroup.GroupOf(d); {
		case group == "" && d.TagsHidden: // nobody can tell whose it is
		case of == "" && instancegroup.AdriftFrom(d) != "":
			f.Adrift = append(f.Adrift, Adrift{Droplet: d})
		case of == "" || group != "" && of != group:
			f.Strangers = append(f.Strangers, d)
		default:
			f.Owned = append(f.Owned, d)
		}
	}
	return f, err
}

// errTagsHidden is a token without tag:read.
var errTagsHidden = fmt.Errorf("the token is not shown the tags of Droplets, for which it needs tag:read: %w", instancegroup.ErrForbidden)

// Droplets is Look for those who want all or nothing.
func Droplets(ctx context.Context, api *digitalocean.Client, group string) (owned, strangers []instancegroup.Droplet, err error) {
	f, err := Look(ctx, api, group)
	return f.Owned, f.Strangers, cmp.Or(err, f.Unread)
}

// gpusRefused tells whether an account may know nothing of GPU Droplets.
func gpusRefused(err error) bool {
	return errors.Is(err, instancegroup.ErrInvalid) || errors.Is(err, instancegroup.ErrNotFound)
}

// Leftovers is what a group has on an account that no living process looks after, as
// far as can be told from this host, on which none manages it.
type Leftovers struct {
	Droplets []Droplet
	Keys     []Key // generated ones
	Tags     []Tag // by which runs are known, or destroy

	Unread []error // what could not be listed, and so was not looked for
}

// Droplet is one, and why it may be no leftover.
type Droplet struct {
	instancegroup.Droplet
	Adrift bool   // the group's tag is not on it
	Doubt  string // "" = its run was on this host, and has ended
}

// Kept tells whether somebody may keep d on purpose: then it is no question of managers.
func (d Droplet) Kept() bool { return d.Doubt == meant || d.Doubt == unasked }

// Key is an SSH key of the account.
type Key struct {
	digitalocean.Key
	Run   string
	Doubt string
}

// Tag is a tag of a run that nothing carries, or nothing but what is in Leftovers.
type Tag struct {
	Name    string
	Run     string
	Doubt   string
	Unowned bool // it may be of any group. Nobody misses it: a run that lives makes it again
}

// Doubtful tells whether anything of l may be no leftover.
func (l Leftovers) Doubtful() bool {
	return slices.ContainsFunc(l.Droplets, func(d Droplet) bool { return d.Doubt != "" }) ||
		slices.ContainsFunc(l.Keys, func(k Key) bool { return k.Doubt != "" }) ||
		slices.ContainsFunc(l.Tags, func(t Tag) bool { return t.Doubt != "" })
}

// The doubts.
const (
	elsewhere = "its run is not known on this host: it may be a living manager's elsewhere"
	whose     = "nothing tells which group's it is"
	meant     = "somebody took the group's tag off it, so that the plugin let it go: it may be kept on purpose"
	unasked   = "it has lost the group's tag, and whether that is meant could not be asked"
)

// Account is what groups share on an account: its SSH keys, its tags, and what is adrift.
// They are asked for when a group needs them first, and for all groups at once. Not for
// concurrent use.
//
// Invariant: however many groups there are, keys are listed once. DigitalOcean allows
// that 10 times a minute. (TestKeysAreListedOnce)
type Account struct {
	looked bool
	common Found // by CommonTag
	unseen error // why there may be more
	adrift map[string][]Adrift
	asking map[string]error // whether the account has a group's tag

	listed bool
	keys   []digitalocean.Key
	tags   []digitalocean.Tag
	unread []error
	told   map[string]bool // tags that are nobody's, which would be every group's else
}

// list asks for keys and tags. What fails is not asked for again: the next group would
// fare no better.
func (a *Account) list(ctx context.Context, api *digitalocean.Client) {
	if a.listed {
		return
	}
	a.listed, a.told = true, map[string]bool{}
	var err error
	if a.keys, err = api.Keys(ctx); err != nil {
		a.unread = append(a.unread, fmt.Errorf("SSH keys: %w", err))
	}
	if a.tags, err = api.Tags(ctx); err != nil {
		a.unread = append(a.unread, fmt.Errorf("tags: %w", err))
	}
}

// Adrift looks for a group's. letGo are those that its manager on this host has
// let go. The error is why there may be others, or why there are doubts.
func (a *Account) Adrift(ctx context.Context, api *digitalocean.Client, group string, letGo []int) ([]Adrift, error) {
	a.look(ctx, api)
	if found, ok := a.adrift[group]; ok {
		return found, cmp.Or(a.unseen, a.asking[group])
	}
	var found []Adrift
	for _, d := range a.common.Adrift {
		if instancegroup.AdriftFrom(d.Droplet) == group {
			found = append(found, d)
		}
	}
	if len(found) > 0 {
		there, err := api.HasTag(ctx, instancegroup.GroupTag(group))
		for i, d := range found {
			switch {
			case there || slices.Contains(letGo, d.ID) || instancegroup.RunOf(d.Droplet) == "":
				found[i].Doubt = meant
			case err != nil:
				found[i].Doubt = unasked
				a.asking[group] = fmt.Errorf("whether the account has the tag %s: %w", instancegroup.GroupTag(group), err)
			}
		}
	}
	a.adrift[group] = found
	return found, cmp.Or(a.unseen, a.asking[group])
}

// Owned returns a group's Droplets, by the one list of all groups. The error is why
// there may be others.
func (a *Account) Owned(ctx context.Context, api *digitalocean.Client, group string) (owned []instancegroup.Droplet, err error) {
	a.look(ctx, api)
	for _, d := range a.common.Owned {
		if instancegroup.GroupOf(d) == group {
			owned = append(owned, d)
		}
	}
	return owned, a.unseen
}

// look lists the Droplets of all groups, once.
func (a *Account) look(ctx context.Context, api *digitalocean.Client) {
	if a.looked {
		return
	}
	f, err := Look(ctx, api, "")
	a.looked, a.common, a.adrift, a.asking = true, f, map[string][]Adrift{}, map[string]error{}
	if err = cmp.Or(err, f.Unread); err != nil {
		a.unseen = fmt.Errorf("Droplets without the group's tag: %w", err)
	}
}

// Find looks for the leftovers of a group. dead are the runs of this host that are
// known to have ended, and letGo the Droplets that they let go. (hostlock.Lock has both.)
// api is the account's.
//
// A run that is not among them may be of a living manager on another host, which the
// account alone does not tell: what is of such a run is returned with a doubt.
//
// The error says that nothing was found out. Keys and tags that cannot be listed, which
// cost nothing, are in Unread: Droplets, which do, are found all the same. So are GPU
// Droplets, which hide no others.
//
// Keys and tags may be older than the Droplets, by what was done about other groups
// since. What a run has added meanwhile is then not found, and none that was dead lives.
func (a *Account) Find(ctx context.Context, api *digitalocean.Client, group string, dead []string, letGo []int) (Leftovers, error) {
	droplets, err := Look(ctx, api, group)
	if err != nil {
		return Leftovers{}, err
	}
	adrift, unfound := a.Adrift(ctx, api, group, letGo)
	a.list(ctx, api)
	if err := ctx.Err(); err != nil {
		return Leftovers{}, err
	}
	l := sort(group, dead, droplets.Owned, adrift, a.keys, a.tags)
	l.Tags = slices.DeleteFunc(l.Tags, func(t Tag) bool { return t.Unowned && a.told[t.Name] })
	for _, t := range l.Tags {
		if t.Unowned {
			a.told[t.Name] = true
		}
	}
	switch {
	case droplets.Unread != nil: // else it would be told twice
		l.Unread = append(l.Unread, droplets.Unread)
	case unfound != nil:
		l.Unread = append(l.Unread, unfound)
	}
	l.Unread = append(l.Unread, a.unread...)
	return l, nil
}

// sort picks a group's leftovers out of what the account has.
func sort(group string, dead []string, droplets []instancegroup.Droplet, adrift []Adrift, keys []digitalocean.Key, tags []digitalocean.Tag) Leftovers {
	doubt := func(run string) string {
		if slices.Contains(dead, run) {
			return ""
		}
		return elsewhere
	}
	var l Leftovers
	ours := map[string]bool{} // runs
	for _, run := range dead {
		ours[run] = true
	}
	carriers := map[string]int{}
	for _, d := range droplets {
		run := instancegroup.RunOf(d)
		ours[run] = true
		for _, t := range d.Tags {
			carriers[t]++
		}
		l.Droplets = append(l.Droplets, Droplet{d, false, doubt(run)})
	}
	for _, d := range adrift {
		if slices.ContainsFunc(droplets, func(o instancegroup.Droplet) bool { return o.ID == d.ID }) {
			continue // it has the tag again
		}
		run := instancegroup.RunOf(d.Droplet)
		if d.Doubt != "" { // and its tags are not for a sweep to take
			l.Droplets = append(l.Droplets, Droplet{d.Droplet, true, d.Doubt})
			continue
		}
		ours[run] = true
		for _, t := range d.Tags {
			carriers[t]++
		}
		l.Droplets = append(l.Droplets, Droplet{d.Droplet, true, doubt(run)})
	}
	others := map[string]bool{} // runs
	for _, k := range keys {
		if run, ok := instancegroup.RunOfKey(group, k.Name); ok {
			ours[run] = true
			l.Keys = append(l.Keys, Key{k, run, doubt(run)})
		} else if i := strings.LastIndex(k.Name, "-"); i >= 0 {
			others[k.Name[i+1:]] = true
		}
	}
	for _, t := range tags {
		run, ok := instancegroup.RunOfTag(t.Name)
		switch {
		case !ok || t.Carriers > carriers[t.Name]:
			// Another group's, or on something that is none of ours.
		case ours[run]:
			l.Tags = append(l.Tags, Tag{t.Name, run, doubt(run), false})
		case t.Carriers == 0 && !others[run]:
			l.Tags = append(l.Tags, Tag{t.Name, run, whose, true})
		}
	}
	return l
}

package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Leftovers is what a group has on an account that no living process looks after, as far
// as can be known on this host, where none manages it.
type Leftovers struct {
	All    []Leftover // Droplets first: they need the others
	Now    time.Time  // by DigitalOcean's clock, where it says so
	Unread []error    // what could not be listed, and so was not looked for
}

// Leftover is a Droplet, a generated SSH key, or a delete tag that nothing carries.
type Leftover struct {
	Kind    Kind
	Name    string
	Droplet instancegroup.Droplet // if it is one
	Created time.Time             // of a key that of the youngest Droplet of its plugin process; zero = not known
	Doubt   string                // why it may be no leftover; "" = all runs that it may be of were on this host, and have ended

	fingerprint string // of a key
}

// Kind is what a Leftover is. Its text is for people and scripts.
type Kind string

// The kinds.
const (
	DropletKind Kind = "droplet"
	KeyKind     Kind = "key"
	TagKind     Kind = "tag"
)

func (l Leftover) String() string {
	switch l.Kind {
	case DropletKind:
		return fmt.Sprintf("Droplet %s (%d)", l.Name, l.Droplet.ID)
	case KeyKind:
		return "SSH key " + l.Name
	}
	return "tag " + l.Name
}

// Remove takes a key or a tag off the account. Droplets are for [Delete].
func (l Leftover) Remove(ctx context.Context, api *digitalocean.Client) (err error) {
	if l.Kind == KeyKind {
		err = api.DeleteKey(ctx, l.fingerprint)
	} else {
		err = api.RemoveTag(ctx, l.Name)
	}
	if errors.Is(err, instancegroup.ErrNotFound) {
		return nil
	}
	return err
}

// elsewhere is the doubt: the account alone does not distinguish a living manager of another host
// from a dead one.
const elsewhere = "no plugin process that has ended on this host made it: a living manager elsewhere may use it"

// Account is what groups share on an account: its SSH keys and its tags. The zero value
// is ready for use, by one goroutine.
//
// Invariant: however many groups there are, keys are listed once. DigitalOcean allows
// that 10 times a minute. (TestUnlisted)
type Account struct {
	once   sync.Once
	keys   []digitalocean.Key
	tags   []digitalocean.Tag
	unread []error
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
	a.once.Do(func() { // what fails is not asked for again: the next group would fare no better
		var err error
		if a.keys, err = api.Keys(ctx); err != nil {
			a.unread = append(a.unread, fmt.Errorf("SSH keys: %w", err))
		}
		if a.tags, err = api.Tags(ctx); err != nil {
			a.unread = append(a.unread, fmt.Errorf("tags: %w", err))
		}
	})
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
	youngest := map[string]time.Time{} // of each run
	doubt := func(run string) string {
		if slices.Contains(dead, run) {
			return ""
		}
		unknown = true
		return elsewhere
	}
	var l Leftovers
	for _, d := range droplets {
		run := instancegroup.RunOf(group, d.Name)
		if d.Created.After(youngest[run]) {
			youngest[run] = d.Created
		}
		l.All = append(l.All, Leftover{Kind: DropletKind, Name: d.Name, Droplet: d, Created: d.Created, Doubt: doubt(run)})
	}
	for _, k := range keys {
		if run, ok := instancegroup.RunOfKey(group, k.Name); ok {
			l.All = append(l.All, Leftover{Kind: KeyKind, Name: k.Name, fingerprint: k.Fingerprint, Created: youngest[run], Doubt: doubt(run)})
		}
	}
	for _, t := range tags {
		if t.Resources.Count > 0 || !strings.EqualFold(t.Name, instancegroup.DeleteTag(group)) {
			continue
		}
		tag := Leftover{Kind: TagKind, Name: t.Name}
		if unknown {
			tag.Doubt = elsewhere
		}
		l.All = append(l.All, tag)
	}
	return l
}

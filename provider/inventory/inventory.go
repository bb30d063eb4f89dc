// Package inventory says which Droplets of an account belong to which group, and what
// plugin processes that have ended left behind. It deletes both for a person.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Item is a Droplet or a generated SSH key. Its JSON form is stable.
type Item struct {
	Kind    Kind      `json:"kind"`
	Name    string    `json:"name"`
	Created time.Time `json:"created_at,omitzero"` // of a key that of its plugin process's youngest Droplet; zero = not known
	Doubt   string    `json:"doubt,omitempty"`     // why it may be no orphan
	Deleted bool      `json:"deleted,omitempty"`

	Group   string                `json:"-"`
	Droplet instancegroup.Droplet `json:"-"` // if it is one
	Why     error                 `json:"-"` // why Delete did not delete it

	fingerprint string // of a key
}

// Kind is what an Item is. Its text is for people and scripts.
type Kind string

// The kinds.
const (
	DropletKind Kind = "droplet"
	KeyKind     Kind = "key"
)

// NewItem returns the Item of a Droplet.
func NewItem(d instancegroup.Droplet) *Item {
	return &Item{Kind: DropletKind, Name: d.Name, Created: d.Created, Group: instancegroup.GroupOf(d), Droplet: d}
}

func (i *Item) String() string { return string(i.Kind) + " " + i.Name }

// Found are Droplets, by ascending id.
type Found struct {
	Owned   []instancegroup.Droplet
	Kept    []instancegroup.Droplet // a group's too, but a person keeps them: see instancegroup.KeepTag
	Foreign []instancegroup.Droplet // they carry a tag of the plugin's, and belong to no group

	Now    time.Time // by DigitalOcean's clock, where it says so
	Unread []error   // what could not be listed, and so was not looked for
}

// Look lists the Droplets of a group, or of all groups if group is "". DigitalOcean has
// a list of its own for GPU Droplets, which an account may not know, or not be granted.
func Look(ctx context.Context, api *digitalocean.Client, group string) (Found, error) {
	tag := instancegroup.CommonTag
	if group != "" {
		tag = instancegroup.GroupTag(group)
	}
	var f Found
	l, err := api.List(ctx, tag, true)
	if errors.Is(err, instancegroup.ErrForbidden) {
		f.Unread = []error{fmt.Errorf("GPU Droplets: %w", err)}
	}
	if errors.Is(err, instancegroup.ErrRefused) || errors.Is(err, instancegroup.ErrNotFound) || errors.Is(err, instancegroup.ErrForbidden) {
		l, err = api.List(ctx, tag, false)
	}
	if err != nil {
		return Found{}, err
	}
	if f.Now = l.Date; f.Now.IsZero() {
		f.Now = time.Now()
	}
	for _, d := range l.Droplets {
		switch owner := instancegroup.GroupOf(d); {
		case owner == "" || group != "" && owner != group:
			f.Foreign = append(f.Foreign, d)
		case instancegroup.Kept(d):
			f.Kept = append(f.Kept, d)
		default:
			f.Owned = append(f.Owned, d)
		}
	}
	return f, nil
}

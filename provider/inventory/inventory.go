// Package inventory says which Droplets of an account belong to which group, and what
// plugin processes that have ended left behind. It deletes Droplets for a person.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Found are Droplets, by ascending id.
type Found struct {
	Owned     []instancegroup.Droplet
	Kept      []instancegroup.Droplet // a group's too, but a person keeps them: see instancegroup.KeepTag
	Strangers []instancegroup.Droplet // they carry a tag of the plugin's, and belong to no group

	Now    time.Time // by DigitalOcean's clock, where it says so
	Unread error     // why GPU Droplets were not looked for; nil = they were, or there can be none
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
		f.Unread = fmt.Errorf("GPU Droplets: %w", err)
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
			f.Strangers = append(f.Strangers, d)
		case instancegroup.Kept(d):
			f.Kept = append(f.Kept, d)
		default:
			f.Owned = append(f.Owned, d)
		}
	}
	return f, nil
}

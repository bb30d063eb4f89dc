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
	Unread error     // why GPU Droplets could not be looked for; nil = they were
}

// Look lists the Droplets of a group, or of all groups if group is "". DigitalOcean has
// a list of its own for GPU Droplets: one that fails hides none of the others.
// (TestUnlistedHidesNoDroplets) An error says that nothing was found out.
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

// gpusRefused reports whether an account may know nothing of GPU Droplets.
func gpusRefused(err error) bool {
	return errors.Is(err, instancegroup.ErrInvalid) || errors.Is(err, instancegroup.ErrNotFound)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// selection is what is to be destroyed of a group.
type selection struct {
	group
	droplets  []instancegroup.Droplet
	leftovers []*leftover // of sweep, the Droplets among them
}

// approve says whose the accounts are, and asks a person once for each of them whether to destroy
// what is there; yes stands for the answer. It returns what is to be destroyed after all.
func approve(ctx context.Context, t *terminal, all []selection, yes bool, timeout span) (approved []selection, err error) {
	for _, here := range byAccount(all) {
		who, err := here[0].whose(ctx, timeout)
		switch {
		case ctx.Err() != nil:
			return nil, errUntouched
		case err != nil:
			who = fmt.Sprintf("not known (%v)", digitalocean.Explain(err, here[0].Token.Source))
		}
		t.say("account", "%s (token from %s)", who, here[0].Token.Source)
		droplets, others := 0, 0
		for _, d := range here {
			droplets += len(d.droplets)
			others += max(0, len(d.leftovers)-len(d.droplets))
		}
		what := count(droplets, "Droplet")
		if others > 0 {
			what += " and " + count(others, "other leftover")
		}
		ok := yes
		if !yes {
			if ok, err = t.confirm(ctx, fmt.Sprintf("Destroy %s of %s?", what, groupNames(here))); err != nil {
				return nil, err
			}
		}
		if ok {
			approved = append(approved, here...)
		}
	}
	if len(all) > 0 && len(approved) == 0 {
		return nil, errors.New("nothing was destroyed")
	}
	return approved, nil
}

// whose names the account.
func (g group) whose(ctx context.Context, timeout span) (string, error) {
	ctx, cancel := bounded(ctx, timeout)
	defer cancel()
	api, err := g.open()
	if err != nil {
		return "", err
	}
	defer api.Close()
	a, err := api.Account(ctx)
	return fmt.Sprintf("%q, %s", a.Name, a.Email), err
}

// removal is what is to be destroyed on one account. Its groups share the pace at which the
// token is used.
type removal struct {
	groups []selection
	left   []inventory.Remaining // of its Droplets
	err    error                 // why that is so; nil = it is left alone
}

// destroy destroys Droplets until ctx ends, and returns what is left of them. All accounts at
// once: one whose Droplets will not go keeps no other waiting, which is billed.
func destroy(ctx context.Context, t *terminal, groups []selection) (left []instancegroup.Droplet, err error) {
	defer t.done()
	var all []*removal
	total, began := 0, time.Now()
	for _, here := range byAccount(groups) {
		r := &removal{groups: here}
		for _, d := range here {
			for _, x := range d.droplets {
				r.left = append(r.left, inventory.Remaining{Droplet: x})
			}
		}
		total += len(r.left)
		all = append(all, r)
	}
	var mu sync.Mutex // guards every left
	var wg sync.WaitGroup
	for _, r := range all {
		wg.Go(func() {
			err := r.destroy(ctx, func(left []inventory.Remaining) {
				mu.Lock()
				defer mu.Unlock()
				r.left = left
				gone := total
				for _, r := range all {
					gone -= len(r.left)
				}
				line := fmt.Sprintf("%d of %s gone", gone, count(total, "Droplet"))
				if t.liveErr { // elsewhere it would be a line a second
					line += "  " + time.Since(began).Round(time.Second).String()
				}
				t.step("%s", line)
			})
			if err != nil && ctx.Err() != nil {
				err = ended(ctx)
			}
			r.err = err
		})
	}
	wg.Wait()
	var faults []error
	for _, r := range all {
		for _, d := range r.groups {
			stay, err := r.leftOf(d)
			left = append(left, stay...)
			faults = append(faults, err)
		}
	}
	return left, errors.Join(faults...)
}

func (r *removal) destroy(ctx context.Context, progress func([]inventory.Remaining)) error {
	if len(r.left) == 0 {
		return nil
	}
	api, err := r.groups[0].open()
	if err != nil {
		return err
	}
	defer api.Close()
	var droplets []instancegroup.Droplet
	for _, d := range r.groups {
		droplets = append(droplets, d.droplets...)
	}
	_, err = inventory.Delete(ctx, api, droplets, progress)
	return err
}

// leftOf returns what is left of a group, and why.
func (r *removal) leftOf(d selection) (left []instancegroup.Droplet, err error) {
	var why error // of the first that has a reason of its own
	var names []string
	for _, x := range r.left {
		if instancegroup.GroupOf(x.Droplet) == d.Name {
			left = append(left, x.Droplet)
			names = append(names, x.Name)
			why = cmp.Or(why, x.Why)
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	err = cmp.Or(r.err, why)
	if errors.As(err, new(overdue)) && why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	return left, d.fault(fmt.Errorf("%s not confirmed to be gone, and may be billed: %s: %w",
		count(len(left), "Droplet"), strings.Join(names, " "), err))
}

// goneNow reports whether what was to be deleted is not there any more.
func goneNow(err error) bool { return err == nil || errors.Is(err, instancegroup.ErrNotFound) }

// bounded bounds what a command asks of DigitalOcean.
func bounded(ctx context.Context, timeout span) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout.Duration, overdue(timeout))
}

// ended is why ctx has ended: by --timeout, or by a person.
func ended(ctx context.Context) error {
	if late, ok := errors.AsType[overdue](context.Cause(ctx)); ok {
		return late
	}
	return errInterrupted
}

// overdue is that a --timeout was not enough.
type overdue span

func (o overdue) Error() string {
	return fmt.Sprintf("DigitalOcean was not done within %s (--timeout)", o.text)
}

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
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// approve says whose the accounts are, and asks a person once for each of them whether to destroy
// what is there; yes stands for the answer. It returns what is to be destroyed after all.
func approve(ctx context.Context, t *terminal, all []group, yes bool, timeout span) (approved []group, err error) {
	for _, here := range byAccount(all) {
		who, err := here[0].whose(ctx, timeout)
		switch {
		case ctx.Err() != nil:
			return nil, errUntouched
		case err != nil:
			who = fmt.Sprintf("not known (%v)", err)
		}
		t.say("account", "%s (token from %s)", who, here[0].Token.Source)
		droplets, others := 0, 0
		for _, g := range here {
			droplets += len(g.droplets)
			others += max(0, len(g.leftovers)-len(g.droplets))
		}
		what := count(droplets, "Droplet")
		if others > 0 {
			what += " and " + count(others, "other leftover")
		}
		ok := yes
		if !yes {
			if ok, err = t.confirm(ctx, fmt.Sprintf("Delete %s of %s?", what, groupNames(here))); err != nil {
				return nil, err
			}
		}
		if ok {
			approved = append(approved, here...)
		}
	}
	if len(all) > 0 && len(approved) == 0 {
		return nil, errors.New("nothing was deleted")
	}
	return approved, nil
}

// whose names the account.
func (g group) whose(ctx context.Context, timeout span) (string, error) {
	ctx, cancel := bounded(ctx, timeout)
	defer cancel()
	a, err := g.api.Account(ctx)
	return fmt.Sprintf("%q, %s", a.Name, clean(a.Email)), err
}

// destroy destroys the groups' Droplets until ctx ends, and returns what is left of them. All accounts
// at once: one whose Droplets will not go keeps no other waiting, which is billed.
func destroy(ctx context.Context, t *terminal, groups []group) (left []instancegroup.Droplet, err error) {
	defer t.done()
	total, gone, began := 0, 0, time.Now()
	for _, g := range groups {
		total += len(g.droplets)
	}
	var mu sync.Mutex // guards gone, left and faults
	var faults []error
	var wg sync.WaitGroup
	for _, here := range byAccount(groups) {
		wg.Go(func() {
			before := 0
			for _, g := range here {
				before += len(g.droplets)
			}
			remaining, err := deleteAll(ctx, here, func(now []inventory.Remaining) {
				mu.Lock()
				defer mu.Unlock()
				gone, before = gone+before-len(now), len(now)
				line := fmt.Sprintf("%d of %s gone", gone, count(total, "Droplet"))
				if t.liveErr { // elsewhere it would be a line a second
					line += "  " + time.Since(began).Round(time.Second).String()
				}
				t.step("%s", line)
			})
			mu.Lock()
			defer mu.Unlock()
			for _, x := range remaining {
				left = append(left, x.Droplet)
			}
			for _, g := range here {
				faults = append(faults, g.undeleted(remaining, err))
			}
		})
	}
	wg.Wait()
	return left, errors.Join(faults...)
}

// deleteAll deletes the Droplets of an account's groups, which share the pace at which the token is used.
func deleteAll(ctx context.Context, groups []group, progress func([]inventory.Remaining)) (left []inventory.Remaining, err error) {
	var droplets []instancegroup.Droplet
	for _, g := range groups {
		droplets = append(droplets, g.droplets...)
	}
	if len(droplets) == 0 {
		return nil, nil
	}
	left, err = inventory.Delete(ctx, groups[0].api, droplets, progress)
	if ctx.Err() != nil {
		err = ended(ctx)
	}
	return left, err
}

// undeleted says which Droplets of a group are left, and why: by err, or by what went wrong with each of them.
func (g group) undeleted(left []inventory.Remaining, err error) error {
	var reasons []error
	var keys []string
	names := map[string][]string{} // by the kind of reason: the first of it stands for all
	for _, x := range left {
		if instancegroup.GroupOf(x.Droplet) != g.Name {
			continue
		}
		why, key := cmp.Or(err, x.Why), fmt.Sprint(x.Why)
		if e, ok := errors.AsType[*instancegroup.CloudError](x.Why); ok {
			key = fmt.Sprint(e.Op, e.Class)
		}
		switch {
		case inventory.LeftAlone(x.Why):
			why = x.Why
		case errors.As(err, new(overdue)) && x.Why != nil:
			why = fmt.Errorf("%w: %w", err, x.Why)
		}
		if names[key] == nil {
			reasons, keys = append(reasons, why), append(keys, key)
		}
		names[key] = append(names[key], x.Name)
	}
	for i, why := range reasons {
		these := names[keys[i]]
		reasons[i] = g.fault(fmt.Errorf("%s not confirmed to be gone, and may be billed: %s: %w",
			count(len(these), "Droplet"), strings.Join(these, " "), why))
	}
	return errors.Join(reasons...)
}

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

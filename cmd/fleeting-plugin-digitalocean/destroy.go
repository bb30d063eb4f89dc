package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// removeBound is how long DigitalOcean has to show Droplets gone, unless --timeout says
// otherwise. It takes seconds, unless it refuses.
const removeBound = 15 * time.Minute

// doomedGroup is what is to be destroyed of a group.
type doomedGroup struct {
	group
	droplets []instancegroup.Droplet
	unread   error // why not all could be listed that were asked for
}

// doomedAccount is what is to be destroyed on one account. Its groups share the pace at
// which the token is used.
type doomedAccount struct {
	groups []doomedGroup
	left   []inventory.Remaining
	err    error // why that is so; nil = it is left alone
}

// destroy destroys what was chosen, within that time, and returns what is left of it. All
// groups at once: one whose Droplets will not go keeps no other waiting, which is billed.
func destroy(ctx context.Context, t *terminal, doomed []doomedGroup, within time.Duration) (left []instancegroup.Droplet, err error) {
	defer t.done()
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	p := progress{t: t, accounts: byAccount(doomed), began: time.Now()}
	var wg sync.WaitGroup
	for _, a := range p.accounts {
		wg.Go(func() {
			err := a.destroy(bounded, func(left []inventory.Remaining) { p.show(a, left) })
			switch {
			case err != nil && ctx.Err() != nil:
				err = errInterrupted
			case err != nil && bounded.Err() != nil:
				err = overdue(within)
			}
			a.err = err
		})
	}
	wg.Wait()
	var faults []error
	for _, a := range p.accounts {
		for _, d := range a.groups {
			stay, err := a.of(d)
			left = append(left, stay...)
			faults = append(faults, err)
		}
	}
	return left, errors.Join(faults...)
}

func byAccount(doomed []doomedGroup) (accounts []*doomedAccount) {
	for _, d := range doomed {
		if len(d.droplets) == 0 {
			continue
		}
		i := slices.IndexFunc(accounts, func(a *doomedAccount) bool { return sameAccount(a.groups[0].Account, d.Account) })
		if i < 0 {
			i = len(accounts)
			accounts = append(accounts, &doomedAccount{})
		}
		accounts[i].groups = append(accounts[i].groups, d)
		for _, x := range d.droplets {
			accounts[i].left = append(accounts[i].left, inventory.Remaining{Droplet: x})
		}
	}
	return accounts
}

func (a *doomedAccount) destroy(ctx context.Context, progress func([]inventory.Remaining)) error {
	api, err := a.groups[0].open()
	if err != nil {
		return err
	}
	defer api.Close()
	var droplets []instancegroup.Droplet
	for _, d := range a.groups {
		droplets = append(droplets, d.droplets...)
	}
	_, err = inventory.Delete(ctx, api, droplets, progress)
	return err
}

// overdue is that a --timeout was not enough.
type overdue time.Duration

func (o overdue) Error() string { return fmt.Sprintf("not within %s (--timeout)", time.Duration(o)) }

// of returns what is left of a group, and why.
func (a *doomedAccount) of(d doomedGroup) (left []instancegroup.Droplet, err error) {
	var why error // of the first that has a reason of its own
	for _, r := range a.left {
		if instancegroup.GroupOf(r.Droplet) == d.Name {
			left = append(left, r.Droplet)
			why = cmp.Or(why, r.Why)
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	err = cmp.Or(a.err, why)
	if errors.As(err, new(overdue)) && why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	return left, fmt.Errorf("group %s: %s not confirmed to be gone, and may be billed: %s: %w", d.Name,
		count(len(left), "Droplet"), strings.Join(dropletNames(left), " "), digitalocean.Explain(err, d.Token.Source))
}

// progress shows how far the groups are.
type progress struct {
	t        *terminal
	accounts []*doomedAccount
	began    time.Time

	mu sync.Mutex // guards what is left of the accounts, while they are destroyed
}

func (p *progress) show(of *doomedAccount, left []inventory.Remaining) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of.left = left
	var each []string
	for _, a := range p.accounts {
		for _, d := range a.groups {
			gone := len(d.droplets)
			for _, r := range a.left {
				if instancegroup.GroupOf(r.Droplet) == d.Name {
					gone--
				}
			}
			each = append(each, fmt.Sprintf("group %s: %d of %s gone", d.Name, gone, count(len(d.droplets), "Droplet")))
		}
	}
	line := strings.Join(each, ", ")
	if p.t.liveErr { // elsewhere it would be a line a second
		line += "  " + time.Since(p.began).Round(time.Second).String()
	}
	p.t.step("%s", line)
}

func dropletNames(ds []instancegroup.Droplet) []string {
	names := make([]string, len(ds))
	for i, d := range ds {
		names[i] = d.Name
	}
	return names
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// destroying is what rm and sweep have in common: they look, show what they found, ask, delete, and report.
type destroying struct {
	choice
	t           *terminal
	yes, dryRun bool
	timeout     span
}

func (d *destroying) flags(cmd *cobra.Command) {
	d.choice.flags(cmd)
	d.timeout = span{15 * time.Minute, "15m"}
	f := cmd.Flags()
	f.BoolVarP(&d.yes, "yes", "y", false, "do not ask; needed where there is nobody to ask")
	f.BoolVar(&d.dryRun, "dry-run", false, "only show what would be deleted")
	f.Var(&d.timeout, "timeout", "give up after that; what was asked for may still be carried out")
}

// removal is what rm or sweep found of a group, and what became of it. Its JSON form is stable.
type removal struct {
	Group   string   `json:"group"`
	Managed string   `json:"managed_by,omitempty"` // the process on this host that looks after it
	Found   []*item  `json:"found"`
	Unread  []string `json:"not_looked_for,omitempty"` // and why
	Error   string   `json:"error,omitempty"`          // why it is not all

	group group
}

// item is a Droplet, an SSH key or a tag.
type item struct {
	Kind       inventory.Kind `json:"kind"`
	Name       string         `json:"name"`
	ID         int64          `json:"id,omitempty"`
	AgeSeconds int            `json:"age_seconds,omitempty"`
	USDPerHour float64        `json:"usd_per_hour,omitempty"`
	Doubt      string         `json:"doubt,omitempty"` // why it may be no leftover
	Deleted    bool           `json:"deleted"`

	found inventory.Leftover
}

func newItem(l inventory.Leftover, now time.Time) *item {
	return &item{Kind: l.Kind, Name: l.Name, ID: l.Droplet.ID, AgeSeconds: int(l.Droplet.Age(now).Seconds()),
		USDPerHour: l.Droplet.PriceHourly, Doubt: l.Doubt, found: l}
}

func (i *item) isDroplet() bool { return i.Kind == inventory.DropletKind }

// removals writes them as JSON.
func (t *terminal) removals(all []*removal) {
	t.json(struct {
		Groups []*removal `json:"groups"`
	}{all})
}

// deleted counts what is deleted of groups' items.
func deleted(groups []group) (n, of int) {
	for _, g := range groups {
		for _, i := range g.items {
			if of++; i.Deleted {
				n++
			}
		}
	}
	return n, of
}

// droplets are those of groups that are to be deleted.
func droplets(groups []group) (all []instancegroup.Droplet) {
	for _, g := range groups {
		for _, i := range g.items {
			if i.isDroplet() {
				all = append(all, i.found.Droplet)
			}
		}
	}
	return all
}

// approve says whose the accounts are, and asks a person once for each of them whether to delete
// what is there; --yes stands for the answer. It returns what is to be deleted after all.
func (d *destroying) approve(ctx context.Context, all []group) (approved []group, err error) {
	for _, here := range byAccount(all) {
		who, err := d.whose(ctx, here[0])
		switch {
		case ctx.Err() != nil:
			return nil, untouched(errInterrupted)
		case err != nil:
			who = fmt.Sprintf("not known (%v)", err)
		}
		d.t.say("account", "%s (token from %s)", who, here[0].Token.Source)
		n := len(droplets(here))
		what := count(n, "Droplet")
		if _, all := deleted(here); all > n {
			what += " and " + count(all-n, "other leftover")
		}
		ok := d.yes
		if !ok {
			if ok, err = d.t.confirm(ctx, fmt.Sprintf("Delete %s of %s?", what, groupNames(here))); err != nil {
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
func (d *destroying) whose(ctx context.Context, g group) (string, error) {
	ctx, cancel := bounded(ctx, d.timeout)
	defer cancel()
	a, err := g.api.Account(ctx)
	return fmt.Sprintf("%q, %s", a.Name, clean(a.Email)), err
}

// destroy deletes what groups have, Droplets first. Each account gets the time of --timeout: one that is stuck costs no other
// its turn. An error says what may be left.
func (d *destroying) destroy(ctx context.Context, groups []group) error {
	var faults []error
	for _, here := range byAccount(groups) {
		ctx, cancel := bounded(ctx, d.timeout)
		faults = append(faults, d.deleteDroplets(ctx, here))
		for _, g := range here {
			faults = append(faults, g.deleteRest(ctx))
		}
		cancel()
	}
	return errors.Join(faults...)
}

// deleteDroplets deletes the Droplets of an account's groups at the same time: one that does not go keeps no other waiting.
func (d *destroying) deleteDroplets(ctx context.Context, here []group) error {
	all := droplets(here)
	if len(all) == 0 {
		return nil
	}
	progress := func(left int) { d.t.step("%d of %s gone", len(all)-left, count(len(all), "Droplet")) }
	defer d.t.done()
	progress(len(all))
	left, err := inventory.Delete(ctx, here[0].api, all, progress)
	if ctx.Err() != nil {
		err = ended(ctx)
	}
	var faults []error
	for _, g := range here {
		faults = append(faults, g.undeleted(left, err))
	}
	return errors.Join(faults...)
}

// undeleted notes which Droplets of a group are deleted, and says which are left, and why.
func (g group) undeleted(left []inventory.Remaining, why error) error {
	var names []string
	var faults []error
	for _, i := range g.items {
		at := slices.IndexFunc(left, func(l inventory.Remaining) bool { return l.ID == i.ID })
		i.Deleted = i.isDroplet() && at < 0
		switch {
		case i.Deleted || !i.isDroplet():
			continue
		case inventory.LeftAlone(left[at].Why):
			faults = append(faults, g.fault(fmt.Errorf("%s: %w", i.Name, left[at].Why)))
			continue
		case names == nil && left[at].Why != nil && errors.As(why, new(overdue)): // the first one's stands for all
			why = fmt.Errorf("%w: %w", why, left[at].Why)
		}
		names = append(names, i.Name)
	}
	if names != nil {
		faults = append(faults, g.fault(fmt.Errorf("%s not confirmed to be gone, and may be billed: %s: %w",
			count(len(names), "Droplet"), strings.Join(names, " "), why)))
	}
	return errors.Join(faults...)
}

// deleteRest deletes a group's keys and tags, unless a Droplet, which may need them, is left.
func (g group) deleteRest(ctx context.Context) error {
	if slices.ContainsFunc(g.items, func(i *item) bool { return i.isDroplet() && !i.Deleted }) {
		return nil
	}
	var faults []error
	for _, i := range g.items {
		if i.Deleted {
			continue
		}
		one, cancel := context.WithTimeout(ctx, restBound)
		err := i.found.Remove(one, g.api)
		cancel()
		if i.Deleted = err == nil; i.Deleted {
			continue
		}
		if ctx.Err() != nil {
			err = ended(ctx) // what failed of that is its doing
		}
		faults = append(faults, g.fault(fmt.Errorf("%s: %w", i.found, err)))
	}
	return errors.Join(faults...)
}

// restBound is how long one key or tag that is not answered keeps the others, and a manager that wants to start, waiting.
const restBound = 20 * time.Second

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

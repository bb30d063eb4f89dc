package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

func sweepCommand(t *terminal) *cobra.Command {
	s := sweeping{timeout: span(removeBound)}
	cmd := &cobra.Command{
		Use:   "sweep --group NAME",
		Short: "Find what no process looks after any more",
		Long: `Find what no living process looks after any more: Droplets, SSH keys and tags of runs that have ended.

A group that a process on this host manages is left to it. Otherwise what is of a run that was on this host has
no owner. What is of any other run may be a manager's on another host, which nothing on the account distinguishes
from a dead one: it is shown, and destroyed only with --force. Stop that manager first. A Droplet with the tag
fleeting-keep is never destroyed.

It exits with 0 if nothing was found, with 3 if something was (and was destroyed, with --delete), with 1 if it
failed or could not look at everything, with 2 if it was called wrongly: so that a cron job or a scheduled pipeline
can alarm.`,
		Args: noArgs("a group is named with --group %s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), t) },
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&s.delete, "delete", false, "destroy what was found; without it nothing is changed")
	cmd.Flags().BoolVar(&s.force, "force", false, "also what is in doubt: it may be a living manager's on another host")
	cmd.Flags().Var(&s.timeout, "timeout", "give up after that; what was asked for may still be carried out")
	cmd.Flags().Var(&s.olderThan, "older-than", "Droplets of that age only, such as 90m, 12h or 7d")
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

func (s *sweeping) run(ctx context.Context, t *terminal) error {
	if len(s.groups) == 0 {
		return hinted{misuse("sweep touches only groups that are named"), "give --group NAME; ls shows which there are"}
	}
	unheard()
	groups, _, err := s.find(t) // all are named
	if err != nil {
		return err
	}
	all, err := s.sweep(ctx, t, groups, t.format == asJSON)
	if t.format == asJSON {
		t.json(struct {
			Groups []swept `json:"groups"`
		}{all})
	}
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(all, swept.found):
		return status(exitFound)
	case slices.ContainsFunc(all, func(w swept) bool { return len(w.Unread) > 0 }):
		return hinted{errors.New("nothing was found, but not everything could be looked at"),
			"grant the token the scope that the warning names; after a 429 try again in a minute"}
	}
	return nil
}

// sweep sweeps one group after the other. With an error it returns those that it got to.
func (s *sweeping) sweep(ctx context.Context, t *terminal, groups []group, quiet bool) ([]swept, error) {
	all := []swept{}
	var faults []error
	for i, g := range groups {
		if ctx.Err() != nil {
			faults = append(faults, fmt.Errorf("%w; not looked at: %s", errInterrupted, groupNames(groups[i:])))
			break
		}
		w, err := s.group(ctx, t, g, quiet)
		if err != nil {
			w.Error = err.Error()
		}
		all = append(all, w)
		faults = append(faults, err)
	}
	return all, errors.Join(faults...)
}

// sweeping is what a sweep is to do.
type sweeping struct {
	choice
	delete, force bool
	olderThan     span
	timeout       span

	accounts accounts
	warned   []string // what was said of an account, which is not said for each group
}

// group sweeps one group. It holds the group's lock meanwhile: no manager on this host
// can start between the look and the deed.
func (s *sweeping) group(ctx context.Context, t *terminal, g group, quiet bool) (swept, error) {
	w := swept{Group: g.Name, Droplets: []sweptDroplet{}, Keys: []sweptThing{}, Tags: []sweptThing{}}
	own, err := state.Try(ctx, newLog(t), g.APIURL, g.Name)
	if held, ok := errors.AsType[*state.HeldError](err); ok && ctx.Err() == nil {
		w.Managed = pid(held.PID)
		t.say("note", "group %s is managed on this host, by plugin process %s, which looks after what is its own", g.Name, w.Managed)
		return w, nil
	}
	if err != nil {
		return w, g.fault(err)
	}
	defer own.Drop()
	api, err := g.open()
	if err != nil {
		return w, g.fault(err)
	}
	defer api.Close()
	t.step("group %s: looking for leftovers", g.Name)
	l, err := s.accounts.of(g.Account).Find(ctx, api, g.Name, own.DeadRuns())
	t.done()
	switch {
	case ctx.Err() != nil:
		return w, g.fault(fmt.Errorf("%w: nothing of it was destroyed", errInterrupted))
	case err != nil:
		return w, g.fault(err)
	}
	l, w.Younger = s.sift(l, time.Now())
	w.note(l, g.Token.Source)
	s.warn(t, w.Unread)
	if !quiet {
		w.print(t)
	}
	if !s.delete || !w.found() {
		s.advise(t, l, w)
		return w, nil
	}
	err = s.remove(ctx, t, g, api, l, &w)
	if !quiet {
		fmt.Fprintln(t.out, w.sum(s.force))
	}
	return w, err
}

// warn says what was not looked for.
func (s *sweeping) warn(t *terminal, unread []string) {
	for _, u := range unread {
		if !slices.Contains(s.warned, u) {
			t.say("warning", "not looked for: %s", u)
			s.warned = append(s.warned, u)
		}
	}
}

// sift leaves out what is not asked for, and counts the Droplets that are too young. Keys
// and tags have no age: with --older-than those of a run that may live are left out, a key
// only unless one of the run's Droplets is old enough.
func (s sweeping) sift(l inventory.Leftovers, now time.Time) (old inventory.Leftovers, young younger) {
	runs, spared := map[string]bool{}, map[string]bool{}
	l.Droplets = slices.DeleteFunc(slices.Clone(l.Droplets), func(d inventory.Droplet) bool {
		run := instancegroup.RunOf(instancegroup.GroupOf(d.Droplet), d.Name)
		if now.Sub(d.Created) >= time.Duration(s.olderThan) {
			runs[run] = true
			return false
		}
		spared[run] = true
		young.Droplets++
		young.USDPerHour = instancegroup.Cents(young.USDPerHour + d.PriceHourly)
		return true
	})
	l.Keys = slices.DeleteFunc(slices.Clone(l.Keys), func(k inventory.Key) bool {
		return spared[k.Run] || s.olderThan > 0 && k.Doubt != "" && !runs[k.Run]
	})
	l.Tags = slices.DeleteFunc(slices.Clone(l.Tags), func(t inventory.Tag) bool { return s.olderThan > 0 && t.Doubt != "" })
	return l, young
}

// younger are Droplets that nobody looks after either, and that were made too lately for
// --older-than.
type younger struct {
	Droplets   int     `json:"droplets"`
	USDPerHour float64 `json:"usd_per_hour"`
}

// takes reports whether something with that doubt is swept.
func (s sweeping) takes(doubt string) bool { return s.delete && (doubt == "" || s.force) }

// advise says how to destroy what was found.
func (s sweeping) advise(t *terminal, l inventory.Leftovers, w swept) {
	if !w.found() {
		return
	}
	again := fmt.Sprintf("fleeting-plugin-digitalocean sweep%s --group %s", s.account(), w.Group)
	if s.olderThan > 0 {
		again += " --older-than " + s.olderThan.String()
	}
	if l.Doubtful() {
		t.say("hint", "if no manager of group %s lives on any host: %s --delete --force", w.Group, again)
	} else {
		t.say("hint", "%s --delete", again)
	}
}

// remove destroys what was found: Droplets first, then what needs them gone.
func (s sweeping) remove(ctx context.Context, t *terminal, g group, api *digitalocean.Client, l inventory.Leftovers, w *swept) error {
	doomed := doomedGroup{group: g}
	for _, d := range l.Droplets {
		if s.takes(d.Doubt) {
			doomed.droplets = append(doomed.droplets, d.Droplet)
		}
	}
	left, err := destroy(ctx, t, []doomedGroup{doomed}, time.Duration(s.timeout))
	for i := range w.Droplets {
		d := &w.Droplets[i]
		d.Deleted = s.takes(d.Doubt) && !slices.ContainsFunc(left, func(l instancegroup.Droplet) bool { return l.ID == d.ID })
	}
	if err != nil {
		return err
	}
	var faults []error
	for i, k := range l.Keys {
		if s.takes(k.Doubt) && ctx.Err() == nil {
			err := api.DeleteKey(ctx, k.Fingerprint)
			if w.Keys[i].Deleted = goneNow(err); !w.Keys[i].Deleted {
				faults = append(faults, g.fault(fmt.Errorf("SSH key %s: %w", k.Name, err)))
			}
		}
	}
	for i, tag := range l.Tags {
		if s.takes(tag.Doubt) && ctx.Err() == nil {
			err := api.RemoveTag(ctx, tag.Name)
			if w.Tags[i].Deleted = goneNow(err); !w.Tags[i].Deleted {
				faults = append(faults, g.fault(fmt.Errorf("tag %s: %w", tag.Name, err)))
			}
		}
	}
	if ctx.Err() != nil {
		return g.fault(errInterrupted) // what failed of that is its doing
	}
	return errors.Join(faults...)
}

func goneNow(err error) bool { return err == nil || errors.Is(err, instancegroup.ErrNotFound) }

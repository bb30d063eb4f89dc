package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

func sweepCommand(t *terminal) *cobra.Command {
	s := sweeping{destroying: destroying{t: t}}
	cmd := &cobra.Command{
		Use:   "sweep --group NAME",
		Short: "Find and delete what no plugin process manages any more",
		Long: `Find what no plugin process manages any more, and delete it: Droplets, SSH
keys and tags of plugin processes that have ended.

It lists what it finds, and asks, once for each account. Without --yes and
with nobody to ask it only lists. A group that a process on this host manages
is left out. What another host made is shown, and deleted only with
--include-unknown-managers: nothing on the account shows whether its manager
still runs. Stop that manager first. A Droplet with the tag fleeting-keep is
never deleted.

It exits with 0 if nothing was found, with 3 if something was, deleted or
not, with 1 if it failed or could not look at everything, with 2 if it was
called wrongly: so a cron job or a scheduled pipeline can alert.`,
		Example: `  $ fleeting-plugin-digitalocean sweep --token-file token -g ci --older-than 12h
  KIND     NAME                    AGE    USD/H    LEFT BY
  droplet  ci-w4n27k2m9q           14h3m  0.03571  an unknown manager
  key      fleeting-ci-w4n2c8ye1s                  an unknown manager
  tag      fleeting-delete:ci                      an unknown manager
  hint: add --include-unknown-managers, if no other host has a manager of these`,
		Args: noArgs("a group is named with --group %s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&s.unknown, "include-unknown-managers", false, "also delete what a manager on another host may still use")
	f.Var(&s.olderThan, "older-than", "Droplets of that age only, by DigitalOcean's clock")
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

// sweeping is what a sweep is to do.
type sweeping struct {
	destroying
	unknown   bool
	olderThan span
}

func (s *sweeping) run(ctx context.Context) error {
	if len(s.groups) == 0 {
		return hinted{misuse("sweep touches only groups that are named"), showGroups}
	}
	unheard()
	groups, err := s.find()
	if err != nil {
		return err
	}
	looking, cancel := bounded(ctx, s.timeout)
	defer cancel()
	all, err := s.look(looking, groups)
	if looking.Err() != nil {
		err = untouched(ended(looking))
	} else {
		if s.t.format != asJSON {
			s.show(all)
		}
		err = errors.Join(err, s.remove(ctx, all))
	}
	if s.t.format == asJSON {
		s.t.removals(all)
	}
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(all, func(w *removal) bool { return len(w.Found) > 0 }):
		return status(exitFound)
	case slices.ContainsFunc(all, func(w *removal) bool { return len(w.Unread) > 0 }):
		return hinted{errors.New("nothing was found, but not everything could be looked at"),
			"grant the token the scope that the warning names; after a 429 try again in a minute"}
	}
	return nil
}

// look looks for the leftovers of the groups.
func (s *sweeping) look(ctx context.Context, groups []group) ([]*removal, error) {
	all := []*removal{}
	var faults []error
	accounts := map[*digitalocean.Client]*inventory.Account{}
	defer s.t.done()
	for _, g := range groups {
		if accounts[g.api] == nil {
			accounts[g.api] = &inventory.Account{}
		}
		w := &removal{Group: g.Name, Found: []*item{}, group: g}
		all = append(all, w)
		s.t.step("group %s: looking for leftovers", g.Name)
		err := s.lookAt(ctx, accounts[g.api], w)
		if ctx.Err() != nil {
			w.Error = ended(ctx).Error()
			break
		}
		if err != nil {
			err = g.fault(err)
			w.Error = err.Error()
			faults = append(faults, err)
		}
	}
	return all, errors.Join(faults...)
}

func (s *sweeping) lookAt(ctx context.Context, account *inventory.Account, w *removal) error {
	here, err := state.Peek(ctx, w.group.APIURL, w.Group)
	switch {
	case err != nil:
		return err
	case here.Held:
		w.Managed = pid(here.PID)
		s.t.say("note", "group %s: plugin process %s on this host manages it, so nothing of it is swept", w.Group, w.Managed)
		return nil
	case here.Ignored != nil:
		s.t.say("warning", "group %s: what this host knows of it is ignored: %v", w.Group, here.Ignored)
	}
	found, err := account.Find(ctx, w.group.api, w.Group, here.Runs)
	if err != nil {
		return err
	}
	for _, err := range found.Unread {
		w.Unread = append(w.Unread, err.Error())
		s.t.warn("not looked for: %s", w.Unread[len(w.Unread)-1])
	}
	for _, l := range found.All {
		if !s.spares(l, found.Now) {
			w.Found = append(w.Found, newItem(l, found.Now))
		}
	}
	return nil
}

// spares reports whether --older-than leaves l out. Keys are as old as their run's youngest Droplet; a key without one, and a
// tag, are left out if a living manager may use them.
func (s *sweeping) spares(l inventory.Leftover, now time.Time) bool {
	switch {
	case s.olderThan.Duration == 0:
		return false
	case l.Created.IsZero():
		return l.Doubt != "" || l.Kind == inventory.DropletKind
	}
	return now.Sub(l.Created) < s.olderThan.Duration
}

// show lists what was found.
func (s *sweeping) show(all []*removal) {
	var rows [][]string
	for _, w := range all {
		for _, i := range w.Found {
			row := []string{string(i.Kind), i.Name, "", "", "this host"}
			if i.isDroplet() {
				row[2], row[3] = age(time.Duration(i.AgeSeconds)*time.Second), fmt.Sprintf("%.5f", i.USDPerHour)
			}
			if i.Doubt != "" {
				row[4] = "an unknown manager"
			}
			rows = append(rows, row)
		}
	}
	if len(rows) > 0 {
		fmt.Fprint(s.t.out, table([]string{"KIND", "NAME", "AGE", "USD/H", "LEFT BY"}, 1, rows, nil, s.t.room(), s.t.colours))
	}
	for _, w := range all {
		if len(w.Found) > 0 || w.Managed != "" || len(w.Unread) > 0 || w.Error != "" {
			continue
		}
		what := "nothing is left over"
		if s.olderThan.Duration > 0 {
			what += " that is older than " + s.olderThan.text
		}
		fmt.Fprintf(s.t.out, "group %s: %s\n", w.Group, what)
	}
}

// remove deletes what was found. It holds the groups' locks meanwhile, but not while it asks: no manager on this host can start.
func (s *sweeping) remove(ctx context.Context, all []*removal) error {
	var found []group
	doubtful := false
	for _, w := range all {
		g := w.group
		for _, i := range w.Found {
			if i.Doubt == "" || s.unknown {
				g.items = append(g.items, i)
			} else {
				doubtful = true
			}
		}
		if len(g.items) > 0 {
			found = append(found, g)
		}
	}
	if doubtful {
		s.t.say("hint", "add --include-unknown-managers, if no other host has a manager of these")
	}
	switch {
	case len(found) == 0 || s.dryRun:
		return nil
	case !s.yes && !s.t.asks:
		s.t.say("hint", "nothing was deleted, since there is nobody to ask: add --yes")
		return nil
	}
	approved, err := s.approve(ctx, found)
	if err != nil {
		return err
	}
	var locked []group
	var faults []error
	for _, g := range approved {
		own, err := state.Try(ctx, newLog(s.t), g.APIURL, g.Name)
		if held, ok := errors.AsType[*state.HeldError](err); ok {
			err = fmt.Errorf("plugin process %s manages it on this host since just now, so nothing of it was deleted", pid(held.PID))
		}
		if err != nil {
			faults = append(faults, g.fault(err))
			continue
		}
		defer own.Drop()
		locked = append(locked, g)
	}
	err = errors.Join(append(faults, s.destroy(ctx, locked))...)
	if s.t.format != asJSON {
		n, of := deleted(approved)
		fmt.Fprintf(s.t.out, "deleted %d of %s\n", n, count(of, "leftover"))
	}
	return err
}

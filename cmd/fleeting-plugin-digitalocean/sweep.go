package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

func sweepCommand(t *terminal) *cobra.Command {
	s := sweeping{t: t, timeout: span{15 * time.Minute, "15m"}}
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
	f.BoolVarP(&s.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&s.dryRun, "dry-run", false, "only list what is found")
	f.Var(&s.timeout, "timeout", "give up after that; what was asked for may still be carried out")
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

// sweeping is what a sweep is to do.
type sweeping struct {
	choice
	t                    *terminal
	unknown, yes, dryRun bool
	olderThan, timeout   span
}

// swept is what a sweep found of a group, and what became of it. Its JSON form is stable.
type swept struct {
	Group     string      `json:"group"`
	Managed   string      `json:"managed_by,omitempty"` // the process on this host that looks after it
	Leftovers []*leftover `json:"leftovers"`
	Younger   younger     `json:"younger,omitzero"`         // and therefore left out
	Unread    []string    `json:"not_looked_for,omitempty"` // and why
	Error     string      `json:"error,omitempty"`          // why it is not all

	group group
}

// leftover is a Droplet, an SSH key or a tag.
type leftover struct {
	Kind       inventory.Kind `json:"kind"`
	Name       string         `json:"name"`
	ID         int64          `json:"id,omitempty"`
	AgeSeconds int            `json:"age_seconds,omitempty"`
	USDPerHour float64        `json:"usd_per_hour,omitempty"`
	Doubt      string         `json:"doubt,omitempty"` // why it may be none
	Deleted    bool           `json:"deleted"`

	found inventory.Leftover
}

// younger are Droplets that nobody looks after either, and that were made too lately for
// --older-than.
type younger struct {
	Droplets   int     `json:"droplets"`
	USDPerHour float64 `json:"usd_per_hour"`
}

func (s *sweeping) run(ctx context.Context) error {
	if len(s.groups) == 0 {
		return hinted{misuse("sweep touches only groups that are named"), "give --group NAME; ls --whole-account shows which there are"}
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
		err = fmt.Errorf("%w: nothing was deleted", ended(looking))
	} else {
		if s.t.format != asJSON {
			s.show(all)
		}
		err = errors.Join(err, s.remove(ctx, all))
	}
	if s.t.format == asJSON {
		s.t.json(struct {
			Groups []*swept `json:"groups"`
		}{all})
	}
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(all, func(w *swept) bool { return len(w.Leftovers) > 0 }):
		return status(exitFound)
	case slices.ContainsFunc(all, func(w *swept) bool { return len(w.Unread) > 0 }):
		return hinted{errors.New("nothing was found, but not everything could be looked at"),
			"grant the token the scope that the warning names; after a 429 try again in a minute"}
	}
	return nil
}

// look looks for the leftovers of the groups.
func (s *sweeping) look(ctx context.Context, groups []group) ([]*swept, error) {
	all := []*swept{}
	var faults []error
	defer s.t.done()
	for _, account := range byAccount(groups) {
		var shared inventory.Account
		warned := map[string]bool{} // what is said of an account is not said for each group
		for _, g := range account {
			w := &swept{Group: g.Name, Leftovers: []*leftover{}, group: g}
			all = append(all, w)
			s.t.step("group %s: looking for leftovers", g.Name)
			err := s.lookAt(ctx, &shared, w)
			if ctx.Err() != nil {
				w.Error = ended(ctx).Error()
				return all, nil
			}
			if err != nil {
				err = g.fault(err)
				w.Error = err.Error()
				faults = append(faults, err)
			}
			for _, u := range w.Unread {
				if !warned[u] {
					s.t.say("warning", "not looked for: %s", u)
				}
				warned[u] = true
			}
		}
	}
	return all, errors.Join(faults...)
}

func (s *sweeping) lookAt(ctx context.Context, shared *inventory.Account, w *swept) error {
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
	l, err := shared.Find(ctx, w.group.api, w.Group, here.DeadRuns())
	if err != nil {
		return err
	}
	for _, err := range l.Unread {
		w.Unread = append(w.Unread, err.Error())
	}
	s.sift(l, w)
	return nil
}

// sift takes down what is asked for, and counts the Droplets that are too young. Keys
// and tags have no age: with --older-than those of a run that may live are left out, a key
// only unless one of the run's Droplets is old enough.
func (s *sweeping) sift(l inventory.Leftovers, w *swept) {
	old, spared := map[string]bool{}, map[string]bool{} // runs, by their Droplets
	for _, x := range l.All {
		one := &leftover{Kind: x.Kind, Name: x.Name, Doubt: x.Doubt, found: x}
		if x.Kind == inventory.DropletKind {
			age := x.Droplet.Age(l.Now)
			if age < s.olderThan.Duration {
				spared[x.Run] = true
				w.Younger.Droplets++
				w.Younger.USDPerHour = instancegroup.Cents(w.Younger.USDPerHour + x.Droplet.PriceHourly)
				continue
			}
			old[x.Run] = true
			one.ID, one.AgeSeconds, one.USDPerHour = x.Droplet.ID, max(0, int(age.Seconds())), x.Droplet.PriceHourly
		} else if spared[x.Run] || s.olderThan.Duration > 0 && x.Doubt != "" && !old[x.Run] {
			continue
		}
		w.Leftovers = append(w.Leftovers, one)
	}
}

// show lists what was found.
func (s *sweeping) show(all []*swept) {
	var rows [][]string
	for _, w := range all {
		for _, l := range w.Leftovers {
			row := []string{string(l.Kind), l.Name, "", "", "this host"}
			if l.ID != 0 {
				row[2], row[3] = age(time.Duration(l.AgeSeconds)*time.Second), fmt.Sprintf("%.5f", l.USDPerHour)
			}
			if l.Doubt != "" {
				row[4] = "an unknown manager"
			}
			rows = append(rows, row)
		}
	}
	most := 0
	if s.t.live {
		most = columns(os.Stdout)
	}
	if len(rows) > 0 {
		fmt.Fprint(s.t.out, table([]string{"KIND", "NAME", "AGE", "USD/H", "LEFT BY"}, 1, rows, nil, most, s.t.colours))
	}
	for _, w := range all {
		switch {
		case w.Younger.Droplets > 0:
			fmt.Fprintf(s.t.out, "group %s: %s too young for --older-than, %.5f USD an hour\n",
				w.Group, count(w.Younger.Droplets, "Droplet"), w.Younger.USDPerHour)
		case len(w.Leftovers) > 0 || w.Managed != "" || w.Error != "":
		case len(w.Unread) > 0:
			fmt.Fprintf(s.t.out, "group %s: no Droplet is left over; not everything was looked for\n", w.Group)
		default:
			fmt.Fprintf(s.t.out, "group %s: nothing is left over\n", w.Group)
		}
	}
}

// remove destroys what was found: Droplets first, then what needs them gone. It holds the
// groups' locks meanwhile, but not while it asks: no manager on this host can start.
func (s *sweeping) remove(ctx context.Context, all []*swept) error {
	var found []group
	doubtful := false
	for _, w := range all {
		g := w.group
		for _, l := range w.Leftovers {
			if l.Doubt != "" && !s.unknown {
				doubtful = true
				continue
			}
			g.leftovers = append(g.leftovers, l)
			if l.Kind == inventory.DropletKind {
				g.droplets = append(g.droplets, l.found.Droplet)
			}
		}
		if len(g.leftovers) > 0 {
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
	approved, err := approve(ctx, s.t, found, s.yes, s.timeout)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx, s.timeout)
	defer cancel()
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
	left, err := destroy(ctx, s.t, locked)
	faults = append(faults, err)
	for _, g := range locked {
		faults = append(faults, g.removeRest(ctx, left))
	}
	n, destroyed := 0, 0
	for _, g := range approved {
		for _, l := range g.leftovers {
			if n++; l.Deleted {
				destroyed++
			}
		}
	}
	if s.t.format != asJSON {
		fmt.Fprintf(s.t.out, "deleted %d of %s\n", destroyed, count(n, "leftover"))
	}
	return errors.Join(faults...)
}

// removeRest removes a group's keys and tags, unless some of its Droplets, which need them, are left.
func (g group) removeRest(ctx context.Context, left []instancegroup.Droplet) error {
	isLeft := func(l *leftover) bool {
		return slices.ContainsFunc(left, func(x instancegroup.Droplet) bool { return x.ID == l.ID })
	}
	for _, l := range g.leftovers {
		l.Deleted = l.Kind == inventory.DropletKind && !isLeft(l)
	}
	if slices.ContainsFunc(g.leftovers, isLeft) {
		return nil
	}
	var faults []error
	for _, l := range g.leftovers {
		if l.Deleted {
			continue
		}
		err := ctx.Err()
		if err == nil {
			one, cancel := context.WithTimeout(ctx, removeBound)
			err = l.found.Remove(one, g.api)
			cancel()
		}
		if ctx.Err() != nil && err != nil {
			err = ended(ctx) // what failed of that is its doing
		}
		if l.Deleted = err == nil; !l.Deleted {
			faults = append(faults, g.fault(fmt.Errorf("%s: %w", l.found, err)))
		}
	}
	return errors.Join(faults...)
}

// removeBound is how long one that is not answered keeps the others waiting.
const removeBound = 20 * time.Second

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

func rmCommand(t *terminal) *cobra.Command {
	var c choice
	var all, yes bool
	timeout := span(removeBound)
	cmd := &cobra.Command{
		Use:   "rm [NAME...]",
		Short: "Destroy Droplets, and wait until they are gone",
		Long: `Destroy Droplets of the plugin's groups, and wait until DigitalOcean shows them gone.

It shows what is to be destroyed, on standard error, and asks. Only what a group made can be named: a Droplet that merely
carries its tag is refused, and so is one with the tag fleeting-keep. A job that runs on a Droplet fails with it. While a
runner manages the group it makes new ones as its policy says: stop it first to be rid of all.

It exits with 0 when all are gone, with 1 if some are not, with 2 if it was called wrongly.`,
		Example: `  $ sudo systemctl stop gitlab-runner
  $ sudo fleeting-plugin-digitalocean rm --all
  NAME           STATE   SIZE         REGION  ADDRESS      AGE  USD/H    USD SO FAR  IMAGE         RUN
  ci-w4n27k2m9q  active  s-2vcpu-4gb  fra1    203.0.113.7  12m  0.03571  0.01        docker-20-04  w4n2
  1 Droplet: 0.03571 USD an hour, 0.01 USD so far
  Destroy it? [y/N] y
  1 Droplet is gone`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return hinted{misuse("rm takes names or --all, not both"), program + " ls shows the names"}
			case !all && len(args) == 0:
				return hinted{misuse("rm needs the names of Droplets, or --all"), program + " ls shows the names"}
			}
			return rm(cmd.Context(), t, c, args, yes, time.Duration(timeout))
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every Droplet of the group")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask; needed where there is nobody to ask")
	cmd.Flags().Var(&timeout, "timeout", "give up after that; what was asked for may still be carried out")
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

func rm(ctx context.Context, t *terminal, c choice, names []string, yes bool, timeout time.Duration) error {
	unheard()
	groups, unread, err := c.find(t)
	if err != nil {
		return err
	}
	t.waits("asking DigitalOcean")
	doomed, err := choose(ctx, t, groups, unread, names)
	t.done()
	if err != nil {
		return err
	}
	var shown listing
	for _, d := range doomed {
		shown.add(d.Name, d.droplets, time.Now())
	}
	if shown.Droplets > 0 {
		// Not to standard output: that may be a file, and --json's.
		_, _ = io.WriteString(t.err, shown.text(t.colours && t.liveErr))
		for _, d := range doomed {
			d.warnManager(ctx, t)
		}
	}
	if shown.Droplets > 0 && !yes {
		question := "Destroy it?"
		if shown.Droplets > 1 {
			question = fmt.Sprintf("Destroy these %d?", shown.Droplets)
		}
		if err := t.confirm(ctx, question); err != nil {
			return err
		}
	}
	left, err := destroy(ctx, t, doomed, timeout)
	if t.format == asJSON {
		t.json(removed(shown, left))
	}
	switch {
	case errors.Is(err, instancegroup.ErrForbidden), errors.Is(err, instancegroup.ErrUnauthorized), errors.Is(err, instancegroup.ErrOtherAccount):
		return err // whose hint is about the token
	case err != nil:
		return hinted{err, "fleeting-plugin-digitalocean ls shows what is left"}
	}
	if t.format != asJSON {
		fmt.Fprintln(t.out, gone(shown.Droplets))
	}
	for _, d := range doomed {
		if d.unread != nil {
			hint := "try again in a minute"
			if errors.Is(d.unread, instancegroup.ErrForbidden) {
				hint = "grant the token the scope that the warning names"
			}
			return hinted{errors.New("not all could be looked for, as the warning says: the groups may have more, and they are billed"), hint}
		}
	}
	return nil
}

func gone(n int) string {
	switch n {
	case 0:
		return "there is nothing to destroy"
	case 1:
		return "1 Droplet is gone"
	}
	return fmt.Sprintf("%d Droplets are gone", n)
}

// choose finds the Droplets of names, or all if there are none. A name that is not
// there is an error: it may be a slip. A group that cannot be listed is one too, and so
// is unread, for the groups that are not known at all, unless all names are found in the
// others.
//
// Invariant: who is told that all are gone has none left. (TestScripts, unread-runner)
func choose(ctx context.Context, t *terminal, groups []group, unread error, names []string) ([]doomedGroup, error) {
	var chosen []doomedGroup
	var unlisted []error
	if unread != nil {
		unlisted = append(unlisted, unread)
	}
	known, had := map[string]bool{}, seen{}
	var strange, kept []string
	for _, g := range groups {
		found, err := g.list(ctx, false)
		if ctx.Err() != nil {
			return nil, errUntouched
		}
		if err != nil {
			unlisted = append(unlisted, g.explain(err, len(groups)))
			continue
		}
		if found.Unread != nil {
			t.say("warning", "%s", g.unlooked(found.Unread))
		}
		d := doomedGroup{group: g}
		if len(names) == 0 {
			d.unread = found.Unread
		}
		for _, k := range had.fresh(g, found.Kept) {
			kept = append(kept, k.Name)
			if len(names) == 0 {
				t.say("warning", "group %s: %s stays, and is billed, %.5f USD an hour: it has the tag %s", g.Name, k.Name, k.PriceHourly, instancegroup.KeepTag)
			}
		}
		for _, o := range had.fresh(g, found.Owned) {
			if len(names) == 0 || slices.Contains(names, o.Name) {
				d.droplets = append(d.droplets, o)
				known[o.Name] = true
			}
		}
		for _, s := range found.Strangers {
			strange = append(strange, s.Name)
		}
		chosen = append(chosen, d)
	}
	var faults []error
	for _, n := range names {
		switch {
		case slices.Contains(strange, n):
			faults = append(faults, fmt.Errorf("%s carries a group's tag but not a name that the plugin made; it is left alone", n))
		case slices.Contains(kept, n):
			faults = append(faults, fmt.Errorf("%s has the tag %s: it is left alone until somebody takes that off", n, instancegroup.KeepTag))
		case !known[n]:
			faults = append(faults, fmt.Errorf("no Droplet of %s is named %s", groupNames(groups), n))
		}
	}
	switch {
	case len(unlisted) > 0 && (len(names) == 0 || len(faults) > 0):
		return nil, fmt.Errorf("%w\nnothing was destroyed", errors.Join(append(unlisted, faults...)...))
	case len(faults) > 0:
		return nil, hinted{fmt.Errorf("%w\nnothing was destroyed", errors.Join(faults...)), "fleeting-plugin-digitalocean ls shows the names"}
	}
	for _, err := range unlisted {
		t.say("warning", "%v", err)
	}
	return chosen, nil
}

func groupNames(groups []group) string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	if len(names) == 1 {
		return "group " + names[0]
	}
	return "the groups " + strings.Join(names, ", ")
}

// warnManager warns of a manager on this host.
func (d doomedGroup) warnManager(ctx context.Context, t *terminal) {
	if len(d.droplets) == 0 {
		return
	}
	if s, err := state.Peek(ctx, d.APIURL, d.Name); err == nil && s.Held { // an error hides only a warning
		t.say("warning", "a runner on this host manages group %s (plugin process %s): a job on these Droplets fails, "+
			"and the runner may ask for others", d.Name, pid(s.PID))
	}
}

// pid names a process.
func pid(n int) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}

// removal is what --json shows.
type removal struct {
	Destroyed []listedDroplet `json:"destroyed"`
	Left      []listedDroplet `json:"left"`
}

func removed(l listing, left []instancegroup.Droplet) removal {
	r := removal{Destroyed: []listedDroplet{}, Left: []listedDroplet{}}
	for _, g := range l.Groups {
		for _, d := range g.Droplets {
			if slices.ContainsFunc(left, func(l instancegroup.Droplet) bool { return l.ID == d.ID }) {
				r.Left = append(r.Left, d)
			} else {
				r.Destroyed = append(r.Destroyed, d)
			}
		}
	}
	return r
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

func rmCommand(t *terminal) *cobra.Command {
	r := removing{t: t, timeout: span{15 * time.Minute, "15m"}}
	cmd := &cobra.Command{
		Use:   "rm {NAME | ID}... | --all",
		Short: "Delete Droplets, and wait until they are gone",
		Long: `Delete Droplets of the plugin's groups, and wait until DigitalOcean shows
them gone.

It shows on standard error what it will delete, and on whose account, and asks
once for each account. It refuses a Droplet that no group made, and one with
the tag fleeting-keep. A job that runs on a Droplet fails. A runner that manages
the group makes new ones, as its policy says: stop it first to delete all.

It exits with 0 when all are gone, with 1 if some are not, with 2 if it was
called wrongly.`,
		Example: `  $ sudo systemctl stop gitlab-runner
  $ sudo fleeting-plugin-digitalocean rm --all
  NAME           STATE   SIZE         REGION  ADDRESS      AGE  USD/H
  ci-w4n27k2m9q  active  s-2vcpu-4gb  fra1    203.0.113.7  12m  0.03571
  1 Droplet: 0.03571 USD an hour, 0.01 USD so far
  account: "acme", jane@example.com (token from plugin_config.token_file ...)
  Delete 1 Droplet of group ci? [y/N] y
  1 Droplet gone`,
		RunE: func(cmd *cobra.Command, names []string) error { return r.run(cmd.Context(), names) },
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&r.all, "all", false, "every Droplet of the group")
	f.BoolVar(&r.allGroups, "all-groups", false, "with --all: of every group in config.toml, where it has several")
	f.BoolVarP(&r.yes, "yes", "y", false, "do not ask; needed where there is nobody to ask")
	f.BoolVar(&r.dryRun, "dry-run", false, "only show what would be deleted")
	f.Var(&r.timeout, "timeout", "give up after that; what was asked for may still be carried out")
	t.formatFlags(cmd, asTable, asWide, asJSON)
	cmd.ValidArgsFunction = r.completeDroplets
	return cmd
}

// removing is what rm is to do.
type removing struct {
	choice
	t                           *terminal
	all, allGroups, yes, dryRun bool
	timeout                     span
}

func (r *removing) run(ctx context.Context, names []string) error {
	switch {
	case r.all && len(names) > 0:
		return hinted{misuse("rm takes names or --all, not both"), showNames}
	case !r.all && len(names) == 0:
		return hinted{misuse("rm needs the names of Droplets, or --all"), showNames}
	}
	unheard()
	groups, err := r.find()
	if err != nil {
		return err
	}
	if r.all && len(groups) > 1 && len(r.groups) == 0 && !r.allGroups {
		return hinted{misuse("--all of which group? There are " + groupNames(groups)), "give --group NAME, or --all-groups"}
	}
	chosen, err := r.choose(ctx, groups, names)
	if err != nil {
		r.result(nil, nil)
		return err
	}
	r.show(ctx, chosen)
	var untouched []instancegroup.Droplet
	for _, g := range chosen {
		untouched = append(untouched, g.droplets...)
	}
	if r.dryRun {
		r.result(chosen, untouched)
		return nil
	}
	approved, err := approve(ctx, r.t, chosen, r.yes, r.timeout)
	if err != nil {
		r.result(chosen, untouched)
		return err
	}
	ctx, cancel := bounded(ctx, r.timeout)
	defer cancel()
	left, err := destroy(ctx, r.t, approved)
	if r.all && err == nil {
		left, err = r.again(ctx, approved)
	}
	destroyed := r.result(approved, left)
	switch {
	case inventory.Permanent(err):
		return err // whose hint is about the token
	case err != nil:
		return hinted{err, showLeft}
	case r.t.format != asJSON:
		fmt.Fprintln(r.t.out, count(destroyed, "Droplet"), "gone")
	}
	return nil
}

// again finds what the list before lacked, and adds it to the groups: the pages of a long list shift while
// Droplets come and go. What was made since is not meant.
func (r *removing) again(ctx context.Context, approved []group) (left []instancegroup.Droplet, err error) {
	r.t.waits("asking DigitalOcean again")
	all := look(ctx, approved, false)
	r.t.done()
	var faults []error
	for _, f := range all {
		i := slices.IndexFunc(approved, func(g group) bool { return g.Name == f.Name && g.api == f.api })
		g, n := &approved[i], len(left)
		for _, d := range f.Owned {
			if !d.Created.After(g.listed) && !slices.ContainsFunc(g.droplets, func(o instancegroup.Droplet) bool { return o.ID == d.ID }) {
				left, g.droplets = append(left, d), append(g.droplets, d)
			}
		}
		switch {
		case ctx.Err() != nil:
			faults = append(faults, g.fault(fmt.Errorf("whether the list lacked some is not known: %w", ended(ctx))))
		case f.err != nil:
			faults = append(faults, fmt.Errorf("whether the list lacked some is not known: %w", f.err))
		case len(left) > n:
			faults = append(faults, g.fault(fmt.Errorf("%s that the list lacked, and not deleted: run it again", count(len(left)-n, "more Droplet"))))
		}
	}
	return left, errors.Join(faults...)
}

const (
	showNames = program + " ls shows the names"
	showLeft  = program + " ls shows what is left"
)

// choose finds the Droplets of names, or all if there are none. A name that is not
// there is an error: it may be a slip. A group that cannot be listed is one too.
//
// Invariant: who is told that all are gone has none left. (TestScripts, unread-runner)
func (r *removing) choose(ctx context.Context, groups []group, names []string) (chosen []group, err error) {
	ctx, cancel := bounded(ctx, r.timeout)
	defer cancel()
	r.t.waits("asking DigitalOcean")
	all := look(ctx, groups, false)
	r.t.done()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: nothing was deleted", ended(ctx))
	}
	r.t.unread(all)
	why := map[string]error{} // of each name and id that is there; nil = it can be destroyed
	note := func(d instancegroup.Droplet, err error) { why[d.Name], why[strconv.FormatInt(d.ID, 10)] = err, err }
	wanted := func(d instancegroup.Droplet) bool {
		return r.all || slices.Contains(names, d.Name) || slices.Contains(names, strconv.FormatInt(d.ID, 10))
	}
	var faults []error
	for _, f := range all {
		if f.err != nil {
			faults = append(faults, f.err)
			continue
		}
		for _, d := range f.Strangers {
			note(d, fmt.Errorf("%s carries a group's tag but not a name that the plugin made; it is left alone", d.Name))
		}
		for _, d := range f.Kept {
			note(d, fmt.Errorf("%s has the tag %s: it is left alone until somebody takes that off", d.Name, instancegroup.KeepTag))
			if r.all {
				r.t.say("warning", "group %s: %s stays, and is billed, %.5f USD an hour: it has the tag %s",
					f.Name, d.Name, d.PriceHourly, instancegroup.KeepTag)
			}
		}
		for _, d := range f.Owned {
			note(d, nil)
			if wanted(d) {
				f.droplets = append(f.droplets, d)
			}
		}
		if f.listed = f.Now; len(f.droplets) > 0 {
			chosen = append(chosen, f.group)
		}
	}
	unknown := len(faults) > 0
	for _, n := range names {
		err, there := why[n]
		if !there {
			err = fmt.Errorf("no Droplet %s in %s", n, groupNames(groups))
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	switch err := errors.Join(faults...); {
	case err == nil:
		return chosen, nil
	case unknown:
		return nil, fmt.Errorf("%w\nnothing was deleted", err)
	default:
		return nil, hinted{fmt.Errorf("%w\nnothing was deleted", err), showNames}
	}
}

// show shows what is to be destroyed: not on standard output, which may be a file.
func (r *removing) show(ctx context.Context, chosen []group) {
	var all report
	for _, g := range chosen {
		all.add(g.Name, g.droplets, time.Now())
	}
	if all.Droplets > 0 {
		_, _ = io.WriteString(r.t.err, all.text(r.t.format == asWide, r.t.liveErr, r.t.errColours, columns(os.Stderr)))
	}
	for _, g := range chosen {
		if s, err := state.Peek(ctx, g.APIURL, g.Name); err == nil && s.Held { // an error hides only a warning
			r.t.say("warning", "a runner on this host manages group %s (plugin process %s): a job on these Droplets fails, "+
				"and the runner may ask for others", g.Name, pid(s.PID))
		}
	}
}

// pid names a process.
func pid(n int) string {
	if n == 0 {
		return "unknown"
	}
	return strconv.Itoa(n)
}

// result is what became of it, as JSON if that is asked for.
func (r *removing) result(groups []group, left []instancegroup.Droplet) (destroyed int) {
	result := struct {
		Deleted []reportedDroplet `json:"deleted"`
		Left    []reportedDroplet `json:"left"` // by --dry-run, or may be gone, which was not confirmed
	}{[]reportedDroplet{}, []reportedDroplet{}}
	for _, g := range groups {
		for _, d := range g.droplets {
			to := &result.Deleted
			if slices.ContainsFunc(left, func(l instancegroup.Droplet) bool { return l.ID == d.ID }) {
				to = &result.Left
			}
			*to = append(*to, reported(d, time.Now()))
		}
	}
	if r.t.format == asJSON {
		r.t.json(result)
	}
	return len(result.Deleted)
}

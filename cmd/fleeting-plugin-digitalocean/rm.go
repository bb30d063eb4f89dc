package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

func rmCommand(t *terminal) *cobra.Command {
	r := removing{destroying: destroying{t: t}}
	cmd := &cobra.Command{
		Use:   "rm {NAME | ID}... | --all",
		Short: "Delete Droplets, and wait until they are gone",
		Long: `Delete Droplets of the plugin's groups, and wait until DigitalOcean shows
them gone.

It shows on standard error what it will delete, and on whose account, and asks
once for each account. It refuses a Droplet that no group made, and one with
the tag fleeting-keep. A job that runs on a Droplet fails. A runner that manages
the group makes new ones, as its policy says: stop it first to delete all.`,
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
	t.formatFlags(cmd, asTable, asWide, asJSON)
	cmd.ValidArgsFunction = r.completeDroplets
	return cmd
}

// removing is what rm is to do.
type removing struct {
	destroying
	all, allGroups bool
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
		return err
	}
	r.show(ctx, chosen)
	if !r.dryRun {
		err = r.remove(ctx, chosen)
	}
	if r.t.format == asJSON {
		all := []*removal{}
		for _, g := range chosen {
			all = append(all, &removal{Group: g.Name, Found: g.items})
		}
		r.t.removals(all)
	} else if err == nil && !r.dryRun {
		gone, _ := deleted(chosen)
		fmt.Fprintln(r.t.out, count(gone, "Droplet"), "gone")
	}
	return err
}

// remove deletes what is approved of what was chosen.
func (r *removing) remove(ctx context.Context, chosen []group) error {
	approved, err := r.approve(ctx, chosen)
	if err != nil {
		return err
	}
	err = r.destroy(ctx, approved)
	if r.all && err == nil {
		err = r.again(ctx, approved)
	}
	if err != nil && !inventory.Permanent(err) { // whose hint is about the token
		return hinted{err, showLeft}
	}
	return err
}

// again finds what the list before lacked: the pages of a long list shift while Droplets come and go. What was made since is
// not meant.
func (r *removing) again(ctx context.Context, approved []group) error {
	ctx, cancel := bounded(ctx, r.timeout)
	defer cancel()
	var faults []error
	for _, f := range r.t.look(ctx, approved) {
		if f.err != nil {
			faults = append(faults, fmt.Errorf("whether the list lacked some is not known: %w", f.err))
		}
		more := slices.DeleteFunc(f.Owned, func(d instancegroup.Droplet) bool {
			return d.Created.After(f.listed) || slices.ContainsFunc(f.items, func(i *item) bool { return i.ID == d.ID })
		})
		if len(more) > 0 {
			faults = append(faults, f.fault(fmt.Errorf("%s that the list lacked, and not deleted: run it again", count(len(more), "more Droplet"))))
		}
	}
	return errors.Join(faults...)
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
	all := r.t.look(ctx, groups)
	if ctx.Err() != nil {
		return nil, untouched(ended(ctx))
	}
	var faults []error
	there := map[string]bool{} // names and ids
	unknown := false           // a group could not be listed: what is not there may be in it
	for _, f := range all {
		if f.err != nil {
			faults, unknown = append(faults, f.err), true
		}
		for _, d := range slices.Concat(f.Owned, f.Kept, f.Strangers) {
			id := strconv.FormatInt(d.ID, 10)
			there[d.Name], there[id] = true, true
			named := slices.Contains(names, d.Name) || slices.Contains(names, id)
			if !named && !r.all {
				continue
			}
			switch err := refusal(d, f.Name); {
			case err == nil:
				f.items = append(f.items, newItem(inventory.Leftover{Kind: inventory.DropletKind, Name: d.Name, Droplet: d}, f.Now))
			case named:
				faults = append(faults, err)
			default:
				r.t.say("warning", "group %s: %v, and billed, %.5f USD an hour", f.Name, err, d.PriceHourly)
			}
		}
		if f.listed = f.Now; len(f.items) > 0 {
			chosen = append(chosen, f.group)
		}
	}
	for _, n := range names {
		if !there[n] && !unknown {
			faults = append(faults, hinted{fmt.Errorf("no Droplet %s in %s", n, groupNames(groups)), showNames})
		}
	}
	if faults != nil {
		return nil, fmt.Errorf("%w\nnothing was deleted", errors.Join(faults...))
	}
	return chosen, nil
}

// refusal is why a Droplet that a list of the group has is left alone; nil = it is not.
func refusal(d instancegroup.Droplet, group string) error {
	switch {
	case instancegroup.GroupOf(d) != group:
		return fmt.Errorf("%s has a tag of the group but not a name that the plugin made: it is left alone", d.Name)
	case instancegroup.Kept(d):
		return fmt.Errorf("%s has the tag %s: it is left alone", d.Name, instancegroup.KeepTag)
	}
	return nil
}

// show shows what is to be deleted: not on standard output, which may be a file.
func (r *removing) show(ctx context.Context, chosen []group) {
	var all report
	for _, g := range chosen {
		all.add(g.Name, droplets([]group{g}), g.listed)
	}
	if all.Droplets > 0 {
		room := 0
		if r.t.liveErr {
			room = columns(os.Stderr)
		}
		_, _ = io.WriteString(r.t.err, all.text(r.t.format == asWide, room, r.t.errColours))
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

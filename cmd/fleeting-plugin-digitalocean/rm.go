package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// rmCommand deletes. Orphans are its business, and no command's of their own: they are found in another way, and then shown,
// asked for, deleted and reported as Droplets are.
func rmCommand(t *terminal) *cobra.Command {
	r := removing{t: t, timeout: span{15 * time.Minute, "15m"}}
	cmd := &cobra.Command{
		Use:   "rm {NAME | ID}... | --all | --orphans",
		Short: "Delete Droplets, or what no plugin process manages any more",
		Long: `Delete Droplets of the plugin's groups, and wait until DigitalOcean shows
them gone. It shows what it will delete, and on whose account, and asks once for
each account. It refuses a Droplet that no group made, and one with the tag
fleeting-keep. A job that runs on a Droplet fails. A runner that manages the
group makes new ones, as its policy says: stop it first to delete all.

--orphans deletes Droplets and SSH keys of plugin processes that have ended, in
groups that no process on this host manages. What another host made is deleted
only with --include-unknown-managers: nothing on the account shows whether its
manager still runs. Stop that manager first.

It exits with 0 if it deleted all that it found but for Droplets with the tag
fleeting-keep, with 3 if it left something else, as with --dry-run, with 1 if it
failed or could not look at everything, with 2 if it was called wrongly: so a
cron job can alert.`,
		Example: `  $ sudo systemctl stop gitlab-runner
  $ sudo fleeting-plugin-digitalocean rm --all
  KIND     NAME           AGE  USD/H
  droplet  ci-w4n27k2m9q  12m  0.03571
  account: "acme", jane@example.com (token from plugin_config.token_file ...)
  Delete 1 Droplet? [y/N] y
  deleted 1 of 1`,
		RunE: func(cmd *cobra.Command, names []string) error { return r.run(cmd.Context(), names) },
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&r.all, "all", false, "every Droplet of the group")
	f.BoolVar(&r.orphans, "orphans", false, "what no plugin process manages any more")
	f.BoolVar(&r.allGroups, "all-groups", false, "with --all or --orphans: of every group in config.toml, where it has several")
	f.BoolVar(&r.unknown, "include-unknown-managers", false, "also orphans that a manager on another host may still use")
	f.Var(&r.olderThan, "older-than", "only orphans that are older, by DigitalOcean's clock")
	f.BoolVarP(&r.yes, "yes", "y", false, "do not ask; needed where there is nobody to ask")
	f.BoolVar(&r.dryRun, "dry-run", false, "only show what would be deleted")
	f.Var(&r.timeout, "timeout", "give up after that: a list, a look at the account, all deletions on an account; what was asked for may still be carried out")
	t.formatFlags(cmd, asTable, asJSON)
	cmd.ValidArgsFunction = r.completeDroplets
	return cmd
}

// removing is what rm is to do.
type removing struct {
	choice
	t                                             *terminal
	all, orphans, allGroups, unknown, yes, dryRun bool
	olderThan, timeout                            span
}

var errUntouched = errors.New("nothing was deleted")

func (r *removing) run(ctx context.Context, names []string) error {
	switch {
	case len(names) > 0 == (r.all || r.orphans) || r.all && r.orphans:
		return hinted{misuse("rm takes names of Droplets, or --all, or --orphans"), r.showNames()}
	case !r.orphans && (r.unknown || r.olderThan.Duration > 0):
		return misuse("--include-unknown-managers and --older-than go with --orphans")
	}
	unheard()
	groups, err := r.find()
	if err != nil {
		return err
	}
	if len(names) == 0 && len(groups) > 1 && len(r.groups) == 0 && !r.allGroups {
		return hinted{misuse(fmt.Sprintf("of which of the %d groups?", len(groups))), "give --group NAME, or --all-groups"}
	}
	all, err := r.choose(ctx, groups, names)
	if err == nil {
		err = r.remove(ctx, groups, all)
	} else {
		err = errors.Join(err, errUntouched)
	}
	if r.t.format == asJSON {
		r.t.json(reportOf(all))
	}
	gone, of := deleted(all)
	switch {
	case err != nil:
		return err
	case r.orphans && slices.ContainsFunc(all, func(f *found) bool { return f.Unread != nil }):
		return hinted{errors.New("not everything could be looked at"),
			"grant the token the scope that the warning names; after a 429 try again in a minute"}
	case gone < of:
		return status(exitFound)
	case of == 0 && r.t.format != asJSON:
		fmt.Fprintln(r.t.out, "nothing to delete")
	}
	return nil
}

// choose finds what is to be deleted. A name that is not there, or a group that cannot be listed, is an error: who is told
// that all are gone has none left. (TestScripts, unread-runner)
func (r *removing) choose(ctx context.Context, groups []group, names []string) ([]*found, error) {
	ctx, cancel := bounded(ctx, r.timeout)
	defer cancel()
	all, err := r.t.look(ctx, groups, r.lookAt)
	if err != nil || r.orphans {
		return all, err
	}
	var faults []error
	missing := slices.Clone(names)
	for _, f := range all {
		f.Found = slices.DeleteFunc(f.Found, func(e *entry) bool {
			is := func(word string) bool { return word == e.Name || word == fmt.Sprint(e.ID) }
			named := slices.ContainsFunc(names, is)
			missing = slices.DeleteFunc(missing, is)
			if e.Kept && named {
				faults = append(faults, fmt.Errorf("%s has the tag %s: it is left alone", e.Name, instancegroup.KeepTag))
			} else if e.Kept && r.all {
				r.t.say("warning", "%s has the tag %s: it is left alone, and billed, %.5f USD an hour",
					e.Name, instancegroup.KeepTag, e.USDPerHour)
			}
			return e.Kept || !named && !r.all
		})
	}
	for _, n := range missing {
		faults = append(faults, hinted{fmt.Errorf("no Droplet %s was found", n), r.showNames()})
	}
	return all, errors.Join(faults...)
}

func (r *removing) showNames() string { return r.command("ls") + " shows the names" }

// lookAt finds a group's Droplets, or its orphans.
func (r *removing) lookAt(ctx context.Context, f *found) error {
	here, unknown := state.Peek(ctx, f.APIURL, f.Name)
	f.Managed = here.Held
	switch {
	case !r.orphans: // what is unknown hides only a warning
		return list(ctx, f)
	case unknown != nil:
		return unknown
	case here.Command:
		return fmt.Errorf("another rm works on it (process %d): run it again when it has ended", here.PID)
	case here.Held:
		r.t.say("note", "group %s: plugin process %d on this host manages it, so nothing of it is an orphan", f.Name, here.PID)
		return nil
	case here.Ignored != nil:
		r.t.say("warning", "group %s: what this host knows of it is ignored: %v", f.Name, here.Ignored)
	}
	all, seen, err := f.shared.Find(ctx, f.api, f.Name, here.Runs)
	if err != nil {
		return err
	}
	f.saw(seen)
	for _, i := range all {
		if !r.spares(i, f.now) {
			f.add(i)
		}
	}
	return nil
}

// spares reports whether --older-than leaves an item out. A key without a Droplet has no age: a living manager may use it.
func (r *removing) spares(i *inventory.Item, now time.Time) bool {
	ageless := i.Created.IsZero() && (i.Doubt != "" || i.Kind == inventory.DropletKind)
	return r.olderThan.Duration > 0 && (ageless || now.Sub(i.Created) < r.olderThan.Duration)
}

// targets are those of what was found that may be deleted.
func (r *removing) targets(groups ...*found) (items []*inventory.Item) {
	for _, f := range groups {
		for _, e := range f.Found {
			if e.Doubt == "" || r.unknown {
				items = append(items, e.Item)
			}
		}
	}
	return items
}

// show shows what was found: not on standard output, which may be a file.
func (r *removing) show(here []*found) {
	heads := []string{"KIND", "NAME", "AGE", "USD/H"}
	if r.orphans {
		heads = append(heads, "LEFT BY")
	}
	_, _ = io.WriteString(r.t.err, entries(here, heads, columns(os.Stderr), r.t.errColours))
	for _, f := range here {
		if f.Managed {
			r.t.say("warning", "a runner on this host manages group %s: a job on these Droplets fails, "+
				"and the runner may ask for others", f.Name)
		}
		if !r.unknown && slices.ContainsFunc(f.Found, func(e *entry) bool { return e.Doubt != "" }) {
			r.t.say("hint", "add --include-unknown-managers, if no other host has a manager of group %s", f.Name)
		}
	}
}

// remove shows what was found, deletes what is approved of it, and says how much that was.
func (r *removing) remove(ctx context.Context, groups []group, all []*found) error {
	approved, err := r.approve(ctx, all)
	if err != nil {
		return errors.Join(err, errUntouched)
	}
	ctx, stop := finishing(ctx)
	defer stop()
	for _, here := range approved {
		err = errors.Join(err, r.destroy(ctx, here))
	}
	if r.all && approved != nil && err == nil {
		err = r.again(ctx, groups, all)
	}
	if gone, of := deleted(all); r.t.format != asJSON && of > 0 {
		if r.dryRun {
			fmt.Fprintf(r.t.out, "would delete %d of %d\n", len(r.targets(all...)), of)
		} else {
			fmt.Fprintf(r.t.out, "deleted %d of %d\n", gone, of)
		}
	}
	if err != nil && digitalocean.Hint(err) == "" {
		if r.orphans { // ls shows no keys
			return hinted{err, r.command("rm", "--orphans", "--dry-run") + " shows what is left"}
		}
		return hinted{err, r.command("ls") + " shows what is left"}
	}
	return err
}

// approve shows what was found on each account, says whose that is, and asks a person whether to delete it; --yes stands
// for the answer. It returns the groups of each account where that may be done.
func (r *removing) approve(ctx context.Context, all []*found) (approved [][]*found, err error) {
	for _, here := range byAccount(all) {
		r.show(here)
		n := len(r.targets(here...))
		if r.dryRun || n == 0 {
			continue
		}
		bound, cancel := bounded(ctx, r.timeout)
		a, unknown := here[0].api.Account(bound)
		cancel()
		who := fmt.Sprintf("%q, %s", a.Name, clean(a.Email))
		if unknown != nil {
			who = fmt.Sprintf("not known (%v)", unknown)
		}
		r.t.say("account", "%s (token from %s)", who, here[0].Token.Source)
		what := "Droplet"
		if r.orphans {
			what = "orphan"
		}
		ok := r.yes
		if !ok {
			if ok, err = r.t.confirm("Delete " + count(n, what) + "?"); err != nil {
				return nil, err
			}
		}
		if ok {
			approved = append(approved, here)
		}
	}
	return approved, nil
}

// byAccount are the groups of each account of which something was found.
func byAccount(all []*found) (accounts [][]*found) {
	for _, f := range all {
		if len(f.Found) == 0 {
			continue
		}
		i := slices.IndexFunc(accounts, func(a []*found) bool { return a[0].api == f.api })
		if i < 0 {
			i, accounts = len(accounts), append(accounts, nil)
		}
		accounts[i] = append(accounts[i], f)
	}
	return accounts
}

// destroy deletes what groups of an account have, each account within --timeout. It holds the locks of orphans' groups
// meanwhile, so that no manager on this host starts. An error says what may be left.
func (r *removing) destroy(ctx context.Context, here []*found) error {
	ctx, cancel := bounded(ctx, r.timeout)
	defer cancel()
	var faults []error
	var items []*inventory.Item
	for _, f := range here {
		if r.orphans {
			own, err := state.Try(ctx, hclog.NewNullLogger(), f.APIURL, f.Name)
			if err != nil {
				err = f.fault(fmt.Errorf("nothing of it was deleted: %w", err))
				faults, f.Error = append(faults, err), err.Error()
				continue
			}
			defer own.Drop()
		}
		items = append(items, r.targets(f)...)
	}
	defer r.t.done()
	inventory.Delete(ctx, here[0].api, items, func(gone, of int) { r.t.waits("%d of %s gone", gone, count(of, "Droplet")) })
	for _, f := range here {
		if err := f.undeleted(); err != nil {
			faults, f.Error = append(faults, err), err.Error()
		}
	}
	return errors.Join(faults...)
}

// undeleted says which of a group's items are left that were to be deleted, and why.
func (f *found) undeleted() (err error) {
	for _, e := range f.Found {
		what := "is not confirmed to be gone"
		switch {
		case e.Deleted || e.Why == nil:
			continue
		case e.LeftAlone():
			what = "is not deleted"
		case e.Kind == inventory.DropletKind:
			what += ", and may be billed"
		}
		err = errors.Join(err, f.fault(fmt.Errorf("%s %s: %w", e.Item, what, e.Why)))
	}
	return err
}

// again finds what the list before lacked: the pages of a long list shift while Droplets come and go. What was made since is
// not meant.
func (r *removing) again(ctx context.Context, groups []group, all []*found) error {
	ctx, cancel := bounded(ctx, r.timeout)
	defer cancel()
	now, err := r.t.look(ctx, groups, list)
	if err != nil {
		err = fmt.Errorf("whether the list lacked some is not known: %w", err)
	}
	for i, f := range now {
		more := slices.DeleteFunc(f.Found, func(e *entry) bool {
			return e.Kept || e.Created.After(all[i].now) || slices.ContainsFunc(all[i].Found, func(o *entry) bool { return o.ID == e.ID })
		})
		if n := len(more); n > 0 {
			err = errors.Join(err, f.fault(fmt.Errorf("%s that the list lacked, and not deleted: run it again", count(n, "more Droplet"))))
		}
	}
	return err
}

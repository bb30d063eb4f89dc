package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// watchMost is how often --watch asks at most: a list takes 2 of the token's 250 requests a
// minute, for every 200 Droplets.
const watchMost = 2 * time.Second

func lsCommand(t *terminal) *cobra.Command {
	l := listing{t: t, timeout: span{2 * time.Minute, "2m"}}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List a group's Droplets, and what they cost",
		Long: `List the Droplets of the plugin's groups, and what they cost: those of all
[[runners]] in config.toml that use this plugin, unless flags say otherwise.

The cost of a Droplet is its price since it was created, by the second, at
least a minute or a cent. Backups, snapshots and traffic are not included.
"kept" are Droplets with the tag fleeting-keep, which the plugin and its
commands never delete. With -o wide, RUN is the plugin process that made a
Droplet.`,
		Example: `  $ sudo fleeting-plugin-digitalocean ls
  NAME           STATE   SIZE         REGION  ADDRESS      AGE  USD/H
  ci-w4n27k2m9q  active  s-2vcpu-4gb  fra1    203.0.113.7  12m  0.03571
  ci-w4n2q8d3w0  new     s-2vcpu-4gb  fra1                 4s   0.03571
  2 Droplets: 0.07142 USD an hour, 0.02 USD so far`,
		Args: noArgs("a group is named with --group %s, an interval with --watch=%s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	l.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&l.whole, "whole-account", false, "every fleeting group of the account, also those of other managers")
	f.BoolVarP(&l.quiet, "quiet", "q", false, "names only")
	f.Var(&l.watch, "watch", "again every so often, until it is interrupted")
	f.Lookup("watch").NoOptDefVal = "10s"
	f.Var(&l.timeout, "timeout", "give up after that")
	t.formatFlags(cmd, asTable, asWide, asJSON)
	return cmd
}

// listing is what ls is to do.
type listing struct {
	choice
	t              *terminal
	quiet          bool
	watch, timeout span
}

func (l *listing) run(ctx context.Context) error {
	switch {
	case l.whole && len(l.groups) > 0:
		return misuse("--whole-account lists every group of the account, --group one of them")
	case l.watch.Duration > 0 && l.watch.Duration < watchMost:
		return hinted{misuse(fmt.Sprintf("--watch %s is too often", l.watch.text)), fmt.Sprintf("give %s or more", watchMost)}
	}
	groups, unread := l.find()
	if len(groups) == 0 {
		return unread
	}
	for {
		err := errors.Join(l.once(ctx, groups), unread)
		if l.watch.Duration == 0 {
			return err
		}
		if err != nil && ctx.Err() == nil {
			l.t.say("error", "%v", err) // the next list may work
		}
		select {
		case <-time.After(l.watch.Duration):
		case <-ctx.Done():
			return nil
		}
	}
}

// once lists, and shows what could be listed.
func (l *listing) once(ctx context.Context, groups []group) error {
	ctx, cancel := bounded(ctx, l.timeout)
	defer cancel()
	if l.whole {
		groups = wholeAccounts(groups)
	}
	found := l.t.look(ctx, groups)
	r := report{Groups: []reportedGroup{}}
	var faults []error
	had := map[int64]bool{} // two tokens may be of one account, which nothing tells
	for _, f := range found {
		if f.err != nil {
			faults = append(faults, f.err)
			if l.t.format == asJSON {
				r.Groups = append(r.Groups, reportedGroup{Name: f.Name, Droplets: []reportedDroplet{}, Error: f.err.Error()})
			}
			continue
		}
		byName := map[string][]instancegroup.Droplet{}
		if !l.whole {
			byName[f.Name] = nil // which may have none
		}
		all := slices.Concat(f.Owned, f.Kept)
		slices.SortFunc(all, func(a, b instancegroup.Droplet) int { return cmp.Compare(a.ID, b.ID) })
		for _, d := range all {
			if !had[d.ID] {
				had[d.ID] = true
				byName[instancegroup.GroupOf(d)] = append(byName[instancegroup.GroupOf(d)], d)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			r.add(name, byName[name], f.Now)
		}
	}
	if len(faults) < len(found) || l.t.format == asJSON { // one of several groups is better than none
		l.show(r)
	}
	for _, f := range found {
		for _, d := range f.Strangers {
			l.t.say("note", "Droplet %d (%s) has a tag of the plugin, but not a name or not the other tags of a group: "+
				"somebody else tagged it", d.ID, clean(d.Name))
		}
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	return errors.Join(faults...)
}

func (l *listing) show(r report) {
	switch {
	case l.t.format == asJSON:
		l.t.json(r)
		return
	case l.quiet:
		for _, g := range r.Groups {
			for _, d := range g.Droplets {
				fmt.Fprintln(l.t.out, clean(d.Name))
			}
		}
		return
	}
	if l.watch.Duration > 0 {
		if l.t.live {
			fmt.Fprint(l.t.out, "\x1b[H\x1b[2J")
		}
		fmt.Fprintln(l.t.out, time.Now().Format(time.TimeOnly))
	}
	fmt.Fprint(l.t.out, r.text(l.t.format == asWide, l.t.room(), l.t.colours))
}

// looked is what DigitalOcean has of a group.
type looked struct {
	group
	inventory.Found
	err error // why it is not known
}

// look asks for the Droplets of groups, and says what it could not look for.
func (t *terminal) look(ctx context.Context, groups []group) (all []looked) {
	t.waits("asking DigitalOcean")
	defer t.done()
	for _, g := range groups {
		f := looked{group: g}
		f.Found, f.err = inventory.Look(ctx, g.api, g.Name)
		switch {
		case f.err != nil && ctx.Err() != nil:
			f.err = ended(ctx)
		case f.err != nil:
			f.err = g.fault(f.err)
		case f.Unread != nil:
			t.warn("not looked for: %v", f.Unread)
		}
		all = append(all, f)
	}
	return all
}

// wholeAccounts are all groups of the accounts, whatever their names.
func wholeAccounts(groups []group) (accounts []group) {
	for _, account := range byAccount(groups) {
		account[0].Name = ""
		accounts = append(accounts, account[0])
	}
	return accounts
}

// count is a number of things.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

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
		Args: func(cmd *cobra.Command, args []string) error {
			err := noArgs(cmd, args)
			if err != nil && l.watch.Duration > 0 { // a flag that needs no value takes none from the next word
				err = hinted{err, "--watch=" + args[0]}
			}
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	l.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&l.whole, "whole-account", false, "every fleeting group of the account, also those of other managers")
	f.BoolVarP(&l.quiet, "quiet", "q", false, "names only")
	f.Var(&l.watch, "watch", "again every so often, until it is interrupted")
	f.Lookup("watch").NoOptDefVal = "10s"
	f.Var(&l.timeout, "timeout", "give up after that")
	cmd.MarkFlagsMutuallyExclusive("whole-account", "group")
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
	if l.quiet && l.t.format != "" && l.t.format != asTable {
		return misuse("-q shows names only, -o " + l.t.format + " more than that")
	}
	groups, unread := l.find()
	if len(groups) == 0 {
		return unread
	}
	for {
		err := errors.Join(l.once(ctx, groups), unread)
		if l.watch.Duration == 0 || l.t.unwritten() != nil {
			return err
		}
		if err != nil {
			l.t.say("error", "%v", err) // the next list may work
		}
		time.Sleep(max(l.watch.Duration, 2*time.Second)) // a list takes 2 of the token's 250 requests a minute
	}
}

// once lists, and shows what could be listed.
func (l *listing) once(ctx context.Context, groups []group) error {
	ctx, cancel := bounded(ctx, l.timeout)
	defer cancel()
	all, err := l.t.look(ctx, groups, list)
	had := map[int64]bool{} // two tokens may be of one account, which nothing else shows
	for _, f := range all {
		f.Found = slices.DeleteFunc(f.Found, func(e *entry) bool {
			twice := had[e.ID]
			had[e.ID] = true
			return twice
		})
	}
	if l.t.format == asJSON || slices.ContainsFunc(all, func(f *found) bool { return f.Error == "" }) {
		l.show(reportOf(all))
	}
	for _, f := range all {
		for _, d := range f.foreign {
			l.t.say("note", "Droplet %d (%s) has a tag of the plugin, but not a name or not the other tags of a group: "+
				"somebody else tagged it", d.ID, clean(d.Name))
		}
	}
	return err
}

func (l *listing) show(r report) {
	switch {
	case l.t.format == asJSON:
		l.t.json(r)
		return
	case l.quiet:
		for _, g := range r.Groups {
			for _, d := range g.Found {
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
	heads := []string{"NAME", "STATE", "SIZE", "REGION", "ADDRESS", "AGE", "USD/H"}
	room := columns(os.Stdout)
	if l.t.format == asWide {
		heads, room = append(heads, "USD SO FAR", "IMAGE", "RUN", "ID"), 0
	}
	fmt.Fprint(l.t.out, entries(r.Groups, heads, room, l.t.colours))
	sum := fmt.Sprintf("%s: %.5f USD an hour, %.2f USD so far", count(r.Droplets, "Droplet"), r.USDPerHour, r.USDSoFar)
	fmt.Fprintln(l.t.out, colour(l.t.colours, bold, sum))
}

// count is a number of things.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

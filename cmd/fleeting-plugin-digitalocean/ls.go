package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

func lsCommand(t *terminal) *cobra.Command {
	var c choice
	var watch span
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List a group's Droplets, and what they cost",
		Long: `List the Droplets of the plugin's groups, and what they cost: those of all [[runners]] in config.toml that use
this plugin, unless flags say otherwise.

Costs are what the Droplets' prices say since each was created: by the second, a minute or a cent at least. Backups,
snapshots and traffic are not in them. "kept" are Droplets with the tag fleeting-keep: the plugin and its commands never
destroy them. RUN is the plugin process that made a Droplet.

It exits with 0, with 1 if not all groups could be listed, with 2 if it was called wrongly.`,
		Example: `  $ sudo fleeting-plugin-digitalocean ls
  NAME           STATE   SIZE         REGION  ADDRESS      AGE  USD/H    USD SO FAR  IMAGE         RUN
  ci-w4n27k2m9q  active  s-2vcpu-4gb  fra1    203.0.113.7  12m  0.03571  0.01        docker-20-04  w4n2
  1 Droplet: 0.03571 USD an hour, 0.01 USD so far`,
		Args: noArgs("a group is named with --group %s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return ls(cmd.Context(), t, c, time.Duration(watch)) },
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.all, "all-groups", false, "every fleeting group of the account, also those of other managers")
	cmd.Flags().Var(&watch, "watch", "again every so often, until it is interrupted")
	cmd.Flags().Lookup("watch").NoOptDefVal = "10s"
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

func ls(ctx context.Context, t *terminal, c choice, every time.Duration) error {
	watch := every > 0
	if c.all && len(c.groups) > 0 {
		return hinted{misuse("--all-groups lists every group of the account, --group one of them"), program + " ls --help"}
	}
	groups, unread, err := c.find(t)
	if err != nil {
		return err
	}
	if c.all {
		groups = onePerAccount(groups)
	}
	if watch && unread != nil {
		t.say("warning", "%v", unread) // once
		unread = nil
	}
	for {
		if !watch {
			t.waits("asking DigitalOcean")
		}
		l, err := list(ctx, groups, c.all)
		t.done()
		if err == nil || len(l.Groups) > 0 { // one of several groups is better than none
			l.show(t, watch, t.format == asJSON)
		}
		err = errors.Join(err, unread)
		switch {
		case watch && (ctx.Err() != nil || t.fault() != nil):
			return nil
		case !watch:
			return err
		case err != nil:
			t.say("error", "%v", err) // the next list may work
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
	}
}

// onePerAccount keeps one group of each account.
func onePerAccount(groups []group) []group {
	var one []group
	for _, g := range groups {
		if !slices.ContainsFunc(one, func(o group) bool { return sameAccount(o.Account, g.Account) }) {
			one = append(one, g)
		}
	}
	return one
}

// listing is what ls shows.
type listing struct {
	Groups     []listedGroup `json:"groups"`
	Droplets   int           `json:"droplets"`
	USDPerHour float64       `json:"usd_per_hour"`
	USDSoFar   float64       `json:"usd_so_far"`

	remarks []remark // of what is not in it, said below it
}

type remark struct{ word, text string }

type listedGroup struct {
	Name       string          `json:"name"`
	USDPerHour float64         `json:"usd_per_hour"`
	USDSoFar   float64         `json:"usd_so_far"`
	Droplets   []listedDroplet `json:"droplets"`
}

type listedDroplet struct {
	Name       string    `json:"name"`
	ID         int64     `json:"id"`
	State      string    `json:"state"` // DigitalOcean's status
	Kept       bool      `json:"kept,omitempty"`
	Size       string    `json:"size"`
	Region     string    `json:"region"`
	External   string    `json:"external,omitempty"`
	Internal   string    `json:"internal,omitempty"`
	Created    time.Time `json:"created_at"`
	AgeSeconds int       `json:"age_seconds"`
	USDPerHour float64   `json:"usd_per_hour"`
	USDSoFar   float64   `json:"usd_so_far"`
	Image      string    `json:"image"`
	Run        string    `json:"run"`
}

// list asks for the Droplets of groups, or of all groups of their accounts. With an error
// it returns those of the others.
func list(ctx context.Context, groups []group, all bool) (listing, error) {
	l := listing{Groups: []listedGroup{}} // a script gets no null
	told := seen{}
	var faults []error
	for i, g := range groups {
		found, err := g.list(ctx, all)
		if ctx.Err() != nil {
			faults = append(faults, fmt.Errorf("%w; not listed: %s", errInterrupted, groupNames(groups[i:])))
			break
		}
		if err != nil {
			faults = append(faults, g.explain(err, len(groups)))
			continue
		}
		if found.Unread != nil {
			l.remarks = append(l.remarks, remark{"warning", g.unlooked(found.Unread)})
		}
		for _, d := range told.fresh(g, found.Strangers) {
			l.remarks = append(l.remarks, remark{"note", fmt.Sprintf("Droplet %d (%s) carries a tag of the plugin's but is of none of its groups, "+
				"by its name or its other tags: somebody else tagged it", d.ID, d.Name)})
		}
		owned := slices.Concat(found.Owned, found.Kept)
		slices.SortFunc(owned, func(a, b instancegroup.Droplet) int { return cmp.Compare(a.ID, b.ID) })
		fresh := told.fresh(g, owned)
		if !all {
			if len(fresh) > 0 || len(owned) == 0 { // else another token has listed them
				l.add(g.Name, fresh, time.Now())
			}
			continue
		}
		byName := byGroup(fresh, instancegroup.GroupOf)
		for _, of := range slices.Sorted(maps.Keys(byName)) {
			l.add(of, byName[of], time.Now())
		}
	}
	return l, errors.Join(faults...)
}

// seen are the Droplets that one group or another had: two token files may be of one
// account. Ids are DigitalOcean's, not an account's.
type seen map[string]bool

// fresh returns those of droplets that no group had before.
func (s seen) fresh(g group, droplets []instancegroup.Droplet) (fresh []instancegroup.Droplet) {
	for _, d := range droplets {
		if key := fmt.Sprint(g.APIURL, " ", d.ID); !s[key] {
			s[key] = true
			fresh = append(fresh, d)
		}
	}
	return fresh
}

func byGroup(droplets []instancegroup.Droplet, of func(instancegroup.Droplet) string) map[string][]instancegroup.Droplet {
	byName := map[string][]instancegroup.Droplet{}
	for _, d := range droplets {
		byName[of(d)] = append(byName[of(d)], d)
	}
	return byName
}

// list asks for the Droplets of a group, or of all groups of its account.
func (g group) list(ctx context.Context, all bool) (inventory.Found, error) {
	api, err := g.open()
	if err != nil {
		return inventory.Found{}, err
	}
	defer api.Close()
	if all {
		return inventory.Look(ctx, api, "")
	}
	return inventory.Look(ctx, api, g.Name)
}

// unlooked says what was not looked for.
func (g group) unlooked(unread error) string {
	return fmt.Sprintf("not looked for: %v", g.fault(unread))
}

func (l *listing) add(name string, droplets []instancegroup.Droplet, now time.Time) {
	g := listedGroup{Name: name, Droplets: []listedDroplet{}}
	for _, d := range droplets {
		line, cost := listed(d, now)
		g.Droplets = append(g.Droplets, line)
		g.USDPerHour += d.PriceHourly
		g.USDSoFar += cost
	}
	g.USDPerHour, g.USDSoFar = instancegroup.Cents(g.USDPerHour), instancegroup.Cents(g.USDSoFar)
	l.Groups = append(l.Groups, g)
	l.Droplets += len(droplets)
	l.USDPerHour, l.USDSoFar = instancegroup.Cents(l.USDPerHour+g.USDPerHour), instancegroup.Cents(l.USDSoFar+g.USDSoFar)
}

// listed is a line of a listing, and what the Droplet has cost, in full.
func listed(d instancegroup.Droplet, now time.Time) (line listedDroplet, cost float64) {
	age := max(0, now.Sub(d.Created))
	cost = instancegroup.Cost(d.PriceHourly, age)
	return listedDroplet{
		Name: d.Name, ID: d.ID, State: d.Status, Kept: instancegroup.Kept(d), Size: d.Size, Region: d.Region,
		External: d.External(), Internal: d.PrivateIPv4, Created: d.Created, AgeSeconds: int(age.Seconds()),
		USDPerHour: d.PriceHourly, USDSoFar: instancegroup.Cents(cost), Image: d.Image.String(), Run: instancegroup.RunOf(instancegroup.GroupOf(d), d.Name),
	}, cost
}

func (l *listing) show(t *terminal, again, asJSON bool) {
	if asJSON {
		t.json(l)
	} else {
		l.print(t, again)
	}
	for _, r := range l.remarks {
		t.say(r.word, "%s", r.text)
	}
}

// print shows a listing to a person; over the last one if over.
func (l *listing) print(t *terminal, over bool) {
	var b strings.Builder
	if over && t.live {
		b.WriteString("\x1b[H\x1b[2J")
	}
	if over {
		fmt.Fprintln(&b, time.Now().Format(time.TimeOnly))
	}
	b.WriteString(l.text(t.colours))
	fmt.Fprint(t.out, b.String())
}

// text is a listing as a person reads it.
func (l *listing) text(colours bool) string {
	var b strings.Builder
	dress := &terminal{colours: colours}
	if l.Droplets > 0 {
		writeTable(&b, dress, l.Groups)
	}
	for _, g := range l.Groups {
		if len(l.Groups) > 1 {
			fmt.Fprintf(&b, "group %s: %s\n", g.Name, totals(len(g.Droplets), g.USDPerHour, g.USDSoFar))
		}
	}
	switch {
	case len(l.Groups) == 0:
		b.WriteString("no group has a Droplet\n")
	case len(l.Groups) == 1 && l.Droplets == 0:
		fmt.Fprintf(&b, "group %s has no Droplets\n", l.Groups[0].Name)
	default:
		b.WriteString(dress.colour(bold, totals(l.Droplets, l.USDPerHour, l.USDSoFar)) + "\n")
	}
	return b.String()
}

func totals(n int, perHour, soFar float64) string {
	return fmt.Sprintf("%s: %.5f USD an hour, %.2f USD so far", count(n, "Droplet"), perHour, soFar)
}

// writeTable writes a line for each Droplet. Colours come after the columns: their
// codes have no width on the screen.
func writeTable(b *strings.Builder, t *terminal, groups []listedGroup) {
	var plain strings.Builder
	w := tabwriter.NewWriter(&plain, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tSIZE\tREGION\tADDRESS\tAGE\tUSD/H\tUSD SO FAR\tIMAGE\tRUN")
	var states []string
	named := map[string]int{}
	for _, g := range groups {
		for _, d := range g.Droplets {
			named[d.Name]++
		}
	}
	for _, g := range groups {
		for _, d := range g.Droplets {
			if named[d.Name] > 1 {
				d.Name = fmt.Sprintf("%s (%d)", d.Name, d.ID)
			}
			address := d.External
			if address == "" {
				address = d.Internal
			}
			state := d.State
			if d.Kept {
				state += ", kept"
			}
			states = append(states, state)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.5f\t%.2f\t%s\t%s\n", d.Name, state, d.Size, d.Region, address,
				age(time.Duration(d.AgeSeconds)*time.Second), d.USDPerHour, d.USDSoFar, d.Image, d.Run)
		}
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(plain.String(), "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " ")
		switch {
		case i == 0:
			line = t.colour(bold, line)
		case strings.HasSuffix(states[i-1], ", kept"):
			line = t.colour(yellow, line)
		case states[i-1] == instancegroup.StatusNew:
			line = t.colour(faint, line)
		case states[i-1] != instancegroup.StatusActive:
			line = t.colour(red, line)
		}
		b.WriteString(line + "\n")
	}
}

// age is how long ago something was, in one or two units.
func age(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < day:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d/day), int((d % day).Hours()))
}

// count is a number of things.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

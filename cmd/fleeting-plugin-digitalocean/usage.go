package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
)

const asCSV = "csv"

func usageCommand(t *terminal) *cobra.Command {
	r := reporting{journal: journal{usual: 7 * 24 * time.Hour}}
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Sum up what Droplets did and cost",
		Long: `Say what Droplets did and cost: how long they ran jobs, were idle and booted,
and how long jobs waited for them. It reads the runner's journal, which has the
plugin's lines too, and asks nobody else: it needs no token.

Costs are what the Droplets' prices say, as in ls: by the second, a minute or a
cent at least. Backups, snapshots and traffic are not in them.

Creates that failed are in the table and in JSON, not in CSV.

It exits with 0, with 1 if the journal could not be read, with 2 if it was
called wrongly.`,
		Example: `  $ sudo fleeting-plugin-digitalocean report --since 14d --by project
  $ fleeting-plugin-digitalocean report --journal gitlab-runner.json -o csv`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return r.run(t) },
	}
	r.flags(cmd)
	cmd.Flags().Func("by", "a line for each `PART`: "+strings.Join(history.Parts, ", ")+" (of the day)", func(v string) error {
		if !slices.Contains(history.Parts, v) {
			return fmt.Errorf("give %s", strings.Join(history.Parts, " or "))
		}
		r.by = v
		return nil
	})
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(history.Parts, cobra.ShellCompDirectiveNoFileComp))
	t.formatFlags(cmd, asTable, asCSV, asJSON)
	return cmd
}

// reporting is what report is to do.
type reporting struct {
	journal
	by string
}

func (r *reporting) run(t *terminal) error {
	h, err := r.read(t)
	if err != nil {
		return err
	}
	u := h.Usage(r.by, time.Local)
	switch t.format {
	case asJSON:
		t.json(u)
	case asCSV:
		err = usageCSV(t, u, r.by)
	default:
		usageText(t, u, r.by)
	}
	if err != nil || r.svg == "" {
		return err
	}
	return r.draw(usagePicture(h, u))
}

// usageText is a report as a person reads it.
func usageText(t *terminal, u history.Usage, by string) {
	all := u.All
	fmt.Fprintf(t.out, "%s: %s, %d failed; %s; %.2f USD\n", between(u.From, u.To), count(all.Jobs, "job"), all.Failed,
		count(u.Droplets, "Droplet"), all.USD)
	var did, parts, failures []string
	for i, s := range []history.Share{all.Ran, all.Idle, all.Booting} {
		did = append(did, fmt.Sprintf("%s\t%.2f\t%.2f\t%.0f %%", []string{"ran jobs", "were idle", "booted"}[i], s.Hours, s.USD,
			100*s.USD/max(all.USD, 0.01)))
	}
	for _, r := range u.Rows {
		parts = append(parts, fmt.Sprintf("%s\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f s\t%.0f s\t%d", clean(r.Key), r.Jobs, r.Failed, r.Ran.Hours,
			r.Idle.Hours, r.Booting.Hours, r.USD, r.Wait.P50, r.Wait.P95, r.Booted))
	}
	for _, f := range u.Failures {
		failures = append(failures, fmt.Sprintf("%s\t%s\t%d\t%s", clean(f.Size), clean(f.Region), f.Times, clean(f.Why)))
	}
	t.table("DROPLETS\tHOURS\tUSD\tSHARE", did)
	fmt.Fprintf(t.out, "\nJobs waited %.0f s (p50), %.0f s (p95), %.0f s (longest); %d of them for a boot.\n",
		all.Wait.P50, all.Wait.P95, all.Wait.Longest, all.Booted)
	t.table(strings.ToUpper(by)+"\tJOBS\tFAILED\tRAN\tIDLE\tBOOTED\tUSD\tP50\tP95\tFOR A BOOT", parts)
	t.table("NOT CREATED\tREGION\tTIMES\tWHY", failures)
}

func between(from, to time.Time) string {
	const minutes = "2006-01-02 15:04"
	return fmt.Sprintf("%s to %s", from.Local().Format(minutes), to.Local().Format(minutes+" MST"))
}

// usageCSV writes a row for each part, or for all together.
func usageCSV(t *terminal, u history.Usage, by string) error {
	if by == "" {
		by, u.Rows = "part", []history.Row{u.All}
	}
	w := csv.NewWriter(t.out)
	_ = w.Write([]string{by, "jobs", "failed", "ran_hours", "idle_hours", "booting_hours", "ran_usd", "idle_usd", "booting_usd", "usd",
		"wait_p50", "wait_p95", "wait_longest", "waited_for_boot"})
	for _, r := range u.Rows {
		var row []string
		for _, cell := range []any{clean(cmp.Or(r.Key, "all")), r.Jobs, r.Failed, r.Ran.Hours, r.Idle.Hours, r.Booting.Hours, r.Ran.USD,
			r.Idle.USD, r.Booting.USD, r.USD, r.Wait.P50, r.Wait.P95, r.Wait.Longest, r.Booted} {
			row = append(row, fmt.Sprint(cell))
		}
		_ = w.Write(row)
	}
	w.Flush()
	return w.Error()
}

// usagePicture is what Droplets did over time. The highest area is drawn first: each hides the lower part of the one before.
func usagePicture(h *history.History, u history.Usage) chart.Chart {
	c := chart.Chart{
		Title: "Droplets from " + between(u.From, u.To),
		Text: fmt.Sprintf("In Droplet-hours, %.2f ran jobs, %.2f were idle and %.2f booted; %s in all.",
			u.All.Ran.Hours, u.All.Idle.Hours, u.All.Booting.Hours, count(u.Droplets, "Droplet")),
		Y: chart.Axis{Name: "Droplets, on average in an hour"},
		Series: []chart.Series{
			{Name: "booted", Colour: chart.Yellow, Shape: chart.Area, Steps: true},
			{Name: "were idle", Colour: chart.Green, Shape: chart.Area, Steps: true},
			{Name: "ran jobs", Colour: chart.Blue, Shape: chart.Area, Steps: true},
		},
	}
	hours := map[string]history.Row{}
	for _, r := range h.Usage(history.ByTime, time.UTC).Rows {
		hours[r.Key] = r
	}
	first, marked := u.From.Truncate(time.Hour), max(time.Hour, (u.To.Sub(u.From)/7).Truncate(time.Hour))
	for at := first; at.Before(u.To); at = at.Add(time.Hour) {
		r, x := hours[at.Format(history.ByTime)], at.Sub(u.From).Hours()
		y := r.Booting.Hours + r.Idle.Hours + r.Ran.Hours
		for i, less := range []float64{0, r.Booting.Hours, r.Idle.Hours} {
			y -= less
			c.Series[i].Points = append(c.Series[i].Points, chart.Point{X: x, Y: y}, chart.Point{X: x + 1, Y: y})
		}
		if at.Sub(first)%marked == 0 {
			c.X.Marks = append(c.X.Marks, chart.Mark{Value: x, Label: at.Local().Format("01-02 15:04")})
		}
	}
	return c
}

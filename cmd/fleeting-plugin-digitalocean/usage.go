package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
)

const asCSV = "csv"

func usageCommand(t *terminal) *cobra.Command {
	r := reporting{journal: journal{usual: 7 * 24 * time.Hour}}
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Sum up what Droplets did and cost",
		Long: `Say what Droplets did and cost, and how long jobs waited, from the runner's
journal. It needs no token.

Costs are as in ls, without backups, snapshots and traffic.`,
		Example: `  $ sudo fleeting-plugin-digitalocean report --since 14d --by project
  $ fleeting-plugin-digitalocean report --journal gitlab-runner.json -o csv`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return r.run(t) },
	}
	r.flags(cmd)
	cmd.Flags().Func("by", "a line for each `PART`: "+strings.Join(history.Parts, ", ")+" (of the day)", oneOf(history.Parts, &r.by))
	t.formatFlags(cmd, asTable, asCSV, asJSON)
	return cmd
}

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

func usageText(t *terminal, u history.Usage, by string) {
	all := u.All
	fmt.Fprintf(t.out, "%s: %s; %s; %.2f USD\n", between(u.From, u.To), count(all.Jobs, "job"), count(u.Droplets, "Droplet"), all.USD)
	var did, parts, failures []string
	for i, s := range []history.Share{all.Ran, all.Idle, all.Booting} {
		did = append(did, fmt.Sprintf("%s\t%.2f\t%.2f\t%.0f %%", []string{"ran jobs", "were idle", "booted"}[i], s.Hours, s.USD,
			100*s.USD/max(all.USD, 0.01)))
	}
	for _, r := range u.Rows {
		parts = append(parts, fmt.Sprintf("%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f s\t%.0f s\t%d", clean(r.Key), r.Jobs, r.Ran.Hours, r.Idle.Hours,
			r.Booting.Hours, r.USD, r.Wait.P50, r.Wait.P95, r.Booted))
	}
	for _, f := range u.Failures {
		failures = append(failures, fmt.Sprintf("%s\t%s\t%d\t%s", clean(cmp.Or(f.Size, "any")), clean(f.Region), f.Times,
			clean(cmp.Or(f.Last, f.Why))))
	}
	t.table("DROPLETS\tHOURS\tUSD\tSHARE", did)
	fmt.Fprintf(t.out, "\nJobs waited %.0f s (p50), %.0f s (p95), %.0f s (longest); %d of them for a boot.\n",
		all.Wait.P50, all.Wait.P95, all.Wait.Longest, all.Booted)
	t.table(strings.ToUpper(by)+"\tJOBS\tRAN\tIDLE\tBOOTED\tUSD\tP50\tP95\tFOR A BOOT", parts)
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
	_ = w.Write([]string{by, "jobs", "ran_hours", "idle_hours", "booting_hours", "ran_usd", "idle_usd", "booting_usd", "usd",
		"wait_p50", "wait_p95", "wait_longest", "waited_for_boot"})
	for _, r := range u.Rows {
		var row []string
		for _, cell := range []any{clean(cmp.Or(r.Key, "all")), r.Jobs, r.Ran.Hours, r.Idle.Hours, r.Booting.Hours, r.Ran.USD,
			r.Idle.USD, r.Booting.USD, r.USD, r.Wait.P50, r.Wait.P95, r.Wait.Longest, r.Booted} {
			row = append(row, fmt.Sprint(cell))
		}
		_ = w.Write(row)
	}
	w.Flush()
	return w.Error()
}

func usagePicture(h *history.History, u history.Usage) chart.Chart {
	var there, booting, running []plan.Life
	life := func(from, to time.Time) plan.Life { return plan.Life{From: from.Sub(h.From), To: to.Sub(h.From)} }
	for i := range h.Droplets {
		d := &h.Droplets[i]
		there = append(there, life(h.Life(d)))
		if d.Active.After(d.Requested) {
			booting = append(booting, life(d.Requested, d.Active))
		}
	}
	for _, j := range h.Jobs {
		running = append(running, life(j.Started, cmp.Or(j.Ended, h.To)))
	}
	text := fmt.Sprintf("In Droplet-hours, %.2f ran jobs, %.2f were idle and %.2f booted; %s in all.",
		u.All.Ran.Hours, u.All.Idle.Hours, u.All.Booting.Hours, count(u.Droplets, "Droplet"))
	return typicalWeek("A typical week, from "+between(u.From, u.To), text, h.From, h.To, time.Local,
		level{"Droplets", chart.Green, chart.Area, there},
		level{"running jobs", chart.Blue, chart.Area, running},
		level{"booting Droplets", chart.Yellow, chart.Area, booting})
}

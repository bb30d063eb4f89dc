package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
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
cent at least. Backups, snapshots and traffic are not in them. A Droplet with
several jobs at a time is divided among them.

It exits with 0, with 1 if the journal could not be read, with 2 if it was
called wrongly.`,
		Example: `  $ sudo fleeting-plugin-digitalocean report --since 14d --by project
  $ fleeting-plugin-digitalocean report --journal gitlab-runner.json -o csv`,
		Args: noArgs("a journal is named with --journal %s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context(), t) },
	}
	r.flags(cmd)
	keys := []string{history.ByProject, history.ByPipeline, history.BySize, history.ByHour}
	cmd.Flags().Func("by", "a line for each `PART`: "+strings.Join(keys, ", ")+" (of the day)", func(v string) error {
		if !slices.Contains(keys, v) {
			return fmt.Errorf("give %s", strings.Join(keys, " or "))
		}
		r.by = v
		return nil
	})
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(keys, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&r.svg, "svg", "", "write a picture to `FILE`: what Droplets did over time")
	t.formatFlags(cmd, asTable, asCSV, asJSON)
	return cmd
}

// reporting is what report is to do.
type reporting struct {
	journal
	by, svg string
}

func (r *reporting) run(ctx context.Context, t *terminal) error {
	h, err := r.read(ctx, t)
	if err != nil {
		return err
	}
	if r.by == history.ByPipeline && !slices.ContainsFunc(h.Jobs, func(j history.Job) bool { return j.Pipeline != 0 }) && len(h.Jobs) > 0 {
		t.say("note", "the runner does not log pipelines: give --jobs FILE, with what GitLab answers to GET /runners/:id/jobs")
	}
	u := h.Usage(r.by, time.Local)
	switch t.format {
	case asJSON:
		t.json(u)
	case asCSV:
		err = writeUsageCSV(t, u, r.by)
	default:
		fmt.Fprint(t.out, usageText(u, r.by, t.room(), t.colours))
	}
	if err == nil && r.svg != "" {
		err = draw(r.svg, usagePicture(&h, &u))
	}
	return err
}

// room is how many columns a table has; 0 = any number.
func (t *terminal) room() int {
	if t.live {
		return columns(os.Stdout)
	}
	return 0
}

// usageText is a report as a person reads it.
func usageText(u history.Usage, by string, columns int, colours bool) string {
	var b strings.Builder
	show := func(rows [][]string) { b.WriteString("\n" + table(rows[0], 0, rows[1:], nil, columns, colours)) }
	all := u.All
	fmt.Fprintf(&b, "%s: %s, %d failed; %s; %s\n", colour(colours, bold, between(u.From, u.To)), count(all.Jobs, "job"), all.Failed,
		count(u.Droplets, "Droplet"), colour(colours, bold, fmt.Sprintf("%.2f USD", all.USD)))
	part := func(name string, hours, usd float64) []string {
		return []string{name, fmt.Sprintf("%.2f", hours), fmt.Sprintf("%.2f", usd), percent(usd, all.USD)}
	}
	show([][]string{{"DROPLETS", "HOURS", "USD", "SHARE"},
		part("ran jobs", all.JobHours, all.USDJobs),
		part("were idle", all.IdleHours, all.USDIdle),
		part("booted", all.BootHours, all.USDBoot)})
	rows := [][]string{{"JOBS WAITED", "JOBS", "P50", "P95", "LONGEST"}, waitRow("for a Droplet", all.Jobs, all.Wait)}
	if u.Queued > 0 {
		rows = append(rows, waitRow("and at GitLab before", u.Queued, u.Queue))
	}
	show(rows)
	fmt.Fprintf(&b, "%d of %s waited for a Droplet to boot\n", all.Booted, count(all.Jobs, "job"))
	if by != "" {
		rows = [][]string{{strings.ToUpper(by), "JOBS", "FAILED", "RAN", "IDLE", "BOOTED", "USD", "P50", "P95", "FOR A BOOT"}}
		for _, r := range u.Rows {
			rows = append(rows, []string{r.Key, strconv.Itoa(r.Jobs), strconv.Itoa(r.Failed), fmt.Sprintf("%.2f", r.JobHours),
				fmt.Sprintf("%.2f", r.IdleHours), fmt.Sprintf("%.2f", r.BootHours), fmt.Sprintf("%.2f", r.USD),
				wait(r.Wait.P50), wait(r.Wait.P95), strconv.Itoa(r.Booted)})
		}
		show(rows)
	}
	if len(u.Failures) > 0 {
		rows = [][]string{{"NOT CREATED", "REGION", "WHY", "TIMES"}}
		for _, f := range u.Failures {
			rows = append(rows, []string{f.Size, f.Region, f.Why, strconv.Itoa(f.Times)})
		}
		show(rows)
	}
	return b.String()
}

func between(from, to time.Time) string {
	const minutes = "2006-01-02 15:04"
	return fmt.Sprintf("%s to %s", from.Local().Format(minutes), to.Local().Format(minutes+" MST"))
}

func waitRow(what string, jobs int, w history.Waits) []string {
	return []string{what, strconv.Itoa(jobs), wait(w.P50), wait(w.P95), wait(w.Longest)}
}

func wait(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func percent(part, all float64) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*part/all)
}

// writeUsageCSV writes a row for each part, or for all together.
func writeUsageCSV(t *terminal, u history.Usage, by string) error {
	if by == "" {
		u.All.Key = "all"
		by, u.Rows = "part", []history.Row{u.All}
	}
	w := csv.NewWriter(t.out)
	_ = w.Write([]string{by, "jobs", "failed", "job_hours", "idle_hours", "boot_hours", "usd_jobs", "usd_idle", "usd_boot", "usd",
		"wait_p50", "wait_p95", "wait_longest", "waited_for_boot"})
	for _, r := range u.Rows {
		row := []string{clean(r.Key), strconv.Itoa(r.Jobs), strconv.Itoa(r.Failed)}
		for _, f := range []float64{r.JobHours, r.IdleHours, r.BootHours, r.USDJobs, r.USDIdle, r.USDBoot, r.USD,
			r.Wait.P50, r.Wait.P95, r.Wait.Longest} {
			row = append(row, strconv.FormatFloat(f, 'f', -1, 64))
		}
		_ = w.Write(append(row, strconv.Itoa(r.Booted)))
	}
	w.Flush()
	return w.Error()
}

// usagePicture is what Droplets did over time. The highest area is drawn first: each hides the lower part of the one before.
func usagePicture(h *history.History, u *history.Usage) chart.Chart {
	hours := map[string]history.Row{}
	for _, r := range h.Usage(history.ByTime, time.UTC).Rows {
		hours[r.Key] = r
	}
	c := chart.Chart{
		Title: "Droplets from " + between(u.From, u.To),
		Text: fmt.Sprintf("In Droplet-hours, %.2f ran jobs, %.2f were idle and %.2f booted; %s in all.",
			u.All.JobHours, u.All.IdleHours, u.All.BootHours, count(u.Droplets, "Droplet")),
		Y: chart.Axis{Name: "Droplets, on average in an hour"},
		Series: []chart.Series{
			{Name: "booted", Colour: chart.Yellow, Shape: chart.Area, Steps: true},
			{Name: "were idle", Colour: chart.Green, Shape: chart.Area, Steps: true},
			{Name: "ran jobs", Colour: chart.Blue, Shape: chart.Area, Steps: true},
		},
	}
	first, marked := u.From.Truncate(time.Hour), max(time.Hour, (u.To.Sub(u.From)/7).Truncate(time.Hour))
	for at := first; at.Before(u.To); at = at.Add(time.Hour) {
		r := hours[history.Hour(at)]
		x := at.Sub(u.From).Hours()
		for i, y := range []float64{r.JobHours + r.IdleHours + r.BootHours, r.JobHours + r.IdleHours, r.JobHours} {
			c.Series[i].Points = append(c.Series[i].Points, chart.Point{X: x, Y: y}, chart.Point{X: x + 1, Y: y})
		}
		if at.Sub(first)%marked == 0 {
			c.X.Marks = append(c.X.Marks, chart.Mark{At: x, Text: at.Local().Format("01-02 15:04")})
		}
	}
	return c
}

// draw writes charts to a file.
func draw(path string, charts ...chart.Chart) error {
	var b bytes.Buffer
	if err := chart.Write(&b, charts...); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

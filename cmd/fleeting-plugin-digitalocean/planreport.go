package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
)

// planReport is what plan says. Its JSON form is stable.
type planReport struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Jobs     int       `json:"jobs"`
	Size     string    `json:"size"` // of most Droplets
	Measured fit       `json:"measured"`
	Model    fit       `json:"model"`
	Held     []string  `json:"held_back,omitempty"`
	Misfits  []string  `json:"misfits,omitempty"`
	*plan.Advice
	Policy string `json:"policy,omitempty"` // to be pasted
	Diff   string `json:"diff,omitempty"`

	chosen *plan.Choice // nil = the present one stays
}

// fit is what the past was like, or what the model makes of it. Waits are in seconds.
type fit struct {
	USD      float64 `json:"usd"`
	P50      float64 `json:"wait_p50"`
	P95      float64 `json:"wait_p95"`
	Droplets int     `json:"droplets"`
}

func fitted(o *plan.Outcome) fit {
	return fit{math.Round(o.USD*100) / 100, o.Wait(0.5).Seconds(), o.Wait(0.95).Seconds(), o.Made}
}

// choose takes the choice with that label, or the best.
func (r *planReport) choose(label string) error {
	labels := []string{}
	for i, c := range r.Choices {
		labels = append(labels, c.Label)
		if strings.EqualFold(c.Label, cmp.Or(label, r.Best)) {
			r.chosen = &r.Choices[i]
		}
	}
	if r.chosen == nil && label != "" {
		return hinted{misuse(fmt.Sprintf("--choice %q: there is no such choice", label)), "--choice is one of " + strings.Join(labels, ", ")}
	}
	if r.chosen != nil {
		r.Best = r.chosen.Label
	}
	return nil
}

func (r *planReport) show(t *terminal) {
	if t.format == asJSON {
		t.json(r)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s\n\n", between(r.From, r.To), count(r.Jobs, "job"), count(r.Measured.Droplets, "Droplet"))
	row := func(name string, f fit) []string {
		return []string{name, fmt.Sprintf("%.2f", f.USD), fmt.Sprintf("%.0f s", f.P50), fmt.Sprintf("%.0f s", f.P95), fmt.Sprint(f.Droplets)}
	}
	b.WriteString(table([]string{"THE PAST", "USD", "WAIT P50", "P95", "DROPLETS"}, 0,
		[][]string{row("measured", r.Measured), row("by the model", r.Model)}, nil, t.room(), t.colours))
	for _, held := range r.Held {
		fmt.Fprintf(&b, "jobs were held back: %s: waits are longer than the table says\n", clean(held))
	}
	for _, misfit := range r.Misfits {
		fmt.Fprintf(&b, "it does not fit: %s\n", clean(misfit))
	}
	if len(r.Misfits) > 0 {
		b.WriteString("so there is no advice: give a --since after the last change of the policy\n")
	} else {
		r.table(&b, t)
	}
	fmt.Fprint(t.out, b.String())
}

func (r *planReport) table(b *strings.Builder, t *terminal) {
	var rows [][]string
	var codes []string
	var why strings.Builder
	for _, c := range append([]plan.Choice{r.Present}, r.Choices...) {
		if c.Policy != "" && c.Why != "" {
			fmt.Fprintf(&why, "%s: %s\n", c.Label, c.Why)
		}
		rows = append(rows, []string{c.Label, fmt.Sprintf("%.2f", c.USDPerMonth), fmt.Sprintf("%.0f s", c.P50), fmt.Sprintf("%.0f s", c.P95),
			fmt.Sprintf("%.0f s", c.Longest), fmt.Sprint(c.Most), cmp.Or(c.Policy, c.Why)})
		codes = append(codes, map[bool]string{true: green}[c.Label == r.Best])
	}
	fmt.Fprintf(b, "\n%d policies were tried:\n\n", r.Tried)
	b.WriteString(table([]string{"", "USD/MONTH", "WAIT P50", "P95", "LONGEST", "DROPLETS", "POLICY"}, 0, rows, codes, t.room(), t.colours))
	b.WriteString(why.String())
	c := r.chosen
	switch {
	case c == nil:
		b.WriteString("\nNone is better than the present policy; --choice LETTER shows the policy of one.\n")
		return
	case r.Diff != "":
		fmt.Fprintf(b, "\n%s in config.toml:\n\n%s", c.Label, r.Diff)
	default:
		fmt.Fprintf(b, "\n%s in config.toml, in place of the policies of [runners.autoscaler]:\n\n%s", c.Label, r.Policy)
	}
	if c.MaxUses != r.Present.MaxUses {
		fmt.Fprintf(b, "\nand in [runners.autoscaler]: max_use_count = %d\n", c.MaxUses)
	}
	if c.Size != r.Present.Size {
		fmt.Fprintf(b, "\nand in plugin_config: size = %q\n", c.Size)
	}
}

// costs is a picture of cost against wait.
func (r *planReport) costs() chart.Chart {
	dots := func(choices ...plan.Choice) (points []chart.Point) {
		for _, c := range choices {
			points = append(points, chart.Point{X: c.USDPerMonth, Y: c.P95, Text: c.Label})
		}
		return points
	}
	return chart.Chart{
		Title: "Wait against cost",
		Text: fmt.Sprintf("The present policy costs %.2f USD a month, and 95 of 100 jobs wait %.0f s at most; "+
			"the line joins the best of %d others.", r.Present.USDPerMonth, r.Present.P95, r.Tried),
		X: chart.Axis{Name: "USD a month"}, Y: chart.Axis{Name: "p95 wait in seconds"},
		Series: []chart.Series{
			{Name: "the best that was tried", Colour: chart.Grey, Shape: chart.Line, Steps: true, Points: dots(r.Front...)},
			{Name: "choices", Colour: chart.Blue, Shape: chart.Dots, Points: dots(r.Choices...)},
			{Name: "the present policy", Colour: chart.Red, Shape: chart.Dots, Points: dots(r.Present)},
		},
	}
}

// week is a picture of a typical week.
func (r *planReport) week(past *plan.Past, loc *time.Location) chart.Chart {
	hours := func(name string, colour chart.Colour, shape chart.Shape, lives []plan.Life) chart.Series {
		s := chart.Series{Name: name, Colour: colour, Shape: shape, Steps: true}
		week := past.Week(lives, loc)
		for hour, n := range append(week, week[len(week)-1]) {
			s.Points = append(s.Points, chart.Point{X: float64(hour), Y: n})
		}
		return s
	}
	week := chart.Chart{
		Title: "A typical week", Text: "Jobs and Droplets at once, on average, in each hour of a week.",
		Y: chart.Axis{Name: "at once"},
		Series: []chart.Series{
			hours("jobs", chart.Grey, chart.Area, past.Model.Runs),
			hours("Droplets now", chart.Red, chart.Dashed, past.Model.Lives),
		},
	}
	for day := range 7 {
		week.X.Marks = append(week.X.Marks, chart.Mark{At: float64(24*day + 12), Text: time.Weekday((day + 1) % 7).String()[:3]})
	}
	if r.chosen != nil {
		week.Series = append(week.Series, hours("Droplets as chosen", chart.Blue, chart.Line, r.chosen.Outcome().Lives))
	}
	return week
}

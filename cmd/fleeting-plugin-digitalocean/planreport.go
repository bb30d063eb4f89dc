package main

import (
	"fmt"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
)

// planReport is what plan says.
type planReport struct {
	*plan.Past
	Notes  []string `json:"notes,omitempty"`
	Chosen string   `json:"chosen,omitempty"` // the label of the choice whose policy this is
	Policy string   `json:"policy,omitempty"` // to be pasted

	choice *plan.Choice // that is chosen; nil = the present one stays
}

func (r *planReport) show(t *terminal) {
	if t.format == asJSON {
		t.json(r)
		return
	}
	var rows, notes []string
	for _, c := range append([]plan.Choice{{Label: "was", Figures: r.Measured, Policy: "as it was measured"},
		{Label: "now", Figures: r.Model, Policy: "the same, by the model"}}, r.Choices...) {
		rows = append(rows, fmt.Sprintf("%s\t%.2f\t%.0f s\t%.0f s\t%.0f s\t%d\t%s", c.Label, c.USD, c.Wait.P50, c.Wait.P95, c.Wait.Longest,
			c.Most, clean(c.Policy)))
		if c.Why != "" {
			notes = append(notes, c.Label+": "+c.Why)
		}
	}
	fmt.Fprintf(t.out, "%s: %s, %d policies tried\n", between(r.From, r.To), count(r.Jobs, "job"), r.Tried)
	t.table("\tUSD/MONTH\tWAIT P50\tP95\tLONGEST\tDROPLETS\tPOLICY", rows)
	for _, held := range r.Held {
		notes = append(notes, "Jobs were held back: "+held+". Waits are longer than the table says.")
	}
	if len(r.Misfits) > 0 {
		notes = append(append(notes, "The model does not fit, so there is no advice:"), r.Misfits...)
	}
	for _, note := range append(notes, r.Notes...) {
		fmt.Fprintln(t.out, clean(note))
	}
	switch c := r.choice; {
	case len(r.Misfits) > 0:
	case c == nil:
		fmt.Fprintln(t.out, "\nNone is better than the present policy; --choice LETTER shows the policy of one.")
	default:
		fmt.Fprintf(t.out, "\n%s in config.toml, in place of the policies of [runners.autoscaler]:\n\n%s", c.Label, r.Policy)
		fmt.Fprintf(t.out, "\nand in [runners.autoscaler]: max_use_count = %d\n", c.MaxUses)
		if c.Size != r.Size {
			fmt.Fprintf(t.out, "and in plugin_config: size = %q\n", c.Size)
		}
	}
}

func (r *planReport) costs() chart.Chart {
	dots := func(choices ...plan.Choice) (points []chart.Point) {
		for _, c := range choices {
			points = append(points, chart.Point{X: c.USD, Y: c.Wait.P95, Text: c.Label})
		}
		return points
	}
	return chart.Chart{
		Title: "Wait against cost",
		Text: fmt.Sprintf("The present policy costs %.2f USD a month, and 95 of 100 jobs wait %.0f s at most; "+
			"the line joins the best of %d others.", r.Model.USD, r.Model.Wait.P95, r.Tried),
		X: chart.Axis{Name: "USD a month"}, Y: chart.Axis{Name: "p95 wait in seconds"},
		Series: []chart.Series{
			{Name: "the best that was tried", Colour: chart.Grey, Shape: chart.Line, Steps: true, Points: dots(r.Front...)},
			{Name: "choices", Colour: chart.Blue, Shape: chart.Dots, Points: dots(r.Choices...)},
			{Name: "the present policy", Colour: chart.Red, Shape: chart.Dots, Points: dots(plan.Choice{Label: "now", Figures: r.Model})},
		},
	}
}

func (r *planReport) week() chart.Chart {
	levels := []level{{"jobs", chart.Grey, chart.Area, r.Runs}, {"Droplets now", chart.Red, chart.Dashed, plan.Replay(r.Setup, r.Work).Lives}}
	if r.choice != nil {
		levels = append(levels, level{"Droplets as chosen", chart.Blue, chart.Line, r.choice.Lives()})
	}
	return typicalWeek("A typical week", "Jobs and Droplets at once, on average, in each hour of a week.", r.From, r.To, r.Setup.Zone, levels...)
}

// level is how many of something there are at once.
type level struct {
	name   string
	colour chart.Colour
	shape  chart.Shape
	lives  []plan.Life // since from of typicalWeek
}

// typicalWeek is a picture of levels, on average in each hour of a week.
func typicalWeek(title, text string, from, to time.Time, zone *time.Location, levels ...level) chart.Chart {
	week := chart.Chart{Title: title, Text: text, Y: chart.Axis{Name: "at once, on average"}}
	for _, l := range levels {
		s := chart.Series{Name: l.name, Colour: l.colour, Shape: l.shape, Steps: true}
		for hour, n := range plan.Week(l.lives, from, to, zone) {
			s.Points = append(s.Points, chart.Point{X: float64(hour), Y: n}, chart.Point{X: float64(hour + 1), Y: n})
		}
		week.Series = append(week.Series, s)
	}
	for day := range 7 {
		week.X.Marks = append(week.X.Marks, chart.Mark{Value: float64(24*day + 12), Label: time.Weekday((day + 1) % 7).String()[:3]})
	}
	return week
}

package provider

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/taskscaler"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
)

// scrapes are the runner's metrics, by series, every 15 s from midnight on, as examples/monitoring has Prometheus ask.
type scrapes []map[string]float64

const (
	scrapeEvery  = 15 * time.Second
	perHour      = int(time.Hour / scrapeEvery)
	shown, until = 7, 13 // hours
)

// pictures are panels of the dashboard, and how their series are drawn, without the states that last a moment. Areas are
// stacked, as there: the last is at the bottom.
var pictures = []chart.Chart{
	{Title: "Droplets by state", Series: []chart.Series{
		{Name: "creating", Colour: chart.Yellow, Shape: chart.Area},
		{Name: "deleting", Colour: chart.Red, Shape: chart.Area},
		{Name: "running", Colour: chart.Green, Shape: chart.Area},
		{Name: "max_instances", Colour: chart.Ink, Shape: chart.Dashed},
	}},
	{Title: "Slots by state", Series: []chart.Series{
		{Name: "idle", Colour: chart.Teal, Shape: chart.Dotted},
		{Name: "acquired", Colour: chart.Blue, Shape: chart.Line},
		{Name: "pending", Colour: chart.Red, Shape: chart.Line},
	}},
	{Title: "Wanted change", Series: []chart.Series{{Name: "more or fewer", Colour: chart.Blue, Shape: chart.Line}}},
	{Title: "From created to active", Y: chart.Axis{Name: "seconds"}, Series: []chart.Series{{Name: "ci", Colour: chart.Blue, Shape: chart.Line}}},
}

// TestTuningDashboard: docs/dashboard.svg is what the dashboard's queries show of a morning of the tutorial's day, on
// which one push has more jobs.
func TestTuningDashboard(t *testing.T) {
	if os.Getenv(tuningEnv) == "" {
		t.Skipf("make docs sets %s", tuningEnv)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	text, err := os.ReadFile("../examples/monitoring/dashboard.json")
	if err = cmp.Or(err, json.Unmarshal(text, &dashboard)); err != nil {
		t.Fatal(err)
	}
	var day scrapes
	onAccount(t, dosim.Options{Latency: 150 * time.Millisecond, ListLag: 2 * time.Second}, func(t *testing.T, sim *dosim.Sim) {
		metrics := runnermetrics.New("ci")
		go func() {
			for range 24 * perHour {
				day = append(day, metrics.Values())
				time.Sleep(scrapeEvery)
			}
		}()
		jobs := func(push int) int { return cmp.Or(map[int]int{9: 14}[push], jobsOfPush) } // 14 at 10:30
		tuning{idle: 4, idleTime: 20 * time.Minute, uses: 20}.work(t, sim, jobs,
			taskscaler.WithMetricsCollector(metrics), taskscaler.WithFleetingMetricsCollector(metrics))
	})
	var charts []chart.Chart
	for _, c := range pictures {
		series := map[string][]chart.Point{}
		for _, p := range dashboard.Panels {
			for _, target := range p.Targets {
				if p.Title == c.Title {
					day.query(t, target.Expr, func(value string, p chart.Point) {
						name := cmp.Or(value, target.LegendFormat)
						series[name] = append(series[name], p)
					})
				}
			}
		}
		charts = append(charts, drawn(t, c, series))
	}
	var svg bytes.Buffer
	if err := chart.Write(&svg, charts...); err != nil {
		t.Fatal(err)
	}
	const path = "../docs/dashboard.svg"
	old, _ := os.ReadFile(path)
	describe := regexp.MustCompile(`<desc.*</desc>`)
	if now := describe.FindString(svg.String()); alike(describe.FindString(string(old)), now) {
		return
	} else if !*update {
		t.Errorf("%s is stale: run make docs\n%s", path, now)
	} else if err := os.WriteFile(path, svg.Bytes(), 0o644); err != nil {
		t.Error(err)
	}
}

// drawn is c with the points of its series, and a text with their means, which are about the same in each run.
func drawn(t *testing.T, c chart.Chart, series map[string][]chart.Point) chart.Chart {
	t.Helper()
	c.X = chart.Axis{Name: "hour", From: shown, To: until}
	c.Text, c.Series = c.Title+":", slices.Clone(c.Series)
	below := map[float64]float64{}
	for i, s := range slices.Backward(c.Series) {
		s.Steps, s.Points = true, series[s.Name]
		sum := 0.0
		for i, p := range s.Points {
			sum += p.Y
			c.Y.From = min(c.Y.From, p.Y)
			if s.Shape == chart.Area {
				below[p.X] += p.Y
				s.Points[i].Y = below[p.X]
			}
		}
		if len(s.Points) == 0 {
			t.Errorf("%s: the dashboard shows no %s", c.Title, s.Name)
		}
		c.Text += " " + s.Name
		if mean := sum / float64(len(s.Points)); mean >= 1 { // smaller ones differ from run to run
			c.Text += fmt.Sprintf(" %.1f on average", mean)
		}
		c.Text += ","
		c.Series[i] = s
	}
	c.Text = strings.TrimSuffix(c.Text, ",") + "."
	return c
}

var (
	term    = regexp.MustCompile(`^sum(?: by \((\w+)\))? ?\((avg_over_time\(|rate\()?(\w+)\{(.*)\}(?:\[1h\]\))?\)$`)
	matcher = regexp.MustCompile(`\w+="[^$"]*"`) // the dashboard's variables match everything here
)

// query yields what Prometheus answers to a query of the kinds that the panels have, a sum or the quotient of two, with
// the value of the sums' label.
func (s scrapes) query(t *testing.T, expr string, yield func(value string, p chart.Point)) {
	t.Helper()
	over, under, quotient := strings.Cut(expr, " / ")
	for i := shown * perHour; i <= until*perHour; i++ {
		for value, y := range s.sum(t, over, i) {
			if quotient {
				y /= s.sum(t, under, i)[value]
			}
			if !math.IsNaN(y) && !math.IsInf(y, 0) {
				yield(value, chart.Point{X: float64(i) / float64(perHour), Y: y})
			}
		}
	}
}

// sum is the value of such a sum at the scrape i.
func (s scrapes) sum(t *testing.T, text string, i int) map[string]float64 {
	t.Helper()
	m := term.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("a query of a kind that is not drawn: %s", text)
	}
	sums := map[string]float64{}
	label := regexp.MustCompile(`[{,]` + m[1] + `="([^"]*)"|$`)
	for series, v := range s[i] {
		name, labels, _ := strings.Cut(series, "{")
		if name != m[3] || slices.ContainsFunc(matcher.FindAllString(m[4], -1), func(want string) bool { return !strings.Contains(labels, want) }) {
			continue
		}
		switch m[2] {
		case "rate(":
			v = (v - s[i-perHour][series]) / time.Hour.Seconds()
		case "avg_over_time(":
			v = 0
			for _, at := range s[i-perHour+1 : i+1] {
				v += at[series] / float64(perHour)
			}
		}
		sums[label.FindStringSubmatch(series)[1]] += v
	}
	return sums
}

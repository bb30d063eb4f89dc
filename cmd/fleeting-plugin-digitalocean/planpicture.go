package main

import (
	"fmt"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
)

// pictures are cost against wait, and a typical week.
func pictures(past *plan.Past, a *plan.Advice, chosen *plan.Choice, loc *time.Location) []chart.Chart {
	dot := func(c plan.Choice, label string) chart.Point {
		return chart.Point{X: c.USDPerMonth, Y: c.P95.Seconds(), Text: label}
	}
	var front, choices []chart.Point
	for _, c := range a.Front {
		front = append(front, dot(c, ""))
	}
	for i, c := range a.Choices {
		choices = append(choices, dot(c, letter(i)))
	}
	now := dot(a.Present, "now")
	costs := chart.Chart{
		Title: "Wait against cost",
		Text: fmt.Sprintf("The present policy costs %.2f USD a month, and 95 of 100 jobs wait %.0f s at most; the line joins the best of %d others.",
			now.X, now.Y, a.Tried),
		X: chart.Axis{Name: "USD a month"}, Y: chart.Axis{Name: "p95 wait in seconds"},
		Series: []chart.Series{
			{Name: "the best that was tried", Colour: chart.Grey, Shape: chart.Line, Steps: true, Points: front},
			{Name: "choices", Colour: chart.Blue, Shape: chart.Dots, Points: choices},
			{Name: "the present policy", Colour: chart.Red, Shape: chart.Dots, Points: []chart.Point{now}},
		},
	}

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
	if chosen != nil {
		week.Series = append(week.Series, hours("Droplets as chosen", chart.Blue, chart.Line, chosen.Outcome().Lives))
	}
	return []chart.Chart{costs, week}
}

// letter labels the nth choice.
func letter(n int) string { return string(rune('A' + n)) }

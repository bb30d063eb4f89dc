package main

import (
	"fmt"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
)

// mostBars is how many parts have room in a picture.
const mostBars = 12

// usagePictures are what Droplets did over time and, if the report has parts, what each of them cost.
func usagePictures(h *history.History, u history.Usage, by string) []chart.Chart {
	hours := map[string]history.Row{}
	for _, r := range h.Usage(history.ByTime, time.UTC).Rows {
		hours[r.Key] = r
	}
	did := chart.Chart{
		Title: "Droplets from " + between(u.From, u.To),
		Text: fmt.Sprintf("In Droplet-hours, %.2f ran jobs, %.2f were idle and %.2f booted; %s in all.",
			u.All.JobHours, u.All.IdleHours, u.All.BootHours, count(u.Droplets, "Droplet")),
		Y: chart.Axis{Name: "Droplets, on average in an hour"},
	}
	var ran, idle, booted []chart.Point // stacked
	first, marked := u.From.Truncate(time.Hour), max(time.Hour, (u.To.Sub(u.From)/7).Truncate(time.Hour))
	for at := first; at.Before(u.To); at = at.Add(time.Hour) {
		r, x := hours[history.Hour(at)], at.Sub(u.From).Hours()
		ran = append(ran, chart.Point{X: x, Y: r.JobHours})
		idle = append(idle, chart.Point{X: x, Y: r.JobHours + r.IdleHours})
		booted = append(booted, chart.Point{X: x, Y: r.JobHours + r.IdleHours + r.BootHours})
		if at.Sub(first)%marked == 0 {
			did.X.Marks = append(did.X.Marks, chart.Mark{At: x, Text: at.Local().Format("01-02 15:04")})
		}
	}
	did.Series = usageAreas(ran, idle, booted)
	if by == "" || len(u.Rows) == 0 {
		return []chart.Chart{did}
	}
	cost := chart.Chart{Title: "Cost by " + by, Text: "What each " + by + " cost; the table has the numbers.", Y: chart.Axis{Name: "USD"}}
	ran, idle, booted = nil, nil, nil
	for i, r := range u.Rows {
		if i == mostBars && by != history.ByHour {
			cost.Title += fmt.Sprintf(", the first %d", mostBars)
			break
		}
		bar := func(points []chart.Point, usd float64) []chart.Point {
			return append(points, chart.Point{X: float64(i), Y: usd}, chart.Point{X: float64(i) + 0.8})
		}
		ran = bar(ran, r.USDJobs)
		idle = bar(idle, r.USDJobs+r.USDIdle)
		booted = bar(booted, r.USD)
		cost.X.Marks = append(cost.X.Marks, chart.Mark{At: float64(i) + 0.4, Text: cut(clean(r.Key), 11)})
	}
	cost.Series = usageAreas(ran, idle, booted)
	return []chart.Chart{did, cost}
}

// usageAreas are the stacked parts of what Droplets did: each hides the lower part of the one before.
func usageAreas(ran, idle, booted []chart.Point) []chart.Series {
	return []chart.Series{
		{Name: "booted", Colour: chart.Yellow, Shape: chart.Area, Steps: true, Points: booted},
		{Name: "were idle", Colour: chart.Green, Shape: chart.Area, Steps: true, Points: idle},
		{Name: "ran jobs", Colour: chart.Blue, Shape: chart.Area, Steps: true, Points: ran},
	}
}

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
	var droplets stack
	var r history.Row
	first, marked := u.From.Truncate(time.Hour), max(time.Hour, (u.To.Sub(u.From)/7).Truncate(time.Hour))
	for at := first; at.Before(u.To); at = at.Add(time.Hour) {
		r = hours[history.Hour(at)]
		x := at.Sub(u.From).Hours()
		droplets.add(x, r.JobHours, r.IdleHours, r.BootHours)
		if at.Sub(first)%marked == 0 {
			did.X.Marks = append(did.X.Marks, chart.Mark{At: x, Text: at.Local().Format("01-02 15:04")})
		}
	}
	droplets.add(u.To.Sub(u.From).Hours(), r.JobHours, r.IdleHours, r.BootHours)
	did.Series = droplets.series()
	if by == "" || len(u.Rows) == 0 {
		return []chart.Chart{did}
	}
	cost := chart.Chart{Title: "Cost by " + by, Text: "What each " + by + " cost; the table has the numbers.", Y: chart.Axis{Name: "USD"}}
	var bars stack
	for i, r := range u.Rows {
		if i == mostBars && by != history.ByHour {
			cost.Title += fmt.Sprintf(", the first %d", mostBars)
			break
		}
		bars.add(float64(i), r.USDJobs, r.USDIdle, r.USDBoot)
		bars.add(float64(i)+0.8, 0, 0, 0)
		cost.X.Marks = append(cost.X.Marks, chart.Mark{At: float64(i) + 0.4, Text: cut(clean(r.Key), 11)})
	}
	cost.Series = bars.series()
	return []chart.Chart{did, cost}
}

// stack is what Droplets did, one on top of the other.
type stack struct{ ran, idle, booted []chart.Point }

func (s *stack) add(x, ran, idle, booted float64) {
	s.ran = append(s.ran, chart.Point{X: x, Y: ran})
	s.idle = append(s.idle, chart.Point{X: x, Y: ran + idle})
	s.booted = append(s.booted, chart.Point{X: x, Y: ran + idle + booted})
}

// series has the highest first: each hides the lower part of the one before.
func (s *stack) series() []chart.Series {
	return []chart.Series{
		{Name: "booted", Colour: chart.Yellow, Shape: chart.Area, Steps: true, Points: s.booted},
		{Name: "were idle", Colour: chart.Green, Shape: chart.Area, Steps: true, Points: s.idle},
		{Name: "ran jobs", Colour: chart.Blue, Shape: chart.Area, Steps: true, Points: s.ran},
	}
}

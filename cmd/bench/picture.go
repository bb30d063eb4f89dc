package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
)

// What one token allows, as docs/design.md derives it.
const (
	perHour = 5000 * 19 / 20 // requests, less what is kept
	names   = 10             // Droplets made by a request
	leaving = 480            // requests an hour to delete Droplets in batches of 15 s ...
	tagged  = 100            // ... or two for so many, if that is more
	perPage = 200            // Droplets that a page of a list has

	// most is what a minute always has room to list: 50 of its requests are kept for lists.
	most = 50 * perPage
)

// largest returns how many Droplets a token carries that each run one job of the
// length job, if the list that the runner sees may be as old as age, and other
// programs send so many requests an hour.
//
// With c Droplets made and destroyed an hour, that is c/10 creates, the greater of
// 480 and c/50 deletes, and a request an age for each 200 Droplets.
func largest(job, age time.Duration, others int) float64 {
	rest := float64(perHour - others)
	lists := time.Hour.Hours() / age.Hours() / perPage // of each Droplet, an hour
	churn := 1 / job.Hours()                           // likewise
	few := (rest - leaving) / (churn/names + lists)
	many := rest / (churn/names + 2*churn/tagged + lists)
	return max(0, min(few, many, most))
}

// drawFleets draws the largest fleet of a token over the length of jobs, and the
// fleets that were measured.
func drawFleets(w io.Writer, rows []row) error {
	const shortest, longest = 5.0, 60.0 // minutes
	c := chart.Chart{
		Title: "The largest fleet of one token, each Droplet for one job",
		Text: "The longer its jobs, the more Droplets one token carries, up to the 10,000 that a minute always has room to list. " +
			"The dots are fleets that were measured, with the age of their lists.",
		X: chart.Axis{Name: "minutes from a Droplet's request to its end"},
		Y: chart.Axis{Name: "Droplets, up to the 10,000 that a minute always has room to list"},
	}
	for _, m := range []float64{5, 10, 15, 20, 30, 45, 60} {
		c.X.Marks = append(c.X.Marks, chart.Mark{Value: math.Log(m), Label: fmt.Sprintf("%.0f", m)})
	}
	for _, l := range []struct {
		name   string
		colour chart.Colour
		shape  chart.Shape
		age    time.Duration
		others int
	}{
		{"lists at most 60 s old", chart.Blue, chart.Line, time.Minute, 0},
		{"at most 15 s old", chart.Teal, chart.Dashed, 15 * time.Second, 0},
		{"60 s old, other programs use half of the token", chart.Red, chart.Dotted, time.Minute, 2500},
	} {
		s := chart.Series{Name: l.name, Colour: l.colour, Shape: l.shape}
		for m := shortest; m <= longest+0.01; m *= math.Pow(longest/shortest, 1.0/60) {
			s.Points = append(s.Points, chart.Point{X: math.Log(m), Y: largest(time.Duration(m*float64(time.Minute)), l.age, l.others)})
		}
		c.Series = append(c.Series, s)
	}
	measured := chart.Series{Colour: chart.Ink, Shape: chart.Dots}
	for _, r := range rows {
		if p := r.Fleet; p != nil {
			text := fmt.Sprintf("measured, %.0f s", p.Age.Seconds())
			if p.Others > 0 {
				text += fmt.Sprintf(", others %d an hour", p.Others)
			}
			at := chart.Point{X: math.Log(p.Job.Minutes()), Y: float64(p.Droplets), Text: text}
			if n := len(measured.Points); n > 0 && measured.Points[n-1].X == at.X && measured.Points[n-1].Y == at.Y {
				measured.Points[n-1].Text += "; " + text
				continue
			}
			measured.Points = append(measured.Points, at)
		}
	}
	c.Series = append(c.Series, measured)
	return chart.Write(w, c)
}

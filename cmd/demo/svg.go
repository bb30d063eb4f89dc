package main

import (
	"fmt"
	"math"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
)

// picture is the run: Droplets by state over time, the queue, and the limits that the config sets.
func picture(r *harness.Report) chart.Chart {
	series := func(name string, colour chart.Colour, shape chart.Shape, value func(harness.Sample) int) chart.Series {
		s := chart.Series{Name: name, Colour: colour, Shape: shape, Steps: true}
		for _, sample := range r.Samples {
			s.Points = append(s.Points, chart.Point{X: sample.At.Seconds(), Y: float64(value(sample))})
		}
		return s
	}
	a := r.Config.Autoscaler
	c := chart.Chart{
		Title: fmt.Sprintf("%d jobs on %d Droplets in %s", len(r.Jobs), len(r.Droplets), seconds(r.Elapsed)),
		Text: fmt.Sprintf("Stacked areas show how many Droplets were busy, idle, being created and being deleted in each moment: "+
			"at most %d at once, where max_instances is %d. A line shows the jobs in the queue.", r.MostDroplets(), a.MaxInstances),
		X: chart.Axis{Name: "seconds"},
		Y: chart.Axis{Name: "Droplets, and jobs in the queue"},
		Series: []chart.Series{ // the areas are stacked: each hides the lower part of the one before
			series("deleting", chart.Grey, chart.Area, harness.Sample.Droplets),
			series("creating", chart.Yellow, chart.Area, func(s harness.Sample) int { return s.Creating + s.Idle + s.Busy }),
			series("idle", chart.Green, chart.Area, func(s harness.Sample) int { return s.Idle + s.Busy }),
			series("busy", chart.Blue, chart.Area, func(s harness.Sample) int { return s.Busy }),
			series("idle_count", chart.Teal, chart.Dotted, func(s harness.Sample) int {
				return int(math.Ceil(float64(s.IdleCount) / float64(a.CapacityPerInstance)))
			}),
			series("queued jobs", chart.Red, chart.Line, func(s harness.Sample) int { return s.Queued }),
		},
	}
	if a.MaxInstances > 0 {
		c.Series = append(c.Series, series("max_instances", chart.Ink, chart.Dashed, func(harness.Sample) int { return a.MaxInstances }))
	}
	return c
}

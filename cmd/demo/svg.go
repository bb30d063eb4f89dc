package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
)

// writePicture draws the run: Droplets by state over time, the queue, and the
// limits that the config sets.
func writePicture(w io.Writer, r *harness.Report) error {
	series := func(name string, colour chart.Colour, shape chart.Shape, value func(harness.Sample) int) chart.Series {
		s := chart.Series{Name: name, Colour: colour, Shape: shape, Steps: true}
		for _, sample := range r.Samples {
			s.Points = append(s.Points, chart.Point{X: sample.At.Seconds(), Y: float64(value(sample))})
		}
		return s
	}
	c := chart.Chart{
		Title: fmt.Sprintf("%d jobs on %d Droplets in %s", len(r.Jobs), len(r.Droplets), seconds(r.Elapsed)),
		Text:  describe(r),
		X:     chart.Axis{Name: "seconds"},
		Y:     chart.Axis{Name: "Droplets, and jobs in the queue"},
		Series: []chart.Series{ // the areas are stacked: each hides the lower part of the one before
			series("deleting", chart.Grey, chart.Area, harness.Sample.Droplets),
			series("creating", chart.Yellow, chart.Area, func(s harness.Sample) int { return s.Creating + s.Idle + s.Busy }),
			series("idle", chart.Green, chart.Area, func(s harness.Sample) int { return s.Idle + s.Busy }),
			series("busy", chart.Blue, chart.Area, func(s harness.Sample) int { return s.Busy }),
			series("idle_count", chart.Teal, chart.Dotted, func(s harness.Sample) int {
				return int(math.Ceil(float64(s.IdleCount) / float64(max(r.CapacityPerInstance, 1))))
			}),
			series("queued jobs", chart.Red, chart.Line, func(s harness.Sample) int { return s.Queued }),
		},
	}
	if r.MaxInstances > 0 {
		c.Series = append(c.Series, series("max_instances", chart.Ink, chart.Dashed, func(harness.Sample) int { return r.MaxInstances }))
	}
	return chart.Write(w, c)
}

// describe says in a sentence what the picture shows, for who cannot see it.
func describe(r *harness.Report) string {
	text := fmt.Sprintf("Stacked areas show how many Droplets were busy, idle, being created and being deleted in each moment. "+
		"In %s, %d jobs ran on %d Droplets, at most %d at once",
		seconds(r.Elapsed), len(r.Jobs), len(r.Droplets), r.MostDroplets())
	if r.MaxInstances > 0 {
		text += fmt.Sprintf(" (max_instances is %d)", r.MaxInstances)
	}
	queue := 0
	for _, s := range r.Samples {
		queue = max(queue, s.Queued)
	}
	return text + fmt.Sprintf(". The queue held at most %d jobs.", queue)
}

// seconds prints a duration as a reader of a progress line wants it.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

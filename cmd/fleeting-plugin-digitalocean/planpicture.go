package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
)

// frame is a place for a picture, in pixels, and the numbers at its right and upper edge.
// (A charting library adds 2.5 MiB to the plugin, which is as large as it may be.)
type frame struct {
	strings.Builder
	top, right, up float64
}

const (
	frameLeft, frameWidth, frameHeight = 60.0, 700.0, 240.0

	colourNow, colourChosen, colourJobs = "#c0392b", "#1f77b4", "#888888"
)

// at is where numbers are in the picture.
func (f *frame) at(x, y float64) (px, py float64) {
	return frameLeft + x/f.right*frameWidth, f.top + frameHeight*(1-y/f.up)
}

func (f *frame) text(x, y float64, anchor, colour, text string) {
	fmt.Fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y, anchor, colour, text)
}

// axes writes the title and the scales. across is what is below a number.
func (f *frame) axes(title string, across func(x float64) string, step float64) {
	f.text(frameLeft, f.top-16, "start", "#000", title)
	for i := range 5 {
		y := f.up * float64(i) / 4
		_, py := f.at(0, y)
		fmt.Fprintf(f, "<path d=\"M%.1f %.1fh%.1f\" stroke=\"#ddd\"/>\n", frameLeft, py, frameWidth)
		f.text(frameLeft-8, py+4, "end", "#555", fmt.Sprintf("%.4g", y))
	}
	for x := 0.0; x <= f.right; x += step {
		px, _ := f.at(x, 0)
		f.text(px, f.top+frameHeight+18, "middle", "#555", across(x))
	}
}

func (f *frame) line(colour string, steps bool, points [][2]float64) {
	path := ""
	for i, p := range points {
		x, y := f.at(p[0], p[1])
		switch {
		case i == 0:
			path = fmt.Sprintf("M%.1f %.1f", x, y)
		case steps:
			path += fmt.Sprintf("H%.1fV%.1f", x, y)
		default:
			path += fmt.Sprintf("L%.1f %.1f", x, y)
		}
	}
	fmt.Fprintf(f, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"/>\n", path, colour)
}

func (f *frame) dot(colour, label string, x, y float64) {
	px, py := f.at(x, y)
	fmt.Fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", px, py, colour)
	f.text(px+7, py-6, "start", colour, label)
}

// nice is the smallest of 1, 2, 4 and 8 times a power of ten that is no less than x.
func nice(x float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(max(x, 1))))
	for _, n := range []float64{1, 2, 4, 8} {
		if n*ten >= x {
			return n * ten
		}
	}
	return 10 * ten
}

// pictures draws cost against wait, and below it a typical week, as an SVG.
func pictures(past *plan.Past, a *plan.Advice, chosen *plan.Choice, loc *time.Location) []byte {
	const top, below = 40.0, 380.0
	costs, week := &frame{top: top, right: 1, up: 1}, &frame{top: below, right: 7 * 24, up: 1}
	for _, c := range append([]plan.Choice{a.Present}, a.Front...) {
		costs.right, costs.up = max(costs.right, c.USDPerMonth), max(costs.up, c.P95.Seconds())
	}
	costs.right, costs.up = nice(costs.right), nice(costs.up)
	costs.axes("wait p95 in seconds, by USD a month", func(x float64) string { return fmt.Sprintf("%.4g", x) }, costs.right/8)
	var front [][2]float64
	for _, c := range a.Front {
		front = append(front, [2]float64{c.USDPerMonth, c.P95.Seconds()})
	}
	costs.line(colourJobs, true, front)
	for i, c := range a.Choices {
		costs.dot(colourChosen, string(rune('A'+i)), c.USDPerMonth, c.P95.Seconds())
	}
	costs.dot(colourNow, "now", a.Present.USDPerMonth, a.Present.P95.Seconds())

	lines := []struct {
		name, colour string
		values       []float64
	}{{"jobs", colourJobs, past.Week(past.Model.Runs, loc)}, {"Droplets now", colourNow, past.Week(past.Model.Lives, loc)}}
	if chosen != nil {
		lines = append(lines, struct {
			name, colour string
			values       []float64
		}{"Droplets as chosen", colourChosen, past.Week(chosen.Outcome().Lives, loc)})
	}
	for _, l := range lines {
		for _, v := range l.values {
			week.up = max(week.up, v)
		}
	}
	week.up = nice(week.up)
	week.axes("a typical week", func(x float64) string { return time.Weekday((int(x)/24 + 1) % 7).String()[:3] }, 24)
	for i, l := range lines {
		var points [][2]float64
		for h, v := range l.values {
			points = append(points, [2]float64{float64(h), v})
		}
		week.line(l.colour, true, points)
		week.text(frameLeft+frameWidth-150*float64(len(lines)-1-i), below-16, "end", l.colour, l.name)
	}
	const width, height = frameLeft + frameWidth + 40, below + frameHeight + 40
	return fmt.Appendf(nil, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"13\">\n"+
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n%s%s</svg>\n", width, height, costs.String(), week.String())
}

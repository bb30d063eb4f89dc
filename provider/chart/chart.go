// Package chart draws charts as SVG with github.com/go-analyze/charts/chartdraw. Lines differ by their dashes too, and a text
// says what is shown, for readers who do not see it.
//
// The library adds 1.3 MiB to the plugin, which may have 20; gonum.org/v1/plot v0.17.0 adds 7.4.
package chart

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"

	chart "github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"
)

// Chart is one picture.
type Chart struct {
	Title  string
	Text   string // what it shows, in a sentence
	X, Y   Axis
	Series []Series // each is drawn over those before it
}

// Axis is one of the two scales of a chart: as long as the points need, and from 0 on if it has no marks.
type Axis struct {
	Name  string
	Marks []Mark // none = round numbers
}

// Mark is a place on an axis.
type Mark = chart.Tick

// Series are points that belong together.
type Series struct {
	Name   string // in the legend; "" = not there
	Colour Colour
	Shape  Shape
	Steps  bool // a value holds until the next point
	Points []Point
}

// Point is a value at a place, with a text beside it. One that is not finite, or 1e15 and more, is not drawn.
type Point struct {
	X, Y float64
	Text string
}

// Colour and Shape are how points are drawn.
type (
	Colour string
	Shape  int
)

// The colours, which can be told from each other, and the shapes.
const (
	Blue, Green, Teal, Yellow Colour = "#0b5fd0", "#6fc3a1", "#1d7a54", "#f2c14e"
	Red, Grey, Ink            Colour = "#b3261e", "#b8c0cc", "#1f2933"

	Line, Dashed, Dotted, Area, Dots Shape = 0, 1, 2, 3, 4
)

var styles = [...]chart.Style{
	Line:   {StrokeWidth: 2},
	Dashed: {StrokeWidth: 2, StrokeDashArray: []float64{8, 5}},
	Dotted: {StrokeWidth: 2, StrokeDashArray: []float64{2, 4}},
	Area:   {StrokeWidth: 1},
	Dots:   {StrokeWidth: chart.Disabled, DotWidth: 5},
}

const width, height = 960, 456

// Write writes charts as one SVG, one below the other.
func Write(w io.Writer, charts ...Chart) error {
	var titles, texts []string
	var pictures bytes.Buffer
	for i, c := range charts {
		titles, texts = append(titles, c.Title), append(texts, c.Text)
		fmt.Fprintf(&pictures, "<svg y=\"%d\" width=\"%d\" height=\"%d\">\n", i*height, width, height)
		if err := c.chart().Render(chart.SVG, &pictures); err != nil {
			return fmt.Errorf("drawing %q: %w", c.Title, err)
		}
		pictures.WriteString("\n</svg>\n")
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title desc">
<title id="title">%s</title>
<desc id="desc">%s</desc>
%s</svg>
`, width, height*len(charts), html.EscapeString(strings.Join(titles, "; ")), html.EscapeString(strings.Join(texts, " ")), &pictures)
	return err
}

func (c Chart) chart() chart.Chart {
	var xs, ys []float64
	var all, legend []chart.Series
	for _, s := range c.Series {
		style := styles[s.Shape]
		style.StrokeColor = drawing.ParseColor(string(s.Colour))
		style.DotColor = style.StrokeColor
		sample := style
		if s.Shape == Area || s.Shape == Dots {
			sample.StrokeWidth = 12
		}
		if s.Shape == Area {
			style.FillColor = style.StrokeColor
		}
		points := chart.ContinuousSeries{YAxis: chart.YAxisSecondary, Style: style}
		for i, p := range s.Points {
			n := len(points.YValues)
			if !(math.Abs(p.X) < 1e15 && math.Abs(p.Y) < 1e15) {
				continue
			}
			if s.Steps && n > 0 {
				if p.Y == points.YValues[n-1] && i < len(s.Points)-1 {
					continue // the next step is drawn from here
				}
				points.XValues, points.YValues = append(points.XValues, p.X), append(points.YValues, points.YValues[n-1])
			}
			points.XValues, points.YValues = append(points.XValues, p.X), append(points.YValues, p.Y)
			if s.Shape == Dots && p.Text != "" {
				all = append(all, chart.AnnotationSeries{
					YAxis:       chart.YAxisSecondary,
					Annotations: []chart.Value2{{XValue: p.X, YValue: p.Y, Label: p.Text}},
					Style: chart.Style{StrokeColor: drawing.ColorTransparent, FillColor: drawing.ColorWhite.WithAlpha(160),
						Padding: chart.NewBox(1, 1, 1, 1)},
				})
			}
		}
		xs, ys = append(xs, points.XValues...), append(ys, points.YValues...)
		all, legend = append(all, points), append(legend, chart.ContinuousSeries{Name: s.Name, Style: sample})
	}

	grid := chart.Style{StrokeColor: drawing.ColorFromHex("d9dee5"), StrokeWidth: 1}
	left := chart.YAxis{Ticks: c.Y.ticks(ys, 8), GridMajorStyle: grid, GridMinorStyle: grid}
	return chart.Chart{
		Title: c.Title, TitleStyle: chart.Style{FontStyle: chart.FontStyle{FontSize: 13}},
		Width: width, Height: height, Background: chart.Style{Padding: chart.NewBox(110, 20, 24, 16)},
		XAxis:          chart.XAxis{Name: c.X.Name, Ticks: c.X.ticks(xs, 10), GridMajorStyle: chart.Hidden(), GridMinorStyle: chart.Hidden()},
		YAxis:          chart.YAxis{Style: chart.Hidden(), Ticks: left.Ticks}, // no series has it, but the library wants its range
		YAxisSecondary: left, Series: all,
		Elements: []chart.Renderable{
			chart.LegendThin(&chart.Chart{Series: legend}, chart.Style{FontStyle: chart.FontStyle{FontSize: 10}}),
			func(r chart.Renderer, canvas chart.Box, style chart.Style) { // the library writes it across the marks
				style.FontSize, style.FontColor = 10, chart.DefaultTextColor
				chart.Draw.Text(r, c.Y.Name, canvas.Left, canvas.Top-12, style)
			},
		},
	}
}

// ticks are the ends of an axis for such values, and between them its marks, or round numbers: at most so many and one.
func (a Axis) ticks(values []float64, parts float64) []chart.Tick {
	round := len(a.Marks) == 0
	if round {
		values = append(values, 0)
	}
	for _, m := range a.Marks {
		values = append(values, m.Value)
	}
	from, to := slices.Min(values), slices.Max(values)
	if to-from < 1e-9 {
		to = from + 1
	}
	ticks := append([]chart.Tick{{Value: from}}, a.Marks...)
	if round {
		least := (to - from) / parts * (1 - 1e-9)
		step := math.Pow(10, math.Floor(math.Log10(least)))
		for _, factor := range []float64{2, 2.5, 2} {
			if step < least {
				step *= factor
			}
		}
		for n := 0.0; (math.Ceil(from/step)+n)*step <= to; n++ {
			at := (math.Ceil(from/step) + n) * step
			ticks = append(ticks, chart.Tick{Value: at, Label: fmt.Sprintf("%.6g", at)})
		}
	}
	return append(ticks, chart.Tick{Value: to})
}

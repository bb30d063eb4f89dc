// Package chart draws charts as SVG, on light and on dark backgrounds. Lines differ by
// their dashes too, and a text says what is shown, for readers who do not see it.
//
// A library does not fit into the plugin, whose 19.0 MiB may become 20: for SVG alone, gonum.org/v1/plot v0.17.0 adds 7.4 MiB
// and go-analyze/charts v0.6.4 adds 2.5, without a numeric x axis.
package chart

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// Chart is one picture.
type Chart struct {
	Title  string
	Text   string // what it shows, in a sentence
	X, Y   Axis
	Series []Series // each is drawn over those before it
}

// Axis is one of the two scales of a chart.
type Axis struct {
	Name     string
	From, To float64 // To 0 = as far as the points reach; what lies outside is drawn at the edge
	Marks    []Mark  // none = round numbers
}

// Mark is a place on an axis.
type Mark struct {
	At   float64
	Text string
}

// Series are points that belong together.
type Series struct {
	Name   string // in the legend; "" = not there
	Colour Colour
	Shape  Shape
	Steps  bool // a value holds until the next point
	Points []Point
}

// Point is a value at a place. Its text stands beside a dot.
type Point struct {
	X, Y float64
	Text string
}

// Colour and Shape are how points are drawn. Colours can be told from each other, and seen on both backgrounds.
type (
	Colour string
	Shape  string
)

// The colours, and the shapes.
const (
	Blue, Green, Teal, Yellow Colour = "blue", "green", "teal", "yellow"
	Red, Grey, Ink            Colour = "red", "grey", "ink"
	Line, Dashed, Dotted      Shape  = "line", "line dashed", "line dotted"
	Area, Dots                Shape  = "area", "dots"
)

// The measures of a chart.
const (
	width, height = 960, 456
	left, right   = 72, width - 24
	top, bottom   = 100, height - 52
)

const style = `
  svg { color-scheme: light dark; }
  text { font: 13px system-ui, sans-serif; fill: currentColor; }
  .heading { font-size: 17px; font-weight: 600; } .end { text-anchor: end; } .middle { text-anchor: middle; }
  .line { fill: none; stroke: currentColor; stroke-width: 2; } .dashed { stroke-dasharray: 8 5; } .dotted { stroke-dasharray: 2 4; }
  .rule { stroke: currentColor; } .area, .dots { fill: currentColor; }
  .paper { color: #ffffff; } .ink { color: #1f2933; } .faint { color: #5f6c7b; } .grid { color: #d9dee5; }
  .blue { color: #0b5fd0; } .green { color: #6fc3a1; } .teal { color: #1d7a54; } .yellow { color: #f2c14e; } .red { color: #b3261e; } .grey { color: #b8c0cc; }
  @media (prefers-color-scheme: dark) {
    .paper { color: #14191f; } .ink { color: #e6ebf1; } .faint { color: #9aa7b5; } .grid { color: #2b333d; }
    .blue { color: #5b9dff; } .green { color: #2f8f69; } .teal { color: #7fe0b6; } .yellow { color: #c9962a; } .red { color: #ff8a80; } .grey { color: #4d5866; }
  }
`

// Write writes charts as one SVG, one below the other.
func Write(w io.Writer, charts ...Chart) error {
	var b strings.Builder
	title, desc := "", ""
	for _, c := range charts {
		title, desc = strings.TrimPrefix(title+"; "+c.Title, "; "), strings.TrimPrefix(desc+" "+c.Text, " ")
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title desc">`+"\n", width, height*len(charts))
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n", html.EscapeString(title), html.EscapeString(desc))
	fmt.Fprintf(&b, "<style>%s</style>\n<rect class=\"paper area\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n", style, width, height*len(charts))
	for i, c := range charts {
		fmt.Fprintf(&b, "<g transform=\"translate(0 %d)\">\n", i*height)
		c.draw(&b)
		b.WriteString("</g>\n")
	}
	_, err := io.WriteString(w, b.String()+"</svg>\n")
	return err
}

func (c Chart) draw(b *strings.Builder) {
	var xs, ys []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	c.X.fit(xs, 10)
	c.Y.fit(ys, 8)
	text(b, left, 30, "ink heading", c.Title)
	text(b, left, top-10, "faint", c.Y.Name)
	text(b, right, bottom+42, "faint end", c.X.Name)
	for _, m := range c.Y.Marks {
		y := c.y(m.At)
		fmt.Fprintf(b, "<path class=\"grid rule\" d=\"M%d %.1fH%d\"/>\n", left, y, right)
		text(b, left-8, y+4, "faint end", m.Text)
	}
	for _, m := range c.X.Marks {
		text(b, c.x(m.At), bottom+22, "faint middle", m.Text)
	}
	legend := left
	for _, s := range c.Series {
		c.series(b, s)
		if s.Name != "" {
			sample := fmt.Sprintf("M%d 54h18", legend)
			if s.Shape == Area || s.Shape == Dots {
				sample = fmt.Sprintf("M%d 48h14v14h-14Z", legend)
			}
			fmt.Fprintf(b, "<path class=\"%s %s\" d=\"%s\"/>\n", s.Colour, s.Shape, sample)
			text(b, float64(legend+24), 59, "ink", s.Name)
			legend += 44 + 8*len(s.Name)
		}
	}
}

func text(b *strings.Builder, x, y float64, class, s string) {
	fmt.Fprintf(b, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", class, x, y, html.EscapeString(s))
}

func (c Chart) series(b *strings.Builder, s Series) {
	var path strings.Builder
	for i, p := range s.Points {
		x, y := c.x(p.X), c.y(p.Y)
		switch {
		case s.Shape == Dots:
			fmt.Fprintf(b, "<circle class=\"%s dots\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", s.Colour, x, y)
			text(b, x+8, y-6, "ink", p.Text)
		case i == 0 && s.Shape == Area:
			fmt.Fprintf(&path, "M%.1f %dV%.1f", x, bottom, y)
		case i == 0:
			fmt.Fprintf(&path, "M%.1f %.1f", x, y)
		case s.Steps && p.Y == s.Points[i-1].Y && i < len(s.Points)-1: // the next step is drawn from here
		case s.Steps:
			fmt.Fprintf(&path, "H%.1fV%.1f", x, y)
		default:
			fmt.Fprintf(&path, "L%.1f %.1f", x, y)
		}
	}
	if s.Shape == Area && len(s.Points) > 0 {
		fmt.Fprintf(&path, "V%dZ", bottom)
	}
	if path.Len() > 0 {
		fmt.Fprintf(b, "<path class=\"%s %s\" d=\"%s\"/>\n", s.Colour, s.Shape, path.String())
	}
}

func (c Chart) x(at float64) float64 { return left + (right-left)*c.X.part(at) }
func (c Chart) y(at float64) float64 { return bottom - (bottom-top)*c.Y.part(at) }

// part is where a value lies on the axis, from 0 to 1.
func (a Axis) part(at float64) float64 { return max(0, min(1, (at-a.From)/(a.To-a.From))) }

// fit makes the axis as long as the values need, and marks at most so many round numbers and one.
func (a *Axis) fit(values []float64, parts float64) {
	if a.To == 0 {
		a.To = slices.Max(append(values, 0))
	}
	if a.To <= a.From {
		a.To = a.From + 1
	}
	if a.Marks != nil {
		return
	}
	step := math.Pow(10, math.Floor(math.Log10((a.To-a.From)/parts)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if step*factor*parts >= (a.To-a.From)*(1-1e-9) {
			step *= factor
			break
		}
	}
	for n := math.Ceil(a.From / step); n*step <= a.To*(1+1e-9); n++ {
		a.Marks = append(a.Marks, Mark{n * step, fmt.Sprintf("%.6g", n*step)})
	}
}

package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// drawn is the SVG of charts, which is well-formed.
func drawn(t *testing.T, charts ...Chart) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, charts...); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return b.String()
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, &b)
		}
	}
}

func TestWrite(t *testing.T) {
	const evil, escaped = "<script>&", "&lt;script&gt;&amp;"
	points := []Point{{X: 0, Y: 1}, {X: 5, Y: 2}, {X: 10, Y: 4, Text: "text " + evil}}
	text := drawn(t, Chart{Title: "title " + evil, Text: "desc " + evil, X: Axis{Name: "x " + evil}, Y: Axis{Name: "y " + evil}, Series: []Series{
		{Name: "name " + evil, Colour: Blue, Shape: Area, Steps: true, Points: points},
		{Name: "dashes", Colour: Red, Shape: Dashed, Points: points},
		{Colour: Teal, Shape: Dotted, Points: points},
		{Colour: Ink, Shape: Dots, Points: points},
	}}, Chart{Title: "below", X: Axis{Marks: []Mark{{Value: 5.5, Label: "mark " + evil}}}, Series: []Series{{Colour: Teal, Points: points}}})
	for _, what := range []string{"title ", "desc ", "x ", "y ", "name ", "text ", "mark "} {
		if !strings.Contains(text, ">"+what+escaped) {
			t.Errorf("the picture lacks %s", what)
		}
	}
	for _, want := range []string{
		`<title id="title">title ` + escaped + "; below</title>", `<svg y="456"`,
		`stroke-dasharray="8, 5"`, `stroke-dasharray="2, 4"`, `fill:rgb(11,95,208)`, `<circle `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %s", want)
		}
	}
	if strings.Contains(text, evil) || t.Failed() {
		t.Error(text)
	}
}

// A value holds until the next point, at which the line goes straight up or down. Points in between are left out.
func TestSteps(t *testing.T) {
	points := []Point{{X: 0, Y: 1}, {X: 5, Y: 1}, {X: 10, Y: 4}} // y is 4 at the top and 0 at 392
	for steps, want := range map[bool]string{
		false: "M 49 323\nL 489 323\nL 928 117",
		true:  "M 49 323\nL 928 323\nL 928 117",
	} {
		text := drawn(t, Chart{X: Axis{Name: "x"}, Series: []Series{{Name: "s", Shape: Dotted, Steps: steps, Points: points}}})
		if !strings.Contains(text, want) {
			t.Errorf("steps %t: not %q in\n%s", steps, want, text)
		}
	}
}

func TestOddPoints(t *testing.T) {
	for name, points := range map[string][]Point{
		"none":       nil,
		"one":        {{X: 3, Y: 3, Text: "three"}},
		"all equal":  {{X: 3, Y: 3}, {X: 3, Y: 3}},
		"not finite": {{X: math.NaN(), Y: 1}, {X: 1, Y: math.NaN()}, {X: math.Inf(1), Y: math.Inf(-1)}, {X: 1, Y: math.MaxFloat64}},
		"far apart":  {{X: -9e14, Y: -9e14}, {X: 9e14, Y: 9e14}},
		"very close": {{X: 9e14, Y: 5e-324}, {X: math.Nextafter(9e14, 0), Y: 0}},
	} {
		for _, shape := range []Shape{Line, Area, Dots} {
			for _, marks := range [][]Mark{nil, {}, {{Value: 3, Label: "mark"}}} {
				c := Chart{Title: name, X: Axis{Marks: marks}, Series: []Series{{Shape: shape, Points: points}}}
				if text := drawn(t, c); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "922337203") {
					t.Errorf("%s: %s", name, text)
				}
			}
		}
	}
}

func TestMarksAreRoundAndFewEnough(t *testing.T) {
	for to, want := range map[float64]string{0.01: "0.001", 1: "0.1", 10: "1", 11: "2", 20: "2", 21: "5", 37: "5", 60: "10", 101: "20", 3600: "500"} {
		if ticks := (Axis{}).ticks([]float64{to}, 10); ticks[2].Label != want || len(ticks) > 13 {
			t.Errorf("to %g: %v", to, ticks)
		}
	}
}

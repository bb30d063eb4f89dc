package chart

import (
	"encoding/xml"
	"errors"
	"io"
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

// On this chart, 10 wide and 4 high, a unit is 86.4 wide and 76 high.
func TestToScale(t *testing.T) {
	points := []Point{{X: 0, Y: 1}, {X: 5, Y: 1}, {X: 10, Y: 4, Text: "<b>"}}
	text := drawn(t, Chart{Title: "a & b", Text: "It shows <b>.", X: Axis{Name: "s"}, Series: []Series{
		{Name: "stairs", Colour: Blue, Shape: Area, Steps: true, Points: points},
		{Colour: Red, Shape: Dashed, Points: points},
		{Colour: Ink, Shape: Dots, Points: points[2:]},
	}}, Chart{Title: "edge", X: Axis{From: 5, To: 6, Marks: []Mark{{5.5, "half"}}}, Series: []Series{{Colour: Teal, Shape: Line, Points: points}}})
	for what, want := range map[string]string{
		"an area":                   `<path class="blue area" d="M72.0 404V328.0H936.0V100.0V404Z"/>`,
		"a line":                    `<path class="red line dashed" d="M72.0 328.0L504.0 328.0L936.0 100.0"/>`,
		"a dot":                     `<circle class="ink dots" cx="936.0" cy="100.0" r="5"/>`,
		"its text":                  `>&lt;b&gt;</text>`,
		"a mark":                    `<text class="faint end" x="64.0" y="256.0">2</text>`,
		"the legend":                `>stairs</text>`,
		"what is not on the chart":  `<path class="teal line" d="M72.0 328.0L72.0 328.0L936.0 100.0"/>`,
		"a mark that was asked for": `<text class="faint middle" x="504.0" y="426.0">half</text>`,
		"titles":                    `<title id="title">a &amp; b; edge</title>`,
		"texts":                     `<desc id="desc">It shows &lt;b&gt;. </desc>`,
		"a dark background":         "@media (prefers-color-scheme: dark)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %s:\n%s\n%s", what, want, text)
		}
	}
}

func TestNothingToDraw(t *testing.T) {
	text := drawn(t, Chart{Series: []Series{{Shape: Area}, {Shape: Line, Points: []Point{{}}}}})
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error(text)
	}
}

func TestMarksAreRoundAndFewEnough(t *testing.T) {
	for to, want := range map[float64]string{0.01: "0.001", 1: "0.1", 10: "1", 11: "2", 20: "2", 21: "5", 37: "5", 60: "10", 101: "20", 3600: "500"} {
		a := Axis{To: to}
		a.fit(nil, 10)
		if a.Marks[1].Text != want || len(a.Marks) > 11 {
			t.Errorf("to %g: %v", to, a.Marks)
		}
	}
}

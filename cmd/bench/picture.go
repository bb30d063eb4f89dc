package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// What one token allows, as docs/design.md derives it.
const (
	perHour = 5000 * 19 / 20 // requests, less what is kept
	names   = 10             // Droplets made by a request
	leaving = 480            // requests an hour to destroy Droplets that gather for 15 s ...
	tagged  = 100            // ... or two for so many, if that is more
	perPage = 200            // Droplets told by a request
)

// largest returns how many Droplets a token carries that each run one job of the
// length job, if the runner is to be told of them with an age of at most age, and
// others send so many requests an hour.
//
// With c Droplets made and destroyed an hour, that is c/10 creates, the greater of
// 480 and c/50 deletes, and a request an age for each 200 Droplets.
func largest(job, age time.Duration, others int) float64 {
	rest := float64(perHour - others)
	lists := time.Hour.Hours() / age.Hours() / perPage // of each Droplet, an hour
	churn := 1 / job.Hours()                           // likewise
	few := (rest - leaving) / (churn/names + lists)
	many := rest / (churn/names + 2*churn/tagged + lists)
	return max(0, min(few, many))
}

// Its measures, in the units of its viewBox.
const (
	width, height     = 960, 456
	left, right       = 72, width - 24
	top, bottom       = 84, height - 56
	shortest, longest = 5.0, 60.0 // minutes
	highest           = 10000.0   // Droplets
)

// pictureStyle has one set of colours for light and one for dark backgrounds. Lines
// differ by their dashes too, for readers who do not tell the hues.
const pictureStyle = `
  svg { color-scheme: light dark; }
  .paper { fill: #ffffff; } .text { fill: #1f2933; } .faint { fill: #5f6c7b; } .grid { stroke: #d9dee5; }
  .a { stroke: #0b5fd0; } .b { stroke: #1d7a54; stroke-dasharray: 9 5; } .c { stroke: #b3261e; stroke-dasharray: 2 4; }
  .a, .b, .c { fill: none; stroke-width: 2.5; } .dot { fill: #1f2933; }
  text { font: 13px system-ui, sans-serif; } .heading { font-size: 17px; font-weight: 600; } .end { text-anchor: end; } .middle { text-anchor: middle; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14191f; } .text { fill: #e6ebf1; } .faint { fill: #9aa7b5; } .grid { stroke: #2b333d; }
    .a { stroke: #5b9dff; } .b { stroke: #7fe0b6; } .c { stroke: #ff8a80; } .dot { fill: #e6ebf1; }
  }`

// drawFleets draws the largest fleet of a token over the length of jobs, and the
// fleets that were measured.
func drawFleets(w io.Writer, rows []row) error {
	x := func(minutes float64) float64 {
		return left + (right-left)*math.Log(minutes/shortest)/math.Log(longest/shortest)
	}
	y := func(droplets float64) float64 { return bottom - (bottom-top)*min(droplets, highest)/highest }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title">`+"\n", width, height)
	fmt.Fprintf(&b, "<title id=\"title\">The largest fleet that one token carries, over the length of its jobs</title>\n<style>%s\n</style>\n", pictureStyle)
	fmt.Fprintf(&b, `<rect class="paper" width="%d" height="%d" rx="8"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="text heading" x="%d" y="30">The largest fleet of one token, each Droplet for one job</text>`+"\n", left)
	for n := 0.0; n <= highest; n += 2000 {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/><text class="faint end" x="%d" y="%.1f">%.0f</text>`+"\n", left, y(n), right, left-8, y(n)+4, n)
	}
	for _, m := range []float64{5, 10, 15, 20, 30, 45, 60} {
		fmt.Fprintf(&b, `<text class="faint middle" x="%.1f" y="%d">%.0f min</text>`+"\n", x(m), bottom+20, m)
	}
	fmt.Fprintf(&b, `<text class="faint" x="%d" y="%d">Droplets</text><text class="faint end" x="%d" y="%d">from a Droplet's request to its end</text>`+"\n",
		left, top-10, right, bottom+42)
	for i, l := range []struct {
		class, label string
		age          time.Duration
		others       int
	}{
		{"a", "told at the latest after 60 s", time.Minute, 0},
		{"b", "after 15 s", 15 * time.Second, 0},
		{"c", "after 60 s, others use half of the token", time.Minute, 2500},
	} {
		path := "M"
		for m := shortest; m <= longest+0.01; m *= math.Pow(longest/shortest, 1.0/60) {
			path += fmt.Sprintf("%.1f %.1f ", x(m), y(largest(time.Duration(m*float64(time.Minute)), l.age, l.others)))
		}
		at := left + 250*i
		fmt.Fprintf(&b, `<path class="%s" d="%s"/><path class="%s" d="M%d 52h32"/><text class="text" x="%d" y="57">%s</text>`+"\n",
			l.class, strings.TrimSpace(path), l.class, at, at+40, l.label)
	}
	for _, r := range rows {
		if p := r.Fleet; p != nil {
			others := ""
			if p.Others > 0 {
				others = fmt.Sprintf(", others %d/h", p.Others)
			}
			px, py := x(p.Job.Minutes()), y(float64(p.Droplets))
			fmt.Fprintf(&b, `<circle class="dot" cx="%.1f" cy="%.1f" r="5"/>`+"\n", px, py)
			fmt.Fprintf(&b, `<text class="text" x="%.1f" y="%.1f">measured: %.0f s%s</text>`+"\n", px+10, py+5+float64(p.Others)/150, p.Age.Seconds(), others)
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

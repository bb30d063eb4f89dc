package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// The picture's measures, in the units of its viewBox.
const (
	pictureWidth  = 960
	pictureHeight = 456
	plotLeft      = 56
	plotRight     = pictureWidth - 24
	plotTop       = 100
	plotBottom    = pictureHeight - 52
)

// band is one state of the Droplets, from the bottom of the stack upwards.
type band struct {
	class, label string
	count        func(harness.Sample) int
}

var bands = []band{
	{"busy", "busy", func(s harness.Sample) int { return s.Busy }},
	{"idle", "idle", func(s harness.Sample) int { return s.Idle }},
	{"creating", "creating", func(s harness.Sample) int { return s.Creating }},
	{"deleting", "deleting", func(s harness.Sample) int { return s.Deleting }},
}

// pictureStyle has one set of colours for light and one for dark backgrounds;
// the bands differ in lightness too, for readers who do not tell the hues.
const pictureStyle = `
  svg { color-scheme: light dark; }
  .paper { fill: #ffffff; } .text { fill: #1f2933; } .faint { fill: #5f6c7b; }
  .grid { stroke: #d9dee5; } .axis { stroke: #7b8794; }
  .busy { fill: #0b5fd0; } .idle { fill: #6fc3a1; } .creating { fill: #f2c14e; } .deleting { fill: #b8c0cc; }
  .queue { stroke: #b3261e; } .max { stroke: #1f2933; } .floor { stroke: #1d7a54; }
  .grid, .axis, .queue, .max, .floor { fill: none; }
  .queue { stroke-width: 2.5; } .max { stroke-dasharray: 8 5; stroke-width: 1.5; } .floor { stroke-dasharray: 2 4; stroke-width: 2; }
  text { font: 13px system-ui, sans-serif; } .heading { font-size: 17px; font-weight: 600; }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14191f; } .text { fill: #e6ebf1; } .faint { fill: #9aa7b5; }
    .grid { stroke: #2b333d; } .axis { stroke: #7b8794; }
    .busy { fill: #5b9dff; } .idle { fill: #2f8f69; } .creating { fill: #c9962a; } .deleting { fill: #4d5866; }
    .queue { stroke: #ff8a80; } .max { stroke: #e6ebf1; } .floor { stroke: #7fe0b6; }
  }`

// writePicture draws the run: Droplets by state over time, the queue, and the
// limits that the config sets.
func writePicture(w io.Writer, r *harness.Report) error {
	var b strings.Builder
	p := newPlot(r)

	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title desc">`+"\n", pictureWidth, pictureHeight)
	fmt.Fprintf(&b, "<title id=\"title\">Droplets over the time of a run of %s</title>\n", html.EscapeString(r.Config))
	fmt.Fprintf(&b, "<desc id=\"desc\">%s</desc>\n", html.EscapeString(describe(r)))
	fmt.Fprintf(&b, "<style>%s\n</style>\n", pictureStyle)
	fmt.Fprintf(&b, `<rect class="paper" width="%d" height="%d" rx="8"/>`+"\n", pictureWidth, pictureHeight)
	fmt.Fprintf(&b, `<text class="text heading" x="%d" y="30">%s</text>`+"\n", plotLeft, html.EscapeString(headline(r)))

	p.grid(&b)
	p.areas(&b, r.Samples)
	fmt.Fprintf(&b, `<text class="faint" x="%d" y="%d">Droplets, and jobs in the queue</text>`+"\n", plotLeft, plotTop-8)
	if r.MaxInstances > 0 {
		p.line(&b, "max", r.Samples, func(harness.Sample) float64 { return float64(r.MaxInstances) })
	}
	p.line(&b, "floor", r.Samples, func(s harness.Sample) float64 {
		return math.Ceil(float64(s.IdleCount) / float64(max(r.CapacityPerInstance, 1)))
	})
	p.line(&b, "queue", r.Samples, func(s harness.Sample) float64 { return float64(s.Queued) })
	legend(&b, r)
	b.WriteString("</svg>\n")

	_, err := io.WriteString(w, b.String())
	return err
}

func headline(r *harness.Report) string {
	return fmt.Sprintf("%d jobs on %d Droplets in %s", len(r.Jobs), len(r.Droplets), seconds(r.Elapsed))
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

// plot maps time and counts onto the picture.
type plot struct {
	span time.Duration
	top  int // the highest count, at least 1
}

func newPlot(r *harness.Report) plot {
	p := plot{span: time.Second, top: max(r.MaxInstances, 1)}
	for _, s := range r.Samples {
		p.span = max(p.span, s.At)
		p.top = max(p.top, s.Droplets(), s.Queued)
	}
	return p
}

func (p plot) x(at time.Duration) float64 {
	return plotLeft + float64(plotRight-plotLeft)*at.Seconds()/p.span.Seconds()
}

func (p plot) y(count float64) float64 {
	return plotBottom - float64(plotBottom-plotTop)*count/float64(p.top)
}

// grid draws a line for round counts and a tick for round times.
func (p plot) grid(b *strings.Builder) {
	for count := 0; count <= p.top; count += step(p.top, 8) {
		y := p.y(float64(count))
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text class="faint end" x="%d" y="%.1f">%d</text>`+"\n",
			plotLeft, y, plotRight, plotLeft-8, y+4, count)
	}
	total := int(p.span.Seconds())
	for s := 0; s <= total; s += step(total, 10) {
		x := p.x(time.Duration(s) * time.Second)
		fmt.Fprintf(b, `<path class="axis" d="M%.1f %dv5"/><text class="faint middle" x="%.1f" y="%d">%d s</text>`+"\n",
			x, plotBottom, x, plotBottom+22, s)
	}
	fmt.Fprintf(b, `<path class="axis" d="M%d %dH%d"/>`+"\n", plotLeft, plotBottom, plotRight)
}

// step is a round distance that divides total into at most parts.
func step(total, parts int) int {
	for magnitude := 1; ; magnitude *= 10 {
		for _, factor := range []int{1, 2, 5} {
			if step := factor * magnitude; step*parts >= total {
				return step
			}
		}
	}
}

// areas stacks the bands. Counts are whole, so their edges are steps.
func (p plot) areas(b *strings.Builder, samples []harness.Sample) {
	base := make([]int, len(samples))
	for _, band := range bands {
		upper := make([]int, len(samples))
		for i, s := range samples {
			upper[i] = base[i] + band.count(s)
		}
		fmt.Fprintf(b, `<path class="%s" d="M%s`, band.class, p.steps(samples, func(i int) float64 { return float64(upper[i]) }))
		p.stepsBack(b, samples, base)
		b.WriteString("Z\"/>\n")
		base = upper
	}
}

// stepsBack closes an area along its lower edge, from right to left.
func (p plot) stepsBack(b *strings.Builder, samples []harness.Sample, base []int) {
	last := len(samples) - 1
	if last < 0 {
		return
	}
	fmt.Fprintf(b, "V%.1f", p.y(float64(base[last])))
	for i := last - 1; i >= 0; i-- {
		if base[i] != base[i+1] {
			fmt.Fprintf(b, "H%.1fV%.1f", p.x(samples[i+1].At), p.y(float64(base[i])))
		}
	}
	fmt.Fprintf(b, "H%.1fV%.1f", p.x(samples[0].At), p.y(0))
}

func (p plot) line(b *strings.Builder, class string, samples []harness.Sample, value func(harness.Sample) float64) {
	fmt.Fprintf(b, `<path class="%s" d="M%s"/>`+"\n", class, p.steps(samples, func(i int) float64 { return value(samples[i]) }))
}

// steps draws a value that holds from one sample to the next.
func (p plot) steps(samples []harness.Sample, value func(i int) float64) string {
	if len(samples) == 0 {
		return fmt.Sprintf("%d %d", plotLeft, plotBottom)
	}
	var d strings.Builder
	last := value(0)
	fmt.Fprintf(&d, "%.1f %.1f", p.x(samples[0].At), p.y(last))
	for i, s := range samples {
		v := value(i)
		if v != last || i == len(samples)-1 {
			fmt.Fprintf(&d, "H%.1fV%.1f", p.x(s.At), p.y(v))
		}
		last = v
	}
	return d.String()
}

func legend(b *strings.Builder, r *harness.Report) {
	x := plotLeft
	entry := func(mark, label string) {
		fmt.Fprintf(b, `<g transform="translate(%d 46)">%s<text class="text" x="24" y="13">%s</text></g>`+"\n", x, mark, label)
		x += 40 + 8*len(label)
	}
	for _, band := range bands {
		entry(fmt.Sprintf(`<rect class="%s" width="16" height="16" rx="3"/>`, band.class), band.label)
	}
	entry(`<path class="queue" d="M0 8h18"/>`, "queued jobs")
	entry(`<path class="floor" d="M0 8h18"/>`, "idle_count")
	if r.MaxInstances > 0 {
		entry(`<path class="max" d="M0 8h18"/>`, "max_instances")
	}
}

// seconds prints a duration as a reader of a progress line wants it.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

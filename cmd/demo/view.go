package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// view shows a run while it goes on: on a terminal by a few lines that it redraws in place, elsewhere by a line whenever
// it waits for something else.
//
// Its colours, by their role, are from the terminal's own palette, so that they fit a dark and a light one.
type view struct {
	out   io.Writer
	width func() int // of the terminal, in columns; nil: it is none
	title string
	jobs  int // of the whole run

	drawn int // lines on the screen that the next frame replaces
	said  string
	at    time.Duration // when it was said
}

// newView makes a view on a terminal that can redraw, or on anything else.
func newView(out io.Writer, title string, jobs int) *view {
	v := &view{out: out, title: title, jobs: jobs}
	file, ok := out.(*os.File)
	if ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		v.width = func() int {
			if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
				return width
			}
			return 80
		}
	}
	return v
}

// update shows a sample. It is called about five times a second.
func (v *view) update(s harness.Sample) {
	if v.width == nil {
		if text := waitsFor(s, v.jobs); text != v.said && (v.said == "" || s.At-v.at >= time.Second) {
			v.said, v.at = text, s.At
			fmt.Fprintf(v.out, "%7s  %2d of %d jobs done, %d Droplets; waiting for %s\n", seconds(s.At), s.Done, v.jobs, s.Droplets(), text)
		}
		return
	}
	var b strings.Builder
	if v.drawn == 0 {
		b.WriteString("\x1b[?25l") // hides the cursor
	} else {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	lines := v.frame(s, v.width())
	for _, line := range lines {
		b.WriteString("\r" + line + "\x1b[K\n")
	}
	v.drawn = len(lines)
	io.WriteString(v.out, b.String())
}

// end leaves the output ready for what is printed next.
func (v *view) end() {
	if v.width != nil {
		io.WriteString(v.out, "\x1b[?25h")
	}
}

const reset = "\x1b[0m"

// frame is what a terminal shows, in at most width columns.
func (v *view) frame(s harness.Sample, width int) []string {
	lines := []string{"\x1b[1m" + fit(v.title+"  "+seconds(s.At), width) + reset}
	for _, band := range []struct {
		label, colour string
		n             int
	}{
		{"jobs queued", "\x1b[31m", s.Queued},
		{"Droplets busy", "\x1b[34m", s.Busy},
		{"Droplets idle", "\x1b[32m", s.Idle},
		{"Droplets creating", "\x1b[33m", s.Creating},
		{"Droplets deleting", "\x1b[90m", s.Deleting},
	} {
		text := fit(fmt.Sprintf("%18s %3d ", band.label, band.n), width)
		room := width - utf8.RuneCountInString(text)
		lines = append(lines, text+band.colour+strings.Repeat("■", min(band.n, room))+reset)
	}
	row := func(label, format string, args ...any) {
		lines = append(lines, fit(fmt.Sprintf("%18s  %s", label, fmt.Sprintf(format, args...)), width))
	}
	row("jobs", "%d of %d done, %d running, %d failed", s.Done, v.jobs, s.Running, s.Failed)
	row("requests", "%s", requests(s.Requests))
	row("cost so far", "$%.4f", s.Dollars)
	row("waiting for", "%s", waitsFor(s, v.jobs))
	return lines
}

// fit cuts s to width columns, of which there is one at least.
func fit(s string, width int) string {
	if runes := []rune(s); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return s
}

// waitsFor says what a run of so many jobs waits for.
func waitsFor(s harness.Sample, jobs int) string {
	switch done := s.Done + s.Failed; {
	case s.Queued > 0 && s.Creating > 0:
		return fmt.Sprintf("%d Droplets to boot, for %d jobs", s.Creating, s.Queued)
	case s.Queued > 0:
		return fmt.Sprintf("a Droplet for %d jobs", s.Queued)
	case s.Running > 0:
		return fmt.Sprintf("%d jobs to end", s.Running)
	case done >= jobs && s.Idle == 0:
		return "the last Droplets to be deleted"
	case done >= jobs && s.Idle <= s.IdleCount:
		return "the end: idle_count Droplets stay until the runner stops"
	case s.Idle > s.IdleCount:
		return "idle_time to be over: then idle Droplets are deleted"
	case s.Creating > 0:
		return "Droplets to boot, for idle_count"
	}
	return "the next jobs"
}

// summary prints what a run was like and whether all is well.
func (v *view) summary(r *harness.Report) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(v.out, "%14s  %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(v.out)
	row("jobs", "%d in %s; queued %s (median), %s (95th percentile)",
		len(r.Jobs), seconds(r.Elapsed), seconds(r.Wait(0.5)), seconds(r.Wait(0.95)))
	row("Droplets", "%d made, at most %d at once", len(r.Droplets), r.MostDroplets())
	row("requests", "%s", requests(r.Last().Requests))
	row("cost", "$%.4f; DigitalOcean bills a Droplet for 60 s or $0.01 at least", r.Last().Dollars)
	fmt.Fprintln(v.out)
	good, bad := "ok  ", "FAIL"
	if v.width != nil {
		good, bad = "\x1b[32m✓"+reset, "\x1b[31m✗"+reset
	}
	for _, c := range r.Checks {
		mark := bad
		if c.OK {
			mark = good
		}
		fmt.Fprintf(v.out, "  %s %s\n", mark, c.Text)
	}
}

// requests prints requests by what they are for, the most frequent first.
func requests(operations map[string]int) string {
	counts, total := map[string]int{}, 0
	for operation, n := range operations {
		method, path, _ := strings.Cut(operation, " ")
		kind := "other"
		switch {
		case operation == "POST /v2/droplets":
			kind = "create"
		case operation == "GET /v2/droplets":
			kind = "list"
		case operation == "GET /v2/droplets/{id}":
			kind = "get"
		case method == "DELETE" && strings.HasPrefix(path, "/v2/droplets"):
			kind = "delete"
		case strings.HasPrefix(path, "/v2/account/keys"):
			kind = "key"
		case strings.HasPrefix(path, "/v2/tags"):
			kind = "tag"
		}
		counts[kind] += n
		total += n
	}
	text := fmt.Sprint(total)
	between := ": "
	for _, kind := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	}) {
		text += fmt.Sprintf("%s%d %s", between, counts[kind], kind)
		between = ", "
	}
	return text
}

// seconds prints a duration as a reader of a progress line wants it.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

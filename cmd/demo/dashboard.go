package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// progress shows a run while it goes on.
type progress interface {
	// update shows a sample. It is called about five times a second.
	update(harness.Sample)
	// end leaves the output ready for what is printed next.
	end()
}

// dashboard redraws a few lines of a terminal in place.
//
// It writes colours by their role (busy, idle, ...) from the terminal's own
// palette, so that they fit a dark and a light one.
type dashboard struct {
	out   io.Writer
	width func() int // of the terminal, in columns
	title string
	jobs  int // of the whole run
	// logLine is the plugin's last log line.
	logLine func() string

	drawn int // lines on the screen that the next frame replaces
}

const (
	reset = "\x1b[0m"
	bold  = "\x1b[1m"

	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K"
)

// bands are what is counted, and in which colour.
var bands = []struct {
	label, colour string
	count         func(harness.Sample) int
}{
	{"jobs queued", "\x1b[31m", func(s harness.Sample) int { return s.Queued }},
	{"Droplets busy", "\x1b[34m", func(s harness.Sample) int { return s.Busy }},
	{"Droplets idle", "\x1b[32m", func(s harness.Sample) int { return s.Idle }},
	{"Droplets creating", "\x1b[33m", func(s harness.Sample) int { return s.Creating }},
	{"Droplets deleting", "\x1b[90m", func(s harness.Sample) int { return s.Deleting }},
}

func (d *dashboard) update(s harness.Sample) {
	lines := d.frame(s, d.width())
	var b strings.Builder
	if d.drawn == 0 {
		b.WriteString(hideCursor)
	} else {
		fmt.Fprintf(&b, "\x1b[%dA", d.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r" + line + clearLine + "\n")
	}
	d.drawn = len(lines)
	io.WriteString(d.out, b.String())
}

func (d *dashboard) end() { io.WriteString(d.out, showCursor) }

// frame is the dashboard in at most width columns.
func (d *dashboard) frame(s harness.Sample, width int) []string {
	lines := []string{bold + fit(fmt.Sprintf("%s  %s", d.title, seconds(s.At)), width) + reset}
	for _, band := range bands {
		n := band.count(s)
		text := fit(fmt.Sprintf("%18s %3d ", band.label, n), width)
		room := max(width-utf8.RuneCountInString(text), 0)
		lines = append(lines, text+band.colour+strings.Repeat("■", min(n, room))+reset)
	}
	row := func(label, format string, args ...any) {
		lines = append(lines, fit(fmt.Sprintf("%18s  %s", label, fmt.Sprintf(format, args...)), width))
	}
	row("jobs", "%d of %d done, %d running, %d failed", s.Done, d.jobs, s.Running, s.Failed)
	row("requests", "%s", requestCounts(s.Requests))
	row("cost so far", "$%.4f", s.Dollars)
	row("waiting for", "%s", waitsFor(s, d.jobs))
	row("plugin", "%s", d.logLine())
	return lines
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

// fit cuts s to width columns, of which there is one at least. Its text has no wide runes; control characters
// (a log line may hold anything) become spaces.
func fit(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	return string(runes[:width-1]) + "…"
}

// plainLines prints a line when something has changed, at most one a second.
type plainLines struct {
	out  io.Writer
	jobs int
	last string
	at   time.Duration
}

func (p *plainLines) update(s harness.Sample) {
	if p.last != "" && s.At-p.at < time.Second {
		return
	}
	line := fmt.Sprintf("queued %2d  running %2d  done %2d/%d  |  Droplets: creating %d  idle %d  busy %d  deleting %d  |  requests %d  $%.4f",
		s.Queued, s.Running, s.Done, p.jobs, s.Creating, s.Idle, s.Busy, s.Deleting, total(s.Requests), s.Dollars)
	if line == p.last {
		return
	}
	p.last, p.at = line, s.At
	fmt.Fprintf(p.out, "%7s  %s\n", seconds(s.At), line)
}

func (p *plainLines) end() {}

func total(counts map[string]int) int {
	n := 0
	for _, count := range counts {
		n += count
	}
	return n
}

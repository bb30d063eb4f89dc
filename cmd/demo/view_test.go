package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// busySample is a moment in the middle of a burst.
var busySample = harness.Sample{
	At: 12400 * time.Millisecond, Queued: 7, Running: 3, Done: 4, Failed: 0,
	Creating: 2, Idle: 0, Busy: 3, Deleting: 1, IdleCount: 2,
	Requests: map[string]int{
		"GET /v2/droplets": 9, "POST /v2/droplets": 2, "DELETE /v2/droplets/{id}": 1, "POST /v2/account/keys": 1,
		"GET /v2/sizes": 1, "GET /v2/regions": 1, "DELETE /v2/tags/{tag}": 1,
	},
	Dollars: 0.06,
}

func TestDashboardFitsAnyWidth(t *testing.T) {
	d := &dashboard{title: "demo", jobs: 14, logLine: func() string { return strings.Repeat("x", 500) }}
	crowd := busySample
	crowd.Queued, crowd.Busy = 1000, 1000
	for width := 1; width < 120; width++ {
		for _, line := range plainText(d.frame(crowd, width)) {
			if got := utf8.RuneCountInString(line); got > width {
				t.Fatalf("%d columns in a terminal of %d: %q", got, width, line)
			}
		}
	}
}

func TestDashboardRedrawsInPlaceAndGivesTheCursorBack(t *testing.T) {
	var out bytes.Buffer
	d := &dashboard{out: &out, width: func() int { return 60 }, logLine: func() string { return "" }}

	d.update(busySample)
	lines := strings.Count(out.String(), "\n")
	if !strings.HasPrefix(out.String(), hideCursor+"\r") {
		t.Errorf("the first frame begins with %q", out.String()[:10])
	}
	out.Reset()
	d.update(busySample)
	if lines != 11 || !strings.HasPrefix(out.String(), "\x1b[11A\r") || strings.Count(out.String(), "\n") != lines {
		t.Errorf("after a frame of %d lines the next is %q", lines, out.String())
	}
	out.Reset()
	d.end()
	if out.String() != showCursor {
		t.Errorf("ends with %q", out.String())
	}
}

func TestPlainLinesComeOnChangeAndAtMostOnceASecond(t *testing.T) {
	var out bytes.Buffer
	p := &plainLines{out: &out, jobs: 2}
	for _, s := range []harness.Sample{
		{At: 0, Queued: 2},
		{At: 400 * time.Millisecond, Queued: 1, Running: 1}, // too soon
		{At: 1000 * time.Millisecond, Queued: 1, Running: 1},
		{At: 2000 * time.Millisecond, Queued: 1, Running: 1}, // no change
		{At: 2200 * time.Millisecond, Queued: 1, Done: 1},
	} {
		p.update(s)
	}
	p.end()
	want := `  0.0 s  queued  2  running  0  done  0/2  |  Droplets: creating 0  idle 0  busy 0  deleting 0  |  requests 0  $0.0000
  1.0 s  queued  1  running  1  done  0/2  |  Droplets: creating 0  idle 0  busy 0  deleting 0  |  requests 0  $0.0000
  2.2 s  queued  1  running  0  done  1/2  |  Droplets: creating 0  idle 0  busy 0  deleting 0  |  requests 0  $0.0000
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWaitsFor(t *testing.T) {
	for want, s := range map[string]harness.Sample{
		"Droplets to boot, for idle_count":                         {Creating: 2, IdleCount: 2},
		"the next jobs":                                            {Idle: 2, IdleCount: 2},
		"4 Droplets to boot, for 9 jobs":                           {Queued: 9, Creating: 4, Busy: 2, Running: 2},
		"a Droplet for 9 jobs":                                     {Queued: 9, Busy: 6, Running: 6},
		"3 jobs to end":                                            {Running: 3, Busy: 3, Idle: 3, IdleCount: 2},
		"idle_time to be over: then idle Droplets are deleted":     {Done: 5, Idle: 3, IdleCount: 2},
		"the end: idle_count Droplets stay until the runner stops": {Done: 19, Failed: 1, Idle: 2, IdleCount: 2},
		"the last Droplets to be deleted":                          {Done: 20, Deleting: 2, IdleCount: 2},
	} {
		if got := waitsFor(s, 20); got != want {
			t.Errorf("waiting for %q, want %q", got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	var out bytes.Buffer
	writeSummary(&out, exampleReport(), false)
	writeSummary(&out, &harness.Report{Elapsed: time.Second, Checks: []harness.Check{{Text: "interrupted"}}}, false) // nothing ran
	for _, want := range []string{
		"; queued 1.0 s (median), 3.0 s (95th percentile)\n", " 12.0 s, 30% of the 40.0 s of max_instances = 4 always on\n",
		" 16: 9 list, 2 create, 2 other, 1 delete, 1 key, 1 tag\n", " 8.0 requests\n", " $0.0200;", "\n  ok   all jobs ran\n", "\n  FAIL interrupted\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}

func TestLastLineIsThePluginsAndWorthReading(t *testing.T) {
	last := new(lastLine)
	if got := last.text(); got != "-" {
		t.Errorf("at first: %q", got)
	}
	last.Accept("fleeting-plugin.x", hclog.Info, "Droplets requested", "timestamp", "now", "count", 2, "group", "ci")
	last.Accept("fleeting-plugin.x", hclog.Debug, "listing")
	last.Accept("taskscaler", hclog.Info, "scale up")
	if got, want := last.text(), "Droplets requested count=2 group=ci"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func exampleReport() *harness.Report {
	return &harness.Report{
		MaxInstances: 4, CapacityPerInstance: 1,
		Elapsed: 10 * time.Second,
		Jobs: []harness.JobResult{
			{ID: 1, Queued: 1 * time.Second, Started: 2 * time.Second, Finished: 3 * time.Second},
			{ID: 2, Queued: 1 * time.Second, Started: 4 * time.Second, Finished: 5 * time.Second},
		},
		Droplets: []harness.Droplet{{Created: 1 * time.Second, Gone: 8 * time.Second}, {Created: 4 * time.Second, Gone: 9 * time.Second}},
		Samples: []harness.Sample{
			{At: 0},
			{At: 2 * time.Second, Queued: 2, Creating: 1, IdleCount: 3},
			{At: 4 * time.Second, Running: 1, Busy: 1, Idle: 1, IdleCount: 3},
			{At: 10 * time.Second, Done: 2, Deleting: 1},
		},
		Requests: busySample.Requests,
		Dollars:  0.02,
		Checks:   []harness.Check{{OK: true, Text: "all jobs ran"}},
	}
}

// plainText removes the escape sequences from lines.
func plainText(lines []string) []string {
	var plain []string
	for _, line := range lines {
		for {
			before, after, found := strings.Cut(line, "\x1b[")
			if !found {
				break
			}
			_, after, _ = strings.Cut(after, "m")
			line = before + after
		}
		plain = append(plain, line)
	}
	return plain
}

package main

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// A terminal's frame fits its width, is redrawn in place, and gives the cursor back.
func TestFrames(t *testing.T) {
	var out bytes.Buffer
	width := 0
	v := &view{out: &out, title: "demo", jobs: 14, width: func() int { return width }}
	crowd := harness.Sample{Queued: 1000, Busy: 1000, Requests: example.Last().Requests}
	for width = 1; width < 120; width++ {
		v.update(crowd)
		frame := regexp.MustCompile(`\x1b\[[0-9?]*[a-zA-Z]|\r`).ReplaceAllString(out.String(), "")
		for line := range strings.Lines(frame) {
			if got := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); got > width {
				t.Fatalf("%d columns in a terminal of %d: %q", got, width, line)
			}
		}
		begin := "\x1b[10A\r"
		if width == 1 {
			begin = "\x1b[?25l\r"
		}
		if !strings.HasPrefix(out.String(), begin) || strings.Count(out.String(), "\n") != 10 {
			t.Fatalf("frame %d: %q", width, out.String())
		}
		out.Reset()
	}
	if v.end(); out.String() != "\x1b[?25h" {
		t.Errorf("ends with %q", out.String())
	}
}

// Elsewhere a line comes on change, and at most once a second.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	v := newView(&out, "demo", 2)
	for _, s := range []harness.Sample{
		{At: 0, Queued: 2},
		{At: 400 * time.Millisecond, Running: 1, Busy: 1}, // too soon
		{At: 1000 * time.Millisecond, Running: 1, Busy: 1},
		{At: 2200 * time.Millisecond, Running: 1, Busy: 1}, // no change
		{At: 3200 * time.Millisecond, Done: 2, Deleting: 1},
	} {
		v.update(s)
	}
	v.end()
	want := "  0.0 s   0 of 2 jobs done, 0 Droplets; waiting for a Droplet for 2 jobs\n" +
		"  1.0 s   0 of 2 jobs done, 1 Droplets; waiting for 1 jobs to end\n" +
		"  3.2 s   2 of 2 jobs done, 1 Droplets; waiting for the last Droplets to be deleted\n"
	if out.String() != want {
		t.Errorf("got\n%s", &out)
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

var example = &harness.Report{
	Config:  &harness.Config{Autoscaler: runnerconfig.Autoscaler{MaxInstances: 4, CapacityPerInstance: 2}},
	Elapsed: 10 * time.Second,
	Jobs: []harness.Job{
		{ID: 1, Queued: 1 * time.Second, Started: 2 * time.Second, Finished: 3 * time.Second},
		{ID: 2, Queued: 1 * time.Second, Started: 4 * time.Second, Finished: 5 * time.Second},
	},
	Samples: []harness.Sample{
		{At: 0},
		{At: 2 * time.Second, Queued: 2, Creating: 1, IdleCount: 3},
		{At: 4 * time.Second, Running: 1, Busy: 1, Idle: 1, IdleCount: 3},
		{At: 10 * time.Second, Done: 2, Deleting: 1, Dollars: 0.02, Requests: map[string]int{
			"GET /v2/droplets": 9, "POST /v2/droplets": 2, "DELETE /v2/droplets/{id}": 1, "POST /v2/account/keys": 1,
			"GET /v2/sizes": 1, "GET /v2/regions": 1, "DELETE /v2/tags/{tag}": 1,
		}},
	},
	Checks: []harness.Check{{OK: true, Text: "all jobs ran"}, {Text: "interrupted"}},
}

func TestSummary(t *testing.T) {
	var out bytes.Buffer
	newView(&out, "", 2).summary(example)
	newView(&out, "", 2).summary(&harness.Report{}) // nothing ran
	for _, want := range []string{
		"; queued 1.0 s (median), 3.0 s (95th percentile)\n", " 16: 9 list, 2 create, 2 other, 1 delete, 1 key, 1 tag\n",
		" $0.0200;", "\n  ok   all jobs ran\n", "\n  FAIL interrupted\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}

func TestPicture(t *testing.T) {
	got := map[string][]float64{}
	for _, s := range picture(example).Series {
		for i, p := range s.Points {
			if p.X != example.Samples[i].At.Seconds() {
				t.Errorf("%s: sample %d is at %g s", s.Name, i, p.X)
			}
			got[s.Name] = append(got[s.Name], p.Y)
		}
	}
	want := map[string][]float64{ // the areas are stacked
		"busy":          {0, 0, 1, 0},
		"idle":          {0, 0, 2, 0},
		"creating":      {0, 1, 2, 0},
		"deleting":      {0, 1, 2, 1},
		"queued jobs":   {0, 2, 0, 0},
		"idle_count":    {0, 2, 2, 0}, // 3 jobs are 2 Droplets
		"max_instances": {4, 4, 4, 4},
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, not %v", got, want)
	}
}

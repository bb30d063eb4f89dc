package main

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// The largest fleet of a token, by how long a job lasts.
func TestLargest(t *testing.T) {
	if n := largest(16*time.Minute, time.Minute, 4750); n != 0 {
		t.Errorf("a spent token carries %.0f Droplets", n)
	}
	// 2 requests for each 100 are more than 480 from 24,000 an hour.
	if few, many := largest(30*time.Minute, time.Minute, 0), largest(6*time.Minute, time.Minute, 0); math.Round(few) != 8540 || math.Round(many) != 3167 {
		t.Errorf("%.0f and %.0f Droplets, want 4,270/0.5 and 4,750/1.5", few, many)
	}
	if n := largest(time.Hour, time.Minute, 0); n != 10000 {
		t.Errorf("%.0f Droplets, want those that a minute always has room to list", n)
	}
}

// docs/performance.md is as the command writes it: each of its rows once, and no target missed.
func TestPerformanceIsMeasured(t *testing.T) {
	doc, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for line := range strings.Lines(string(doc)) {
		for _, a := range asked {
			if cells, ok := strings.CutPrefix(line, "| "+a.question+" | "); ok {
				measured, target, _ := strings.Cut(strings.TrimSuffix(cells, " |\n"), " | ")
				rows = append(rows, row{What: a.row, Measured: measured, Target: target, Met: true})
			}
		}
	}
	if want, err := page(rows); err != nil || string(doc) != want || strings.Contains(want, "MISSED") {
		t.Errorf("docs/performance.md is not as `make bench` writes it, or misses a target (%v):\n%s", err, doc)
	}
}

// A missed target is marked, and a row that nothing measured is an error.
func TestPage(t *testing.T) {
	if _, err := page(nil); err == nil {
		t.Error("a page without measurements")
	}
	var rows []row
	for i, a := range asked {
		rows = append(rows, row{What: a.row, Target: "<= 1", Met: i > 0})
	}
	if text, err := page(rows); err != nil || strings.Count(text, "| <= 1 MISSED |") != 1 {
		t.Errorf("%v:\n%s", err, text)
	}
}

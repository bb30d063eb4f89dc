package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// What docs/design.md says of the largest fleet is what the picture shows.
func TestLargest(t *testing.T) {
	doc, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	const job = 16 * time.Minute
	want := fmt.Sprintf("for 16 minutes allows %s of them at 15 s, and %s at 60 s",
		thousands(largest(job, 15*time.Second, 0)), thousands(largest(job, time.Minute, 0)))
	if !strings.Contains(strings.Join(strings.Fields(string(doc)), " "), want) {
		t.Errorf("docs/design.md does not say: %s", want)
	}
	if n := largest(job, time.Minute, 4750); n != 0 {
		t.Errorf("a spent token carries %.0f Droplets", n)
	}
	// 2 requests for each 100 are more than 480 from 24,000 an hour.
	if few, many := largest(time.Hour, time.Minute, 0), largest(6*time.Minute, time.Minute, 0); math.Round(few) != 10675 || math.Round(many) != 3167 {
		t.Errorf("%.0f and %.0f Droplets, want 4,270/0.4 and 4,750/1.5", few, many)
	}
}

func thousands(n float64) string {
	return fmt.Sprintf("%d,%03d", int(n)/1000, int(n)%1000)
}

func TestExponent(t *testing.T) {
	for _, e := range []float64{0, 0.5, 1, 2} {
		x := []float64{100, 1000, 5000}
		y := make([]float64, len(x))
		for i := range x {
			y[i] = 3 * math.Pow(x[i], e)
		}
		if got := exponent(x, y); math.Abs(got-e) > 1e-9 {
			t.Errorf("the exponent of 3x^%v is %v", e, got)
		}
	}
}

// docs/performance.md is written by the command, and no target is missed in it.
func TestPerformanceIsMeasured(t *testing.T) {
	doc, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(doc), preface) {
		t.Error("docs/performance.md does not begin as `make bench` writes it")
	}
	if strings.Contains(string(doc), "MISSED") {
		t.Error("docs/performance.md misses a target")
	}
	for _, what := range []string{"0 → 1000 → 0", "5000 Droplets, Update every 2 s", "churn: 5000 Droplets", "two groups", "a process with 5000 Droplets"} {
		if !strings.Contains(string(doc), what) {
			t.Errorf("docs/performance.md lacks the case %q", what)
		}
	}
}

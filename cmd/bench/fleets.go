package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// module is whose tests measure: those that need a testing.T, for virtual time.
const module = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean"

// fleets runs TestFleet, whose output is its progress, and returns what it measured.
func fleets(ctx context.Context, file string) ([]row, error) {
	fmt.Fprintln(os.Stderr, "fleets, in virtual time ...")
	test := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-timeout=60m", "-run=^TestFleet$", module+"/provider")
	test.Env = append(os.Environ(), "FLEET_RESULTS="+file)
	test.Stderr = os.Stderr
	test.Stdout = os.Stderr
	failed := test.Run() // also if a target is missed
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("TestFleet: %w, and left no results: %w", failed, err)
	}
	var rows []row
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("the results of TestFleet: %w", err)
	}
	if failed != nil && !slices.ContainsFunc(rows, func(r row) bool { return !r.Met }) {
		return nil, fmt.Errorf("TestFleet: %w", failed)
	}
	return rows, nil
}

// lists runs BenchmarkList: what it takes to decode a list, and how that grows.
func lists(ctx context.Context) ([]row, error) {
	fmt.Fprintln(os.Stderr, "lists ...")
	output, err := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkList$", "-benchtime=3s",
		module+"/provider/digitalocean").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("BenchmarkList: %w\n%s", err, output)
	}
	var sizes, times, bytes, allocs []float64
	for line := range strings.Lines(string(output)) {
		// BenchmarkList/100-2  769  1411132 ns/op  98.32 MB/s  606248 B/op  1437 allocs/op
		f := strings.Fields(line)
		if len(f) != 10 || !strings.HasPrefix(f[0], "BenchmarkList/") {
			continue
		}
		size, _, _ := strings.Cut(strings.TrimPrefix(f[0], "BenchmarkList/"), "-")
		for to, s := range map[*[]float64]string{&sizes: size, &times: f[2], &bytes: f[6], &allocs: f[8]} {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return nil, fmt.Errorf("BenchmarkList: %w in %s", err, line)
			}
			*to = append(*to, v)
		}
	}
	if len(sizes) != 3 {
		return nil, fmt.Errorf("BenchmarkList measured %d sizes, want 3:\n%s", len(sizes), output)
	}
	var rows []row
	for _, m := range []struct {
		what, unit string
		per        float64
		values     []float64
	}{{"time", "ms", 1e6, times}, {"allocated", "MiB", 1 << 20, bytes}, {"allocations", "thousand", 1000, allocs}} {
		e := exponent(sizes, m.values)
		rows = append(rows, row{
			What:     "a list of 100, 1,000, 5,000 Droplets, " + m.what,
			Measured: fmt.Sprintf("%.1f, %.1f, %.1f %s; exponent %.2f", m.values[0]/m.per, m.values[1]/m.per, m.values[2]/m.per, m.unit, e),
			Target:   "exponent <= 1.1", Met: e <= 1.1,
		})
	}
	return rows, nil
}

// exponent returns e of y = c * x^e, fitted by least squares of the logarithms.
func exponent(x, y []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i := range x {
		lx, ly := math.Log(x[i]), math.Log(y[i])
		n, sx, sy, sxx, sxy = n+1, sx+lx, sy+ly, sxx+lx*lx, sxy+lx*ly
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

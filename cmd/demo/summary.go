package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// writeSummary prints what a run was like and whether all is well.
func writeSummary(w io.Writer, r *harness.Report, colour bool) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%14s  %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w)
	row("jobs", "%d in %s; queued %s (median), %s (95th percentile)",
		len(r.Jobs), seconds(r.Elapsed), seconds(r.Wait(0.5)), seconds(r.Wait(0.95)))
	row("Droplets", "%d made, at most %d at once", len(r.Droplets), r.MostDroplets())
	if r.MaxInstances > 0 && r.Elapsed > 0 {
		used, always := r.DropletTime(), time.Duration(r.MaxInstances)*r.Elapsed
		row("Droplet time", "%s, %.0f%% of the %s of max_instances = %d always on",
			seconds(used), 100*used.Seconds()/always.Seconds(), seconds(always), r.MaxInstances)
	}
	if n := len(r.Droplets); n > 0 {
		row("per Droplet", "%.1f requests", float64(total(r.Requests))/float64(n))
	}
	row("requests", "%s", requestCounts(r.Requests))
	row("cost", "$%.4f; DigitalOcean bills a Droplet for 60 s or $0.01 at least", r.Dollars)
	fmt.Fprintln(w)

	for _, c := range r.Checks {
		good, bad := "ok  ", "FAIL"
		if colour {
			good, bad = "\x1b[32m✓"+reset, "\x1b[31m✗"+reset
		}
		mark := bad
		if c.OK {
			mark = good
		}
		fmt.Fprintf(w, "  %s %s\n", mark, c.Text)
	}
}

// requestCounts prints requests by kind, the most frequent first.
func requestCounts(operations map[string]int) string {
	counts := make(map[string]int)
	for operation, n := range operations {
		counts[requestKind(operation)] += n
	}
	var kinds []string
	for _, kind := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	}) {
		kinds = append(kinds, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	return strings.TrimSuffix(fmt.Sprintf("%d: %s", total(operations), strings.Join(kinds, ", ")), ": ")
}

// requestKind is what an operation of the API is for, in a word.
func requestKind(operation string) string {
	switch method, path, _ := strings.Cut(operation, " "); {
	case operation == "POST /v2/droplets":
		return "create"
	case operation == "GET /v2/droplets":
		return "list"
	case operation == "GET /v2/droplets/{id}":
		return "get"
	case method == "DELETE" && strings.HasPrefix(path, "/v2/droplets"):
		return "delete"
	case strings.HasPrefix(path, "/v2/account/keys"):
		return "key"
	case strings.HasPrefix(path, "/v2/tags"):
		return "tag"
	}
	return "other"
}

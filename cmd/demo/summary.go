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
		row("per Droplet", "%.1f requests", float64(r.RequestCount())/float64(n))
	}
	row("requests", "%s", requestCounts(r.Requests))
	row("cost", "$%.4f; DigitalOcean bills a Droplet for 60 s or $0.01 at least", r.Dollars)
	fmt.Fprintln(w)

	for _, c := range r.Checks {
		mark := "ok  "
		if !c.OK {
			mark = "FAIL"
		}
		if colour {
			mark = map[bool]string{true: "\x1b[32m✓" + reset, false: "\x1b[31m✗" + reset}[c.OK]
		}
		fmt.Fprintf(w, "  %s %s\n", mark, c.Text)
	}
}

// requestCounts prints requests by kind, the most frequent first.
func requestCounts(operations map[string]int) string {
	counts := make(map[string]int)
	total := 0
	for operation, n := range operations {
		counts[requestKind(operation)] += n
		total += n
	}
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	text := fmt.Sprint(total)
	for i, kind := range kinds {
		text += fmt.Sprintf("%s%d %s", map[bool]string{true: ": ", false: ", "}[i == 0], counts[kind], kind)
	}
	return text
}

// requestKind is what an operation of the API is for, in a word.
func requestKind(operation string) string {
	switch operation {
	case "POST /v2/droplets":
		return "create"
	case "GET /v2/droplets":
		return "list"
	case "GET /v2/droplets/{id}":
		return "get"
	case "DELETE /v2/droplets/{id}", "DELETE /v2/droplets":
		return "delete"
	}
	_, path, _ := strings.Cut(operation, " ")
	switch {
	case strings.HasPrefix(path, "/v2/account/keys"):
		return "key"
	case strings.HasPrefix(path, "/v2/tags"):
		return "tag"
	}
	return "other"
}

// printOverrides says what of plugin_config the demo replaced.
func printOverrides(w io.Writer, overrides []string) {
	fmt.Fprintf(w, "as configured, except for:\n  %s\n", strings.Join(append(overrides, "delete_instances_on_shutdown = true"), "\n  "))
}

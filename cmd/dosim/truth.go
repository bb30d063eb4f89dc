package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// handler serves the API, and the truth about it under /_sim.
func handler(sim *dosim.Sim) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", sim)
	mux.HandleFunc("GET /_sim", func(w http.ResponseWriter, _ *http.Request) { printTruth(w, sim) })
	return mux
}

// printTruth prints the account as it is, whatever its API says.
func printTruth(w io.Writer, sim *dosim.Sim) {
	droplets, ledger, requests := sim.Droplets(), sim.Ledger(), sim.RequestCounts()
	fmt.Fprintf(w, "Droplets: %d\n", len(droplets))
	for _, d := range droplets {
		address := d.PublicIPv4
		if !address.IsValid() {
			address = d.PrivateIPv4
		}
		line := fmt.Sprintf("  %d  %s  %s  %s  %s  %s  %s", d.ID, d.Name, d.Status, d.Region, d.Size, address, strings.Join(d.Tags, ","))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	dollars := 0.0
	for _, bill := range ledger {
		dollars += bill.Dollars
	}
	fmt.Fprintf(w, "Bill: $%.2f for %s\n", dollars, plural(len(ledger), "Droplet"))
	sum := 0
	for _, n := range requests {
		sum += n
	}
	fmt.Fprintf(w, "Requests: %d", sum)
	if n := sim.Throttled(); n > 0 {
		fmt.Fprintf(w, ", %d of them answered 429", n)
	}
	fmt.Fprintln(w)
	for _, op := range slices.Sorted(maps.Keys(requests)) {
		fmt.Fprintf(w, "%6d  %s\n", requests[op], cmp.Or(op, "(no such operation)"))
	}
	var faults []string
	for _, f := range sim.Faults() {
		faults = append(faults, f.String())
	}
	printList(w, "Faults", faults)
	printList(w, "Violations", sim.Violations())
}

func printList(w io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		fmt.Fprintf(w, "%s: none\n", title)
		return
	}
	fmt.Fprintf(w, "%s: %d\n", title, len(lines))
	for _, line := range lines {
		fmt.Fprintf(w, "  %s\n", line)
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

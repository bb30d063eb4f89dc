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
	list := func(title string, lines []string) {
		fmt.Fprintf(w, "%s: %d\n", title, len(lines))
		for _, line := range lines {
			fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, " "))
		}
	}
	var droplets, faults []string
	for _, d := range sim.Droplets() {
		address := d.PublicIPv4
		if !address.IsValid() {
			address = d.PrivateIPv4
		}
		droplets = append(droplets, fmt.Sprintf("%d  %s  %s  %s  %s  %s  %s",
			d.ID, d.Name, d.Status, d.Region, d.Size, address, strings.Join(d.Tags, ",")))
	}
	list("Droplets", droplets)

	fmt.Fprintf(w, "Bill: $%.2f for %d made\n", sim.Dollars(), len(sim.Ledger()))

	requests := sim.RequestCounts()
	fmt.Fprintf(w, "Requests: %d\n", len(sim.Requests()))
	for _, op := range slices.Sorted(maps.Keys(requests)) {
		fmt.Fprintf(w, "%6d  %s\n", requests[op], cmp.Or(op, "(no such operation)"))
	}
	for _, f := range sim.Faults() {
		faults = append(faults, f.String())
	}
	list("Faults", faults)
	list("Violations", sim.Violations())
}

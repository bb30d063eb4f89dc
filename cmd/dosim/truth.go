package main

import (
	"encoding/json"
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
	mux.HandleFunc("GET /_sim", func(w http.ResponseWriter, r *http.Request) {
		t := look(sim)
		if strings.Contains(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			encoder := json.NewEncoder(w)
			encoder.SetIndent("", "  ")
			_ = encoder.Encode(t) // a client that went away
			return
		}
		t.print(w)
	})
	mux.HandleFunc("POST /_sim/faults", func(w http.ResponseWriter, r *http.Request) {
		faults, err := readFaults(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		sim.Inject(faults...)
		for _, f := range faults {
			fmt.Fprintln(w, "armed:", f)
		}
	})
	mux.HandleFunc("DELETE /_sim/faults", func(http.ResponseWriter, *http.Request) { sim.ClearFaults() })
	return mux
}

// readFaults reads one fault a line: all of them, or the first error.
func readFaults(r io.Reader) ([]dosim.Fault, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var faults []dosim.Fault
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		fault, err := dosim.ParseFault(line)
		if err != nil {
			return nil, err
		}
		faults = append(faults, fault)
	}
	return faults, nil
}

// truth is the account as it is, whatever its API says.
type truth struct {
	Droplets   []dosim.Droplet `json:"droplets"`
	Ledger     []dosim.Bill    `json:"ledger"`
	Dollars    float64         `json:"dollars"`
	Requests   map[string]int  `json:"requests"`
	Throttled  int             `json:"throttled"`
	Keys       []dosim.Key     `json:"ssh_keys"`
	Tags       []string        `json:"tags"`
	Faults     []string        `json:"faults"`
	Violations []string        `json:"violations"`
}

func look(sim *dosim.Sim) truth {
	t := truth{
		Droplets: sim.Droplets(), Ledger: sim.Ledger(), Requests: sim.RequestCounts(), Throttled: sim.Throttled(),
		Keys: sim.Keys(), Tags: sim.Tags(), Violations: sim.Violations(),
	}
	for _, bill := range t.Ledger {
		t.Dollars += bill.Dollars
	}
	for _, f := range sim.Faults() {
		t.Faults = append(t.Faults, f.String())
	}
	return t
}

func (t truth) print(w io.Writer) {
	fmt.Fprintf(w, "Droplets: %d\n", len(t.Droplets))
	for _, d := range t.Droplets {
		address := d.PublicIPv4
		if !address.IsValid() {
			address = d.PrivateIPv4
		}
		line := fmt.Sprintf("  %d  %s  %s  %s  %s  %s  %s", d.ID, d.Name, d.Status, d.Region, d.Size, address, strings.Join(d.Tags, ","))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintf(w, "Bill: $%.2f for %s\n", t.Dollars, plural(len(t.Ledger), "Droplet"))
	sum := 0
	for _, n := range t.Requests {
		sum += n
	}
	fmt.Fprintf(w, "Requests: %d", sum)
	if t.Throttled > 0 {
		fmt.Fprintf(w, ", %d of them answered 429", t.Throttled)
	}
	fmt.Fprintln(w)
	for _, op := range slices.Sorted(maps.Keys(t.Requests)) {
		name := op
		if name == "" {
			name = "(no such operation)"
		}
		fmt.Fprintf(w, "%6d  %s\n", t.Requests[op], name)
	}
	printList(w, "Faults", t.Faults)
	printList(w, "Violations", t.Violations)
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

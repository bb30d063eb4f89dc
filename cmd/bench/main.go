// Command bench measures what the docs claim of the plugin: fleets in virtual
// time, lists as Go benchmarks, and the real binary over gRPC; all against a
// simulated DigitalOcean with its real rate limits and a round trip of 150 ms. It
// prints one table, writes it to a file with a picture of the largest fleet beside
// it, and fails if a target is missed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

const usage = `Usage: bench [-plugin FILE] [-out FILE] [-json]

Measures the plugin's requests, delays, time and memory against a simulated DigitalOcean: 12 minutes.

  -plugin FILE  the binary to measure (default: build it)
  -out FILE     where the table goes, as Markdown; fleet.svg goes beside it (default: nowhere)
  -json         print the table as JSON

It exits with 1 if a target is missed.

A session:
  $ make bench
  case                                       measured (target)
  0 -> 100 -> 0                       ok     accepted after 0.6 s, running after 36.7 s with 24 requests; ...
  ...
`

// roundTrip is the simulated network's, and what round trips are counted in.
const roundTrip = 150 * time.Millisecond

func main() {
	plugin := flag.String("plugin", "", "")
	out := flag.String("out", "", "")
	asJSON := flag.Bool("json", false, "")
	flag.Usage = func() { fmt.Fprint(flag.CommandLine.Output(), usage) }
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %q; bench -help tells what there is\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(context.Background(), *plugin, *out, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// row is one line of the table. TestFleet writes such lines as JSON.
type row struct {
	What, Measured string
	Target         string `json:",omitempty"` // "" = this line is there for comparison
	Met            bool
	Fleet          *point `json:",omitempty"` // for the picture
}

// point is a fleet that was measured.
type point struct {
	Droplets int
	Job      time.Duration // of which each runs one
	Others   int           // requests an hour of other programs
	Age      time.Duration // of what the runner is told, 95th percentile
}

func run(ctx context.Context, plugin, out string, asJSON bool) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if plugin == "" {
		if plugin, err = harness.BuildPlugin(ctx, dir); err != nil {
			return err
		}
	}
	var rows []row
	for _, measure := range []func() ([]row, error){
		func() ([]row, error) { return fleets(ctx, filepath.Join(dir, "fleets.json")) },
		func() ([]row, error) { return lists(ctx) },
		func() ([]row, error) { return processes(ctx, plugin, dir) },
	} {
		more, err := measure()
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	if out != "" {
		if err := writeFiles(out, rows); err != nil {
			return err
		}
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(rows)
	} else {
		err = print(os.Stdout, rows)
	}
	if err != nil {
		return err
	}
	missed := 0
	for _, r := range rows {
		if !r.Met {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of the targets are missed", missed)
	}
	return nil
}

func (r row) outcome() string {
	switch {
	case r.Target == "":
		return ""
	case r.Met:
		return "ok"
	}
	return "MISSED"
}

func print(w io.Writer, rows []row) error {
	format := "%-66s %-6s %s\n"
	fmt.Fprintf(w, format, "case", "", "measured (target)")
	for _, r := range rows {
		target := ""
		if r.Target != "" {
			target = " (" + r.Target + ")"
		}
		if _, err := fmt.Fprintf(w, format, r.What, r.outcome(), r.Measured+target); err != nil {
			return err
		}
	}
	return nil
}

const preface = `# Performance

Written by ` + "`make bench`" + `, which measures all of this in one run, and fails if a target is missed; not by hand.

Fleets run in virtual time: the runner's own provisioner, the plugin, and a simulated DigitalOcean with its real limits of
5,000 requests an hour and 250 a minute, a round trip of 150 ms and Droplets that boot in 30 s. Data age is how old the list
is that the runner's picture comes from. Processes are the real binary over gRPC and HTTP, in real time.

[design.md](design.md#the-largest-fleet-of-one-token) has the arithmetic behind it.

`

func writeFiles(out string, rows []row) error {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| case | measured | target | |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.What, r.Measured, r.Target, r.outcome())
	}
	if err := os.WriteFile(out, []byte(strings.ReplaceAll(b.String(), "->", "→")), 0o644); err != nil {
		return err
	}
	picture, err := os.Create(filepath.Join(filepath.Dir(out), "fleet.svg"))
	if err != nil {
		return err
	}
	if err := drawFleets(picture, rows); err != nil {
		picture.Close()
		return err
	}
	return picture.Close()
}

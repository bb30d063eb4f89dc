// Command bench measures what the docs claim of the plugin: fleets in virtual time, and the real binary over gRPC; both
// against a simulated DigitalOcean with its real rate limits and a round trip of 150 ms. It prints one table, writes it to
// a file with a picture of the largest fleet beside it, and fails if a target is missed.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

const usage = `Usage: bench [-plugin FILE] [-out FILE]

Measures the plugin's requests, delays, time and memory against a simulated DigitalOcean: 12 minutes.

  -plugin FILE  the binary to measure (default: build it)
  -out FILE     where the table goes, as Markdown; fleet.svg goes beside it (default: nowhere)

It exits with 1 if a target is missed.

A session:
  $ make bench
  case                                       measured (target)
  0 -> 100 -> 0                       ok     accepted after 0.6 s, running after 36.7 s with 24 requests; ...
  ...
`

func main() {
	plugin := flag.String("plugin", "", "")
	out := flag.String("out", "", "")
	flag.Usage = func() { fmt.Fprint(flag.CommandLine.Output(), usage) }
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %q; bench -help lists the flags\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(context.Background(), *plugin, *out); err != nil {
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
	Age      time.Duration // of what the runner sees, 95th percentile
}

func run(ctx context.Context, plugin, out string) error {
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
	rows, err := fleets(ctx, filepath.Join(dir, "fleets.json"))
	if err != nil {
		return err
	}
	more, err := processes(ctx, plugin, dir)
	if err != nil {
		return err
	}
	rows = append(rows, more...)
	if out != "" {
		text, err := page(rows)
		if err != nil {
			return err
		}
		var picture bytes.Buffer
		if err := errors.Join(
			drawFleets(&picture, rows),
			os.WriteFile(out, []byte(text), 0o644),
			os.WriteFile(filepath.Join(filepath.Dir(out), "fleet.svg"), picture.Bytes(), 0o644),
		); err != nil {
			return err
		}
	}
	return print(rows)
}

// fleets runs TestFleet, which needs a testing.T for its virtual time, and returns what it measured. Its output is its
// progress.
func fleets(ctx context.Context, file string) ([]row, error) {
	fmt.Fprintln(os.Stderr, "fleets, in virtual time ...")
	const of = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	test := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-timeout=60m", "-run=^TestFleet$", of)
	test.Env = append(os.Environ(), "FLEET_RESULTS="+file)
	test.Stdout, test.Stderr = os.Stderr, os.Stderr
	failed := test.Run() // also if a target is missed
	var rows []row
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &rows)
	}
	if err != nil || failed != nil && !slices.ContainsFunc(rows, func(r row) bool { return !r.Met }) {
		return nil, fmt.Errorf("TestFleet: %w", errors.Join(failed, err))
	}
	return rows, nil
}

// print prints the table. A target that is missed is an error.
func print(rows []row) error {
	const format = "%-66s %-6s %s\n"
	fmt.Printf(format, "case", "", "measured (target)")
	missed := 0
	for _, r := range rows {
		outcome, target := "ok", " ("+r.Target+")"
		if r.Target == "" {
			outcome, target = "", ""
		}
		if !r.Met {
			outcome = "MISSED"
			missed++
		}
		fmt.Printf(format, r.What, outcome, r.Measured+target)
	}
	if missed > 0 {
		return fmt.Errorf("%d of the targets are missed", missed)
	}
	return nil
}

const preface = `# Performance

` + "`make bench`" + ` writes this page, prints more, and fails if a target is missed.

The fleets run in virtual time, with the runner's own autoscaler and a simulated DigitalOcean: a round trip takes 150 ms, a boot 30 s. The
last two rows are the real binary, in real time.

"Data age" is the age of the list of Droplets that the runner sees. A "429" is a request refused for exceeding the token's limit.

`

const epilogue = `
See also [the largest fleet of one token](design.md#the-largest-fleet-of-one-token).
`

// asked are the rows of docs/performance.md: what a user asks, and the row that answers it.
var asked = []struct{ question, row string }{
	{"100 Droplets come and go", "0 -> 100 -> 0"},
	{"1,000 Droplets come and go", "0 -> 1000 -> 0"},
	{"1,000 idle Droplets, one hour", "1000 Droplets, Update every 2 s, 1 h"},
	{"5,000 idle Droplets, one hour", "5000 Droplets, Update every 2 s, 1 h"},
	{"2,000 Droplets, one job of 10 to 20 minutes each, in the third hour", "churn: 2000 Droplets, jobs of 10 to 20 min"},
	{"The same, while others use half of the token's requests", "churn: 2000 Droplets, jobs of 10 to 20 min, others send 2500/h"},
	{"5,000 Droplets, the same jobs", "churn: 5000 Droplets, jobs of 10 to 20 min"},
	{"Two groups of 500 on one token", "two groups of 500 on one token, Update every 2 s, 1 h"},
	{"CPU and memory with 1,000 Droplets", "a process with 1000 Droplets, Update every 2 s"},
	{"CPU and memory with 5,000 Droplets", "a process with 5000 Droplets, Update every 2 s"},
}

// page is docs/performance.md.
func page(rows []row) (string, error) {
	var b strings.Builder
	b.WriteString(preface + "| question | measured | target |\n|---|---|---|\n")
	for _, a := range asked {
		i := slices.IndexFunc(rows, func(r row) bool { return r.What == a.row })
		if i < 0 {
			return "", fmt.Errorf("nothing measured %q, which the page shows", a.row)
		}
		target := rows[i].Target
		if !rows[i].Met {
			target += " MISSED"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.question, rows[i].Measured, target)
	}
	return b.String() + epilogue, nil
}

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

const demoConfig = "../../examples/demo/config.toml"

// What `make demo` does, with fewer jobs.
func TestDemoRunsAndKeepsItsResults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about 35 s, most of it waiting; run without -short")
	}
	dir := t.TempDir()
	svg, numbers, log := filepath.Join(dir, "new", "demo.svg"), filepath.Join(dir, "demo.json"), filepath.Join(dir, "demo.log")

	var stdout, stderr bytes.Buffer
	exit := run(t.Context(), []string{"-config", demoConfig, "-jobs", "6", "-svg", svg, "-json", numbers, "-log", log}, &stdout, &stderr)
	t.Logf("stdout:\n%s\nstderr:\n%s", &stdout, &stderr)
	if exit != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, and it should be 0 without a word on stderr", exit)
	}
	for _, want := range []string{
		"as configured, except for: api_url = http",
		"ok   6 of 6 jobs ran, each exactly once",
		"ok   no Droplet is left or billed",
		"picture of the run: " + svg,
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("stdout lacks %q", want)
		}
	}
	if strings.Contains(stdout.String(), "\x1b") {
		t.Error("escape sequences in what is not a terminal")
	}

	text, err := os.ReadFile(numbers)
	if err != nil {
		t.Fatal(err)
	}
	var report harness.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK() || len(report.Jobs) != 6 || len(report.Samples) == 0 {
		t.Errorf("-json: OK %v, %d jobs, %d samples", report.OK(), len(report.Jobs), len(report.Samples))
	}
	for _, path := range []string{svg, log} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: empty or missing (%v)", path, err)
		}
	}
}

func TestBadCommandLinesSayWhatIsWrong(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(broken, []byte("concurrent = 1\n[[runners]]\nlimit = many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		exit   int
		stderr string
	}{
		{[]string{"-speed", "2"}, 2, "error: flag provided but not defined: -speed\nhint: demo -help lists the flags\n"},
		{[]string{"config.toml"}, 2, "error: unexpected argument \"config.toml\"\nhint: demo -help lists the flags\n"},
		{[]string{"-jobs", "0"}, 2, "error: -jobs is 0: must be 1 or more\n"},
		{[]string{"-config", broken}, 1, "error: " + broken + ":3: runners.limit: expected value but found \"many\" instead\n"},
		{[]string{"-config", demoConfig, "-log", filepath.Join(broken, "log")}, 1, "error: -log: open " + filepath.Join(broken, "log") + ": not a directory\n"},
	} {
		var stdout, stderr bytes.Buffer
		exit := run(t.Context(), tt.args, &stdout, &stderr)
		if exit != tt.exit || stderr.String() != tt.stderr || stdout.Len() > 0 {
			t.Errorf("demo %s: exit %d, stdout %q, stderr %q; want exit %d, no stdout, stderr %q",
				strings.Join(tt.args, " "), exit, &stdout, &stderr, tt.exit, tt.stderr)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if exit := run(t.Context(), []string{"-help"}, &stdout, &stderr); exit != 0 || stderr.Len() > 0 {
		t.Errorf("exit %d, stderr %q", exit, &stderr)
	}
	new(flags).flagSet().VisitAll(func(f *flag.Flag) {
		if !strings.Contains(stdout.String(), fmt.Sprintf("\n  -%s ", f.Name)) {
			t.Errorf("-help does not list -%s", f.Name)
		}
		if f.DefValue != "" && !strings.Contains(stdout.String(), "default "+f.DefValue) {
			t.Errorf("-help does not tell that -%s is %s", f.Name, f.DefValue)
		}
	})
}

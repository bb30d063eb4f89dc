package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

const demoConfig = "../../examples/demo/config.toml"

// What `make demo` does, with fewer jobs.
func TestDemoRunsAndKeepsItsResults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about 20 s, most of it waiting; run without -short")
	}
	where := "jobs run in containers of the Docker Engine at "
	if _, err := guest.FindDocker(t.Context(), ""); err != nil {
		where = "jobs are shell commands: " + err.Error()
	}
	dir := t.TempDir()
	svg, log := filepath.Join(dir, "new", "demo.svg"), filepath.Join(dir, "demo.log")

	var stdout, stderr bytes.Buffer
	exit := run(t.Context(), []string{"-config", demoConfig, "-jobs", "2", "-svg", svg, "-log", log}, &stdout, &stderr)
	if exit != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, stdout:\n%s\nstderr:\n%s", exit, &stdout, &stderr)
	}
	for _, want := range []string{
		where,
		"as configured, but for api_url, ",
		"ok   2 of 2 jobs ran, each exactly once",
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

	for _, path := range []string{svg, log} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: empty or missing (%v)", path, err)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, tt := range []struct {
		args   string
		exit   int
		stderr string
	}{
		{"-speed 2", 2, "error: flag provided but not defined: -speed\nhint: demo -help lists the flags\n"},
		{"config.toml", 2, "error: unexpected argument \"config.toml\"\nhint: "},
		{"-jobs 0", 2, "error: -jobs is 0: must be 1 or more\nhint: "},
		{"-config none.toml", 1, "error: stat none.toml: "},
		{"-config " + demoConfig + " -log " + demoConfig + "/log", 1, "error: -log: open "},
	} {
		var stdout, stderr bytes.Buffer
		exit := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
		if exit != tt.exit || !strings.HasPrefix(stderr.String(), tt.stderr) || stdout.Len() > 0 {
			t.Errorf("demo %s: exit %d, stdout %q, stderr %q", tt.args, exit, &stdout, &stderr)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	new(flags).flagSet().VisitAll(func(f *flag.Flag) {
		if !strings.Contains(usage, "\n  -"+f.Name+" ") || !strings.Contains(usage, "default "+f.DefValue) {
			t.Errorf("-help does not list -%s, or not its default %s", f.Name, f.DefValue)
		}
	})
}

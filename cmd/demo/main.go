// Demo shows the plugin at work: the real binary, driven by GitLab Runner's own libraries, scales a simulated DigitalOcean
// while jobs run over SSH.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
)

const usage = `Usage: demo [flags]

Reads a GitLab Runner config.toml, runs the plugin binary as the runner does,
against a simulated DigitalOcean on this machine, and feeds it bursts of jobs
over SSH: in containers where a Docker Engine is at hand, else shell commands.
Needs no account and no network. At the end it checks that every job ran once
and that nothing is left, and exits with 1 if anything is wrong.

Flags:
  -config FILE   config.toml to run (default examples/demo/config.toml)
  -plugin FILE   plugin binary (default: built from this checkout)
  -jobs N        number of jobs (default 20)
  -timeout D     time for the jobs, before everything is taken down (default 1m30s)
  -svg FILE      picture of the run (default build/demo.svg; "" for none)
  -log FILE      the runner's and the plugin's log

A session:
  $ sed 's/idle_count = 2/idle_count = 0/' examples/demo/config.toml > /tmp/cold.toml
  $ go run ./cmd/demo -config /tmp/cold.toml -svg /tmp/cold.svg -log /tmp/cold.log
  $ grep 'instance is ready' /tmp/cold.log
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the demo at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// flags are the command line.
type flags struct {
	config, plugin, svg, log string
	jobs                     int
	timeout                  time.Duration
}

// flagSet has every flag that usage lists.
func (f *flags) flagSet() *flag.FlagSet {
	set := flag.NewFlagSet("demo", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&f.config, "config", "examples/demo/config.toml", "")
	set.StringVar(&f.plugin, "plugin", "", "")
	set.StringVar(&f.svg, "svg", "build/demo.svg", "")
	set.StringVar(&f.log, "log", "", "")
	set.IntVar(&f.jobs, "jobs", 20, "")
	set.DurationVar(&f.timeout, "timeout", 90*time.Second, "")
	return set
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (exit int) {
	var f flags
	set := f.flagSet()
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(stdout, usage)
		return 0
	case err == nil && set.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
	case err == nil && f.jobs < 1:
		err = fmt.Errorf("-jobs is %d: must be 1 or more", f.jobs)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\nhint: demo -help lists the flags\n", err)
		return 2
	}
	ok, err := demo(ctx, f, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
	}
	if err != nil || !ok {
		return 1
	}
	return 0
}

// demo runs everything and reports whether all is well.
func demo(ctx context.Context, f flags, stdout io.Writer) (ok bool, err error) {
	config, err := harness.LoadConfig(f.config)
	if err != nil {
		return false, err
	}
	log, err := os.Create(cmp.Or(f.log, os.DevNull))
	if err != nil {
		return false, fmt.Errorf("-log: %w", err)
	}
	defer log.Close()
	dir, err := os.MkdirTemp("", "fleeting-demo-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if f.plugin == "" {
		fmt.Fprintln(stdout, "building the plugin")
		if f.plugin, err = harness.BuildPlugin(ctx, dir); err != nil {
			return false, err
		}
	}
	host, err := harness.NewHost(dir)
	if err != nil {
		return false, err
	}
	fmt.Fprintln(stdout, "as configured, but for api_url, the token, an ssh_key_file that is not there")
	fmt.Fprintln(stdout, "yet, and delete_instances_on_shutdown")
	docker, err := guest.FindDocker(ctx, "")
	if err != nil {
		fmt.Fprintf(stdout, "jobs are shell commands: %v\n", err)
	} else {
		fmt.Fprintf(stdout, "jobs run in containers of the Docker Engine at %s\n", docker.Host)
	}
	v := newView(stdout, "fleeting-plugin-digitalocean, "+f.config, f.jobs)
	report, err := harness.Run(ctx, harness.Options{
		Config:   config,
		Plugin:   f.plugin,
		Host:     host,
		Plan:     harness.DefaultPlan(f.jobs),
		Docker:   docker,
		Timeout:  f.timeout,
		Log:      hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}),
		Progress: v.update,
	})
	v.end()
	if err != nil && f.log == "" {
		err = fmt.Errorf("%w\nhint: -log FILE keeps the plugin's log", err)
	}
	if err != nil {
		return false, err
	}
	v.summary(report)
	fmt.Fprintf(stdout, "\nWhat idle_count should be: %s plan --example\n", f.plugin)
	if f.svg == "" {
		return report.OK(), nil
	}
	var svg bytes.Buffer
	err = errors.Join(chart.Write(&svg, picture(report)), os.MkdirAll(filepath.Dir(f.svg), 0o755), os.WriteFile(f.svg, svg.Bytes(), 0o644))
	if err != nil {
		return false, fmt.Errorf("-svg: %w", err)
	}
	fmt.Fprintf(stdout, "\npicture of the run: %s\n", f.svg)
	return report.OK(), nil
}

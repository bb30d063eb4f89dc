// Command release hands out what `make dist` has built: to a container registry,
// where `gitlab-runner fleeting install` and Kubernetes find it, and to GitLab's
// packages and releases. `make` calls it; it refuses what could not be taken back.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

const usage = `release hands out what "make dist" has built.

Usage:
  release oci      [-dist DIR] [-platforms "OS/ARCH ..."] [-windows] REPOSITORY VERSION
  release packages [-dist DIR] [-platforms "OS/ARCH ..."] -out DIR VERSION [FILE...]
  release notes    [-changelog FILE] VERSION
  release publish  [-changelog FILE] -packages DIR VERSION

  oci       push to a container registry, and move latest, MAJOR and MAJOR.MINOR.
            Only versions that are no pre-releases. With -windows also the image for
            Windows, whose base is pulled from Microsoft's registry
  packages  lay out the files that people download, with checksums.txt
  notes     print what CHANGELOG.md says about a version
  publish   upload the packages and make the release on GitLab: a job's CI_API_V4_URL,
            CI_PROJECT_ID and CI_JOB_TOKEN

A session:
  $ make dist VERSION=0.2.0
  $ go run ./cmd/release oci registry.gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean 0.2.0
  linux/386      13.02 MiB
  ...
  registry.gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean:0.2.0 is released
  0 0.2 latest are 0.2.0
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// A problem is an error with what to do about it.
type problem struct{ what, hint string }

func (p problem) Error() string { return p.what }

// problemf makes a problem; the hint is a sentence of its own.
func problemf(hint, format string, args ...any) error {
	return problem{fmt.Sprintf(format, args...), hint}
}

// run is main. It returns the exit code: 2 for a wrong command line, 1 for
// everything else that is wrong.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	err := command(ctx, args, env, stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return 0
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	if p, ok := errors.AsType[problem](err); ok && p.hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", p.hint)
	}
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func command(ctx context.Context, args []string, env func(string) string, stdout io.Writer) error {
	if len(args) == 0 {
		return usageError{problemf("go run ./cmd/release -help", "no command")}
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dist := flags.String("dist", "dist", "")
	platforms := flags.String("platforms", "", "")
	windows := flags.Bool("windows", false, "")
	out := flags.String("out", "", "")
	changelog := flags.String("changelog", "CHANGELOG.md", "")
	packages := flags.String("packages", "", "")
	if strings.HasPrefix(args[0], "-") {
		return flag.ErrHelp
	}
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{problemf("go run ./cmd/release -help", "%s: %v", args[0], err)}
	}
	wrong := func(what string) error {
		return usageError{problemf("go run ./cmd/release -help", "%s: %s", args[0], what)}
	}
	rest := flags.Args()
	switch args[0] {
	case "oci":
		if len(rest) != 2 {
			return wrong("it takes a repository and a version")
		}
		d, err := openDist(ctx, *dist, rest[1], strings.Fields(*platforms))
		if err != nil {
			return err
		}
		return releaseOCI(ctx, d, rest[0], *windows, stdout)
	case "packages":
		if len(rest) < 1 || *out == "" {
			return wrong("it takes -out DIR and a version")
		}
		d, err := openDist(ctx, *dist, rest[0], strings.Fields(*platforms))
		if err != nil {
			return err
		}
		return layPackages(d, *out, rest[1:], stdout)
	case "notes":
		if len(rest) != 1 {
			return wrong("it takes a version")
		}
		notes, err := readNotes(*changelog, rest[0])
		if err == nil {
			_, err = io.WriteString(stdout, notes)
		}
		return err
	case "publish":
		if len(rest) != 1 || *packages == "" {
			return wrong("it takes -packages DIR and a version")
		}
		notes, err := readNotes(*changelog, rest[0])
		if err != nil {
			return err
		}
		return publish(ctx, env, *packages, rest[0], notes, stdout)
	}
	return usageError{problemf("go run ./cmd/release -help", "unknown command %q", args[0])}
}

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
)

const before = 24 * time.Hour // that more is read of this host's journal: what was there at --since began before

// journal is where a history is read from.
type journal struct {
	usual           time.Duration // without --since, of this host's journal
	since           span
	file, jobs, svg string
	example         bool
}

func (j *journal) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&j.since, "since", fmt.Sprintf("what happened from so long ago on (default %.0fd, or all of a FILE)", j.usual.Hours()/24))
	f.StringVar(&j.file, "journal", "", "a `FILE` with what journalctl -u gitlab-runner -o json has written, or short-iso, or with the "+
		"runner's JSON log; - for standard input (default: asks journalctl)")
	f.StringVar(&j.jobs, "jobs", "", "a `FILE` with GitLab's answer to GET /runners/:id/jobs: adds pipelines, and waits at GitLab")
	f.StringVar(&j.svg, "svg", "", "write a picture to `FILE`")
	f.BoolVar(&j.example, "example", false, "a synthetic week instead")
	for _, other := range []string{"journal", "jobs", "since"} {
		cmd.MarkFlagsMutuallyExclusive("example", other)
	}
}

// read reads a history, and says what could not be used.
func (j *journal) read(t *terminal) (h *history.History, err error) {
	if j.example {
		h, _ := plan.Example()
		return h, nil
	}
	defer t.done()
	now, since := time.Now(), time.Time{}
	if j.file == "" {
		j.since.Duration = cmp.Or(j.since.Duration, j.usual)
	}
	if j.since.Duration > 0 {
		since = now.Add(-j.since.Duration)
	}
	read := func(in io.Reader) (err error) {
		h, err = history.Read(in, since, func(lines int, at time.Time) {
			t.waits("%d lines, up to %s", lines, at.Local().Format(time.DateTime))
		})
		return err
	}
	switch j.file {
	case "":
		err = read(journalctl(since.Add(-before)))
	case "-":
		err = read(os.Stdin)
	default:
		err = readFile(j.file, read)
	}
	if err != nil {
		return nil, hinted{err, "give --journal FILE with what journalctl -u gitlab-runner -o json (or short-iso) writes on the runner's host, " +
			"as root"}
	}
	if j.file == "" {
		h.To = now.UTC()
	} else if !h.To.After(since) {
		t.say("note", "nothing in %s is as young as --since, which counts from now", j.file)
	}
	if j.jobs != "" {
		if err := readFile(j.jobs, h.AddExport); err != nil {
			return nil, err
		}
	}
	for _, problem := range slices.Sorted(maps.Keys(h.Problems)) {
		t.say("note", "%s: %d", problem, h.Problems[problem])
	}
	return h, nil
}

// readFile reads a file; an error names it.
func readFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// journalctl reads this host's journal. What it fails with the reader fails with.
func journalctl(since time.Time) io.Reader {
	r, w := io.Pipe()
	said := &bytes.Buffer{}
	cmd := exec.Command("journalctl", "--unit=gitlab-runner", "--output=json", "--output-fields=MESSAGE", "--all", "--no-pager",
		fmt.Sprintf("--since=@%d", since.Unix()))
	cmd.Stdout, cmd.Stderr = w, said
	go func() {
		err := cmd.Run()
		if err != nil {
			err = fmt.Errorf("journalctl: %w: %s", err, strings.TrimSpace(said.String()))
		}
		w.CloseWithError(err)
	}()
	return r
}

func (j *journal) draw(charts ...chart.Chart) error {
	f, err := os.Create(j.svg)
	if err != nil {
		return err
	}
	return errors.Join(chart.Write(f, charts...), f.Close())
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
)

// before is how much more of the journal is read than --since asks for: what was there
// already then began before.
const before = 24 * time.Hour

// journal is where a history is read from.
type journal struct {
	usual      time.Duration // without --since, of this host's journal
	since      span
	file, jobs string
	example    bool
}

func (j *journal) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&j.since, "since", fmt.Sprintf("what happened from so long ago on (default %dd, or all of a FILE)", int(j.usual.Hours()/24)))
	f.StringVar(&j.file, "journal", "", "a `FILE` with what journalctl -u gitlab-runner -o json has written, or short-iso, or with the "+
		"runner's JSON log; - for standard input (default: asks journalctl)")
	f.StringVar(&j.jobs, "jobs", "", "a `FILE` with GitLab's answer to GET /runners/:id/jobs: adds pipelines, and waits at GitLab")
	f.BoolVar(&j.example, "example", false, "a synthetic week instead")
}

// read reads a history, and says what could not be used.
func (j *journal) read(ctx context.Context, t *terminal) (history.History, error) {
	if j.example {
		if j.since.Duration > 0 || j.file != "" || j.jobs != "" {
			return history.History{}, misuse("--example is a week of its own: it goes without --since, --journal and --jobs")
		}
		return history.Example(1), nil
	}
	o := history.Options{Progress: func(lines int64, at time.Time) {
		t.waits("%d lines, up to %s", lines, at.Local().Format(time.DateTime))
	}}
	now := time.Now()
	switch {
	case j.since.Duration > 0:
		o.Since = now.Add(-j.since.Duration)
	case j.file == "":
		o.Since = now.Add(-j.usual)
	}
	if j.jobs != "" {
		f, err := os.Open(j.jobs)
		if err != nil {
			return history.History{}, err
		}
		defer f.Close()
		o.Jobs = f
	}
	h, err := j.lines(ctx, t, o, now)
	t.done()
	if ctx.Err() != nil {
		return h, errInterrupted
	}
	if (errors.Is(err, history.ErrForeign) || errors.As(err, new(*fs.PathError))) && !errors.As(err, new(hinted)) {
		err = hinted{err, "give --journal FILE with what journalctl -u gitlab-runner -o json writes on the runner's host"}
	}
	if err != nil {
		return h, err
	}
	for _, p := range h.Problems {
		text := fmt.Sprintf("%s: %d", p.What, p.Times)
		if p.First != "" {
			text += "; the first: " + p.First
		}
		t.say("note", "%s", text)
	}
	return h, nil
}

func (j *journal) lines(ctx context.Context, t *terminal, o history.Options, now time.Time) (history.History, error) {
	switch j.file {
	case "":
		return fromJournalctl(ctx, o, now)
	case "-":
		type answer struct {
			history.History
			error
		}
		read := make(chan answer, 1)
		go func() { // it may wait for ever: the process ends soon
			h, err := history.Read(ctx, t.in, o)
			read <- answer{h, err}
		}()
		select {
		case <-ctx.Done():
			return history.History{}, ctx.Err()
		case a := <-read:
			return a.History, a.error
		}
	}
	f, err := os.Open(j.file)
	if err != nil {
		return history.History{}, err
	}
	defer f.Close()
	return history.Read(ctx, f, o)
}

// fromJournalctl reads this host's journal.
func fromJournalctl(ctx context.Context, o history.Options, now time.Time) (history.History, error) {
	cmd := exec.CommandContext(ctx, "journalctl", "--unit=gitlab-runner", "--output=json", "--output-fields=MESSAGE", "--all", "--no-pager",
		fmt.Sprintf("--since=@%d", o.Since.Add(-before).Unix()))
	said := &bytes.Buffer{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return history.History{}, hinted{fmt.Errorf("ask this host's journal: %w", err),
			"on the runner's host: journalctl -u gitlab-runner -o json >journal; here: give --journal journal"}
	}
	o.Until = now
	h, err := history.Read(ctx, out, o)
	_ = out.Close() // if it was not read to its end
	ended := cmd.Wait()
	const hint = "run it with sudo, or as a member of the group systemd-journal, on the runner's host; " +
		"or give a longer --since, or --journal FILE"
	switch foreign := errors.Is(err, history.ErrForeign); {
	case ended != nil && (err == nil || foreign):
		err = hinted{fmt.Errorf("journalctl: %w: %s", ended, strings.TrimSpace(said.String())), hint}
	case foreign:
		err = hinted{err, hint}
	}
	return h, err
}

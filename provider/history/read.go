package history

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options is what of a journal is read. The format of its lines is detected.
type Options struct {
	Since    time.Time                       // what ended before is left out; zero = from the first line
	Until    time.Time                       // when the journal was read, if it goes on until then; zero = the last line
	Jobs     io.Reader                       // GitLab's export: GET /runners/:id/jobs; nil = none
	Progress func(lines int64, at time.Time) // called every 100,000 lines; nil = never
}

const (
	maxLine      = 1 << 20 // bytes; longer lines are left out
	maxFirst     = 120     // characters of a problem's first line
	clockStep    = 5 * time.Second
	betweenSteps = 100_000 // lines
)

// ErrForeign is a journal that is none of a runner's.
var ErrForeign = errors.New("no line of it is gitlab-runner's, in a form that is known")

// Read reads a journal to its end, in a stream: memory grows with the jobs and the
// Droplets of it, not with its lines. What it cannot use it counts in Problems. Its
// errors are those of the readers and of ctx, ErrForeign, and an export that is not one.
func Read(ctx context.Context, journal io.Reader, o Options) (History, error) {
	r := &reader{o: o, running: map[jobKey]*Job{}, latest: map[int64]jobKey{}, stopped: map[jobKey]time.Time{},
		droplets: map[string]*droplet{}, adopted: map[string]map[string]bool{},
		failures: map[Failure]int{}, problems: map[string]*Problem{}}
	if err := r.lines(ctx, journal); err != nil {
		return History{}, fmt.Errorf("read the journal, after line %d: %w", r.read, err)
	}
	if !r.used {
		return History{}, fmt.Errorf("read the journal, %d lines: %w", r.read, ErrForeign)
	}
	h := r.end()
	if o.Jobs != nil {
		if err := r.export(ctx, h.Jobs, o.Jobs); err != nil {
			return History{}, fmt.Errorf("read the export of jobs: %w", err)
		}
	}
	for _, p := range r.problems {
		h.Problems = append(h.Problems, *p)
	}
	slices.SortFunc(h.Problems, func(a, b Problem) int { return cmp.Or(b.Times-a.Times, cmp.Compare(a.What, b.What)) })
	return h, nil
}

// reader is what was read so far.
type reader struct {
	o        Options
	read     int64     // lines
	first    time.Time // of the lines
	last     time.Time
	before   time.Time // the last line of the runner's process before this one
	used     bool      // a line was the runner's or the plugin's
	running  map[jobKey]*Job
	latest   map[int64]jobKey // the last job with that id
	stopped  map[jobKey]time.Time
	jobs     []Job // that have ended
	droplets map[string]*droplet
	ended    []Droplet                  // that are returned
	adopted  map[string]map[string]bool // by group: what was taken over
	failures map[Failure]int            // by a Failure without Times
	problems map[string]*Problem
}

func (r *reader) lines(ctx context.Context, journal io.Reader) error {
	in := bufio.NewReaderSize(journal, maxLine)
	for {
		text, err := in.ReadSlice('\n')
		if len(text) > 0 {
			r.read++
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			r.problem("lines of more than a megabyte", text)
			text = nil
			for errors.Is(err, bufio.ErrBufferFull) { // to the end of that line
				_, err = in.ReadSlice('\n')
			}
		}
		r.line(text)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if r.read%betweenSteps == 0 && r.o.Progress != nil {
			r.o.Progress(r.read, r.last)
		}
	}
}

// line reads one line of the journal.
func (r *reader) line(text []byte) {
	l, fault := parse(text)
	if fault != "" {
		r.problem(fault, text)
		return
	}
	handle := handlers[l.msg]
	if l.msg == msgStarting && l.at.IsZero() { // it is written before log_format is known
		if l.at = r.last; l.at.IsZero() {
			return
		}
	}
	if l.at.IsZero() && handle != nil {
		r.used = true
		if l.at, _ = time.Parse(time.RFC3339, l.field("timestamp")); l.at.IsZero() {
			r.problem("lines without a time: give what journalctl -u gitlab-runner -o json writes", text)
			return
		}
	}
	if !l.at.IsZero() {
		l.at = l.at.UTC()
		if r.first.IsZero() {
			r.first = l.at
		}
		if l.at.Before(r.last.Add(-clockStep)) {
			r.problem("times that are before those of the line above: the clock was set back, or files are out of order", text)
		}
		if l.msg == msgStarting {
			r.before = r.last
		}
		r.last = l.at
	}
	if handle == nil {
		return
	}
	r.used = true
	if !handle(r, l) {
		r.problem(cut, text)
	}
}

// handlers are what is done about the lines that say something, by their message. They
// report whether a line had what it should.
var handlers map[string]func(*reader, line) bool

func init() {
	handlers = map[string]func(*reader, line) bool{
		msgStarting: (*reader).restarted, msgReady: (*reader).ready,
		msgRequested: (*reader).requested, msgUnconfirmed: (*reader).requested,
		msgTookOver: (*reader).tookOver, msgTookOverUnknown: (*reader).tookOver,
		msgCoolsDown: (*reader).failed, msgRefused: (*reader).failed,
	}
	for _, msg := range []string{msgReceived, msgAdded, msgDialing, msgSucceeded, msgFailed, msgRemoved} {
		handlers[msg] = (*reader).job
	}
	for _, msg := range []string{msgActive, msgWillBeDeleted, msgDeleting, msgGone, msgVanished, msgNeverMade, msgKept} {
		handlers[msg] = (*reader).lives
	}
}

// end returns what was read, from Since on.
func (r *reader) end() History {
	h := History{From: r.first, To: r.last, Lines: r.read}
	if r.o.Until.After(h.To) {
		h.To = r.o.Until.UTC()
	}
	if since := r.o.Since.UTC(); since.After(h.From) || h.From.IsZero() {
		h.From = since
	}
	if h.To.Before(h.From) { // nothing is as young as Since, or the clock was set back
		h.To = h.From
	}
	h.Jobs = r.allJobs()
	h.Droplets = r.allDroplets()
	for f, times := range r.failures {
		f.Times = times
		h.Failures = append(h.Failures, f)
	}
	slices.SortFunc(h.Failures, func(a, b Failure) int {
		return cmp.Or(b.Times-a.Times, cmp.Compare(a.Size, b.Size), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Why, b.Why))
	})
	return h
}

// young reports whether what ended then, or at the end if ended is zero, is not left out.
func (r *reader) young(ended time.Time) bool {
	if ended.IsZero() {
		return !r.last.Before(r.o.Since) || !r.o.Until.Before(r.o.Since)
	}
	return !ended.Before(r.o.Since)
}

// problem counts something that could not be used.
func (r *reader) problem(what string, line []byte) {
	p := r.problems[what]
	if p == nil {
		p = &Problem{What: what, First: excerpt(line)}
		r.problems[what] = p
	}
	p.Times++
}

// excerpt is the begin of a line, as a terminal may see it.
func excerpt(line []byte) string {
	line = bytes.TrimSpace(line[:min(len(line), 4*maxFirst)])
	quoted := strconv.Quote(string(line))
	q := []rune(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`))
	if len(q) > maxFirst {
		q = append(q[:maxFirst-1], '…')
	}
	return string(q)
}

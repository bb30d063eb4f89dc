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
	maxLine      = 1 << 20 // bytes; longer lines are cut
	maxFirst     = 120     // bytes of a problem's first line
	clockStep    = 5 * time.Second
	betweenSteps = 100_000 // lines
)

// ErrForeign is a journal that is none of a runner's.
var ErrForeign = errors.New("no line of it is gitlab-runner's, in a form that is known")

// Read reads a journal to its end, in a stream: memory grows with the jobs and the
// Droplets of it, not with its lines. What it cannot use it counts in Problems. Its
// errors are those of the readers and of ctx, ErrForeign, and an export that is not one.
func Read(ctx context.Context, journal io.Reader, o Options) (History, error) {
	r := &reader{o: o, running: map[int64]*Job{}, droplets: map[string]*droplet{},
		failures: map[Failure]int{}, problems: map[string]*Problem{}}
	if err := r.lines(ctx, journal); err != nil {
		return History{}, fmt.Errorf("read the journal, after line %d: %w", r.read, err)
	}
	if !r.used {
		return History{}, fmt.Errorf("read the journal, %d lines: %w", r.read, ErrForeign)
	}
	h := r.end()
	if o.Jobs != nil {
		if err := addExport(h.Jobs, o.Jobs); err != nil {
			return History{}, fmt.Errorf("read the export of jobs: %w", err)
		}
	}
	return h, nil
}

// reader is what was read so far.
type reader struct {
	o        Options
	read     int64     // lines
	first    time.Time // of the lines
	last     time.Time
	used     bool // a line was the runner's or the plugin's
	running  map[int64]*Job
	jobs     []Job // that have ended
	droplets map[string]*droplet
	failures map[Failure]int // by a Failure without Times
	problems map[string]*Problem
}

func (r *reader) lines(ctx context.Context, journal io.Reader) error {
	in := bufio.NewReaderSize(journal, maxLine)
	for {
		text, err := in.ReadSlice('\n')
		if len(text) > 0 {
			r.read++
			r.line(text)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // to the end of that line
			_, err = in.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if r.read%betweenSteps == 0 && r.o.Progress != nil {
			r.o.Progress(r.read, r.last)
		}
	}
}

// handlers are what is done about the lines that say something, by how their message begins. They report whether a line had
// what it should.
var handlers = map[string]func(*reader, line) bool{
	msgStarting: (*reader).restarted, msgReceived: (*reader).job, msgAdded: (*reader).job, msgDialing: (*reader).job,
	msgSucceeded: (*reader).job, msgFailed: (*reader).job, msgRemoved: (*reader).job,
	msgRequested: (*reader).requested, msgUnconfirmed: (*reader).requested,
	msgActive: (*reader).lives, msgDeleting: (*reader).lives, msgGone: (*reader).lives, msgVanished: (*reader).lives,
	msgNeverMade: (*reader).lives, msgTookOver: (*reader).tookOver, msgTookOverUnknown: (*reader).tookOver,
	msgCoolsDown: (*reader).failed, msgRefused: (*reader).failed,
}

// line reads one line of the journal.
func (r *reader) line(text []byte) {
	const unread = "lines that are cut, have no time, or are of another version"
	l, ok := parse(text, time.Time{})
	if !ok {
		r.problem(unread, text)
		return
	}
	for _, begin := range []string{msgStarting, msgFailed} { // what follows varies
		if strings.HasPrefix(l.msg, begin) {
			l.msg = begin
		}
	}
	handle := handlers[l.msg]
	if l.at.IsZero() && l.msg == msgStarting { // it is written before log_format is known
		l.at = r.last
	}
	if l.at.IsZero() {
		if handle != nil && l.msg != msgStarting {
			r.problem(unread, text)
		}
		return
	}
	l.at = l.at.UTC()
	if r.first.IsZero() || l.at.Before(r.first) {
		r.first = l.at
	}
	if l.at.Before(r.last.Add(-clockStep)) {
		r.problem("times that are before those of the line above: the clock was set back, or files are out of order", text)
	}
	if handle != nil {
		r.used = true
		if !handle(r, l) {
			r.problem(unread, text)
		}
	}
	r.last = l.at
}

// end returns what was read, from Since on.
func (r *reader) end() History {
	h := History{From: r.first, To: r.last}
	if r.o.Until.After(h.To) {
		h.To = r.o.Until.UTC()
	}
	if since := r.o.Since.UTC(); since.After(h.From) {
		h.From = since
	}
	if h.To.Before(h.From) { // nothing is as young as Since
		return History{From: h.From, To: h.From}
	}
	h.Jobs, h.Droplets = r.allJobs(), r.allDroplets()
	for f, times := range r.failures {
		f.Times = times
		h.Failures = append(h.Failures, f)
	}
	slices.SortFunc(h.Failures, func(a, b Failure) int {
		return cmp.Or(b.Times-a.Times, cmp.Compare(a.Size, b.Size), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Why, b.Why))
	})
	for _, p := range r.problems {
		h.Problems = append(h.Problems, *p)
	}
	slices.SortFunc(h.Problems, func(a, b Problem) int { return cmp.Or(b.Times-a.Times, cmp.Compare(a.What, b.What)) })
	return h
}

// old reports whether what ended then is left out.
func (r *reader) old(ended time.Time) bool { return !ended.IsZero() && ended.Before(r.o.Since) }

// problem counts something that could not be used.
func (r *reader) problem(what string, line []byte) {
	p := r.problems[what]
	if p == nil {
		first := bytes.ToValidUTF8(bytes.TrimSpace(line[:min(len(line), maxFirst)]), nil)
		p = &Problem{What: what, First: string(first)}
		r.problems[what] = p
	}
	p.Times++
}

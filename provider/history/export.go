package history

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// sameJob is how far apart GitLab and the runner may say that a job was taken.
const sameJob = 10 * time.Minute

// exported is what GitLab says of a job.
type exported struct {
	ID       int64     `json:"id"`
	Started  time.Time `json:"started_at"`      // the runner took it
	Queue    *float64  `json:"queued_duration"` // seconds until then
	Pipeline struct {
		ID int64 `json:"id"`
	} `json:"pipeline"`
	Project struct {
		ID int64 `json:"id"`
	} `json:"project"`
}

var errNoExport = errors.New("it is not what GET /runners/:id/jobs answers: a JSON array of jobs, or several")

// export adds what GitLab says to jobs: arrays, as pages one after the other, or a job
// a line.
func (r *reader) export(ctx context.Context, jobs []Job, in io.Reader) error {
	byID := map[int64][]*Job{}
	for i := range jobs {
		byID[jobs[i].ID] = append(byID[jobs[i].ID], &jobs[i])
	}
	b := bufio.NewReader(in)
	array := false
	for {
		c, err := b.ReadByte()
		if errors.Is(err, io.EOF) {
			return errNoExport
		}
		if err != nil {
			return err
		}
		if c == ' ' || c == '\n' || c == '\r' || c == '\t' {
			continue
		}
		array = c == '['
		_ = b.UnreadByte() // it was read
		break
	}
	d := json.NewDecoder(b)
	for n := 0; ctx.Err() == nil; {
		if array {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return r.cutExport(n, err)
			}
		}
		for d.More() {
			var e exported
			if err := d.Decode(&e); err != nil {
				return r.cutExport(n, err)
			}
			if e.ID == 0 {
				return errNoExport // it may be an error that GitLab answered
			}
			n++
			e.add(byID[e.ID])
		}
		if !array {
			return nil
		}
		if _, err := d.Token(); err != nil {
			return r.cutExport(n, err)
		}
	}
	return ctx.Err()
}

// cutExport goes on with the jobs that were read, if any.
func (r *reader) cutExport(n int, err error) error {
	if n == 0 {
		return errors.Join(errNoExport, err)
	}
	r.problem("exports of jobs that are cut: what comes after is not used", []byte(err.Error()))
	return nil
}

func (e exported) add(jobs []*Job) {
	for _, j := range jobs {
		if !e.Started.IsZero() && e.Started.Sub(j.Received).Abs() > sameJob {
			continue // another GitLab's
		}
		j.Pipeline, j.Project = max(0, e.Pipeline.ID), max(j.Project, e.Project.ID)
		if e.Queue != nil {
			if queue := bounded(*e.Queue, nil); queue > 0 {
				j.Queued = j.Received.Add(-queue)
			}
		}
	}
}

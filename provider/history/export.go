package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// export adds what GitLab says to jobs: one array, or pages one after the other.
func (r *reader) export(ctx context.Context, jobs []Job, in io.Reader) error {
	byID := map[int64][]*Job{}
	for i := range jobs {
		byID[jobs[i].ID] = append(byID[jobs[i].ID], &jobs[i])
	}
	d := json.NewDecoder(in)
	for pages := 0; ctx.Err() == nil; pages++ {
		var page []exported
		err := d.Decode(&page)
		switch {
		case errors.Is(err, io.EOF) && pages > 0:
			return nil
		case err != nil && pages > 0:
			r.problem("exports of jobs that are cut: what comes after is not used", []byte(err.Error()))
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errNoExport, err)
		}
		for _, e := range page {
			e.add(byID[e.ID])
		}
	}
	return ctx.Err()
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

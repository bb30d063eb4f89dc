package history

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// What the runner logs of jobs.
const (
	msgStarting  = "Starting multi-runner" // and from which file
	msgReceived  = "Checking for jobs... received"
	msgAdded     = "Added job to processing list"
	msgDialing   = "Dialing instance"
	msgSucceeded = "Job succeeded"
	msgFailed    = "Job failed" // and why
	msgRemoved   = "Removed job from processing list"
)

// restarted is a process of the runner that begins: the jobs of the one before ended with it. So did Droplets of which no
// later line speaks.
func (r *reader) restarted(l line) bool {
	for _, j := range r.running {
		r.endJob(j, l.at, true)
	}
	for _, d := range r.droplets {
		if d.ended.IsZero() {
			d.ended = r.last
		}
	}
	return true
}

// job is a line about a job. Its id is enough: GitLab counts the jobs of all its runners.
func (r *reader) job(l line) bool {
	id := l.number("job")
	if l.msg == msgReceived {
		r.running[id] = &Job{ID: id, Received: l.at}
		return id != 0
	}
	j := r.running[id]
	if j == nil { // it began before the first line, or has ended
		return id != 0
	}
	j.Project = cmp.Or(l.number("project"), j.Project)
	switch l.msg {
	case msgAdded:
		j.AtGitLab = l.seconds("time_in_queue_seconds")
	case msgDialing: // perhaps after it tried another Droplet
		j.Started, j.Droplet = l.at, l.field("instance-id")
		return j.Droplet != ""
	case msgSucceeded, msgFailed:
		took := l.seconds("duration_s") // by a clock that nobody sets
		if took > 0 && (l.at.Sub(j.Received)-took).Abs() > clockStep {
			r.problem("jobs across a change of the clock: their waits may be wrong", nil)
			j.Received = l.at.Add(-took)
		}
		r.endJob(j, l.at, l.msg == msgFailed)
	case msgRemoved: // it has ended, nobody knows how
		r.endJob(j, l.at, true)
	}
	return true
}

// endJob ends a job; zero = it runs on.
func (r *reader) endJob(j *Job, at time.Time, failed bool) {
	delete(r.running, j.ID)
	switch {
	case r.old(at) || j.ID == 0:
	case j.Droplet == "":
		r.problem("jobs without a Droplet: of another executor, or ended before one was ready; left out", nil)
	default:
		j.Ended, j.Failed = at, failed
		if j.Started.Before(j.Received) { // the clock was set
			j.Started = j.Received
		}
		if !at.IsZero() && j.Started.After(at) {
			j.Started = at
		}
		r.jobs = append(r.jobs, *j)
	}
}

// allJobs returns the jobs that have ended, and those that run.
func (r *reader) allJobs() []Job {
	for _, j := range r.running {
		r.endJob(j, time.Time{}, false)
	}
	slices.SortFunc(r.jobs, func(a, b Job) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID)) })
	return r.jobs
}

var errNoExport = errors.New("it is not what GET /runners/:id/jobs answers: a JSON array of jobs, or several")

// addExport adds what GitLab says of jobs: one array, or pages one after the other.
func addExport(jobs []Job, in io.Reader) error {
	byID := map[int64]*Job{}
	for i := range jobs {
		byID[jobs[i].ID] = &jobs[i]
	}
	d := json.NewDecoder(in)
	for pages := 0; ; pages++ {
		var page []struct {
			ID       int64
			Queued   float64 `json:"queued_duration"` // seconds until the runner took it
			Pipeline struct{ ID int64 }
			Project  struct{ ID int64 }
		}
		if err := d.Decode(&page); errors.Is(err, io.EOF) && pages > 0 {
			return nil
		} else if err != nil {
			return fmt.Errorf("%w: %w", errNoExport, err)
		}
		for _, e := range page {
			if j := byID[e.ID]; j != nil {
				j.Pipeline, j.Project = max(0, e.Pipeline.ID), max(j.Project, e.Project.ID)
				j.AtGitLab = cmp.Or(seconds(e.Queued), j.AtGitLab)
			}
		}
	}
}

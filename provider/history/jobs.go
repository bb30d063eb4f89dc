package history

import (
	"cmp"
	"slices"
	"strings"
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

// jobKey is a job of a runner. Two runners of one process may serve two GitLabs, whose
// jobs have the same ids.
type jobKey struct {
	runner string
	id     int64
}

// restarted is a process of the runner that began: jobs that ran, and are not heard of
// again, ended with the one before.
func (r *reader) restarted(l line) bool {
	for key := range r.running {
		if r.stopped[key].IsZero() {
			r.stopped[key] = l.at
		}
	}
	return true
}

// job is a line about a job.
func (r *reader) job(l line) bool {
	key := jobKey{l.field("runner"), l.number("job")}
	if key.id == 0 {
		return false
	}
	if l.msg == msgReceived {
		key.runner = strings.Clone(key.runner)
		r.running[key] = &Job{ID: key.id, Runner: key.runner, Received: l.at}
		r.latest[key.id] = key
		return true
	}
	j := r.running[key]
	if j == nil { // some lines have the runner's name, or nothing, instead of its token
		key = r.latest[key.id]
		j = r.running[key]
	}
	ended := l.msg == msgSucceeded || l.msg == msgFailed
	if j == nil {
		if ended && r.young(l.at) {
			r.problem("jobs that began before the first line: left out", nil)
		}
		return true
	}
	delete(r.stopped, key)
	if p := l.number("project"); p != 0 {
		j.Project = p
	}
	switch {
	case l.msg == msgAdded:
		if queue := l.seconds("time_in_queue_seconds"); queue > 0 {
			j.Queued = j.Received.Add(-queue)
		}
	case l.msg == msgDialing: // perhaps after it tried another Droplet
		j.Started, j.Droplet = l.at, strings.Clone(l.field("instance-id"))
		return j.Droplet != ""
	case ended:
		j.Ended, j.Failed = l.at, l.msg == msgFailed
		if took := l.seconds("duration_s"); took > 0 {
			j.believe(took, r)
		}
		r.endJob(key, *j)
	case l.msg == msgRemoved: // it has ended, nobody knows how
		j.Ended, j.Failed = l.at, true
		r.endJob(key, *j)
	}
	return true
}

// believe corrects the times of a job across a change of the clock. The runner
// measures how long it took by another clock, which nobody sets.
func (j *Job) believe(took time.Duration, r *reader) {
	off := j.Ended.Sub(j.Received) - took
	if off.Abs() <= clockStep {
		return
	}
	r.problem("jobs across a change of the clock: their waits may be wrong", nil)
	received := j.Ended.Add(-took)
	if !j.Queued.IsZero() {
		j.Queued = received.Add(j.Queued.Sub(j.Received))
	}
	if !j.Started.IsZero() {
		wait := min(max(0, j.Started.Sub(j.Received)), took)
		j.Started = received.Add(wait)
	}
	j.Received = received
}

func (r *reader) endJob(key jobKey, j Job) {
	delete(r.running, key)
	delete(r.stopped, key)
	if r.latest[key.id] == key {
		delete(r.latest, key.id)
	}
	switch {
	case !r.young(j.Ended):
	case j.Started.IsZero():
		r.problem("jobs without a Droplet: of another executor, or ended before one was ready; left out", nil)
	default:
		if j.Started.Before(j.Received) {
			j.Started = j.Received
		}
		if !j.Ended.IsZero() && j.Ended.Before(j.Started) {
			j.Ended = j.Started
		}
		r.jobs = append(r.jobs, j)
	}
}

// allJobs returns the jobs that have ended, and those that run.
func (r *reader) allJobs() []Job {
	for key, j := range r.running {
		if at := r.stopped[key]; !at.IsZero() {
			j.Ended, j.Failed = at, true
			r.problem("jobs that ended with the runner's process", nil)
		}
		r.endJob(key, *j)
	}
	slices.SortFunc(r.jobs, func(a, b Job) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Runner, b.Runner))
	})
	return r.jobs
}

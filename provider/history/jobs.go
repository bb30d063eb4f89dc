package history

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The begins of messages that vary.
const (
	msgStarting = "Starting multi-runner"
	msgFailed   = "Job failed"
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

func (r *reader) received(l line) bool {
	key := jobKey{strings.Clone(l.field("runner")), l.number("job")}
	if key.id == 0 {
		return false
	}
	r.running[key] = &Job{ID: key.id, Runner: key.runner, Received: l.at}
	r.latest[key.id] = key
	return true
}

// job returns the job that a line is about; nil = none that was received.
func (r *reader) job(l line) (jobKey, *Job) {
	key := jobKey{l.field("runner"), l.number("job")}
	j := r.running[key]
	if j == nil { // some lines have the runner's name, or nothing, instead of its token
		key = r.latest[key.id]
		j = r.running[key]
	}
	if j != nil {
		delete(r.stopped, key)
		if p := l.number("project"); p != 0 {
			j.Project = p
		}
	}
	return key, j
}

func (r *reader) added(l line) bool {
	if _, j := r.job(l); j != nil {
		if queue := l.seconds("time_in_queue_seconds"); queue > 0 {
			j.Queued = j.Received.Add(-queue)
		}
	}
	return l.number("job") != 0
}

// started is a job that reaches its Droplet, perhaps after it tried another.
func (r *reader) started(l line) bool {
	if _, j := r.job(l); j != nil {
		j.Started, j.Droplet = l.at, strings.Clone(l.field("instance-id"))
	}
	return l.number("job") != 0 && l.field("instance-id") != ""
}

func (r *reader) jobEnded(l line) bool {
	key, j := r.job(l)
	if j == nil {
		if r.young(l.at) && l.number("job") != 0 {
			r.problem("jobs that began before the first line: left out", nil)
		}
		return l.number("job") != 0
	}
	j.Failed = l.msg == msgFailed
	j.Ended = l.at
	if took := l.seconds("duration_s"); took > 0 {
		j.believe(took, r)
	}
	r.endJob(key, *j)
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

// removed is a job that has ended in any way.
func (r *reader) removed(l line) bool {
	if key, j := r.job(l); j != nil {
		j.Ended, j.Failed = l.at, true
		r.endJob(key, *j)
	}
	return l.number("job") != 0
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

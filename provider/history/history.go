// Package history reads what happened to jobs and Droplets: from the journal of gitlab-runner, with the plugin's lines in it,
// and from GitLab's export of a runner's jobs. It is the one reader for plan and report.
package history

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// History is what a span of time had of jobs and Droplets. All times are UTC.
type History struct {
	From, To time.Time
	Jobs     []Job              // by Started; only those that had a Droplet
	Droplets []Droplet          // by Requested
	Prices   map[string]float64 // of sizes, in USD an hour
	Failures []Failure          // to create Droplets
	Problems map[string]int     // what the reading could not use, and how often: never fatal
}

// Job is one job.
type Job struct {
	ID       int64
	Project  int64         // 0 = unknown
	Pipeline int64         // 0 = unknown: only GitLab's export has it
	AtGitLab time.Duration // how long it waited until the runner took it; 0 = unknown
	Received time.Time     // the runner took it
	Started  time.Time     // its Droplet was reached: what comes before is waiting
	Ended    time.Time     // zero = it was still running at the end
	Droplet  string        // the name of the instance
}

// Wait is from when GitLab could have given the job, if that is known, until its Droplet was reached.
func (j *Job) Wait() time.Duration { return j.AtGitLab + max(0, j.Started.Sub(j.Received)) }

// Droplet is one Droplet of a group.
type Droplet struct {
	Name, Group string
	Size        string    // "" = unknown
	Requested   time.Time // zero = it was there before From
	Active      time.Time // zero = it never was, or unknown
	Gone        time.Time // zero = it was there at To
	Assumed     bool      // no line says that it is gone: Gone is when it was deleted, or when the runner stopped
	PriceHourly float64   // USD; 0 = unknown
}

// Failure is why a placement made no Droplets, and how often that was logged.
type Failure struct {
	Group  string `json:"group,omitempty"`
	Size   string `json:"size,omitempty"` // "" = all placements of a group
	Region string `json:"region,omitempty"`
	Why    string `json:"why"`
	Last   string `json:"last_error,omitempty"` // the last of DigitalOcean's words
	Times  int    `json:"times"`
}

// Life is when a Droplet was there, from From to To.
func (h *History) Life(d *Droplet) (from, to time.Time) {
	from, to = d.Requested, h.To
	if from.Before(h.From) {
		from = h.From
	}
	if !d.Gone.IsZero() && d.Gone.Before(to) {
		to = d.Gone
	}
	return from, to
}

// Cost is what a Droplet cost in USD from From to To. What is billed at least is billed when it is made.
func (h *History) Cost(d *Droplet) float64 {
	from, to := h.Life(d)
	switch life := to.Sub(from); {
	case d.PriceHourly == 0 || life < 0:
		return 0
	case d.Requested.Before(h.From):
		return d.PriceHourly * life.Hours()
	default:
		return instancegroup.Cost(d.PriceHourly, life)
	}
}

// AddExport adds what GitLab says of jobs: one array, or pages one after the other.
func (h *History) AddExport(in io.Reader) error {
	byID := map[int64]*Job{}
	for i := range h.Jobs {
		byID[h.Jobs[i].ID] = &h.Jobs[i]
	}
	type job struct {
		ID       int64
		Queued   float64 `json:"queued_duration"` // seconds until the runner took it
		Pipeline struct{ ID int64 }
		Project  struct{ ID int64 }
	}
	d := json.NewDecoder(in)
	for pages := 0; ; pages++ {
		var page []job
		if err := d.Decode(&page); errors.Is(err, io.EOF) && pages > 0 {
			return nil
		} else if err != nil {
			return fmt.Errorf("it is not what GET /runners/:id/jobs answers: a JSON array of jobs, or several: %w", err)
		}
		for _, e := range page {
			if j := byID[e.ID]; j != nil {
				j.Pipeline, j.Project = max(0, e.Pipeline.ID), max(j.Project, e.Project.ID)
				j.AtGitLab = cmp.Or(time.Duration(min(max(0, e.Queued), month)*float64(time.Second)), j.AtGitLab)
			}
		}
	}
}

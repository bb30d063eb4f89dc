// Package history reads what happened to jobs and Droplets from what a runner's
// host has of it: the journal of gitlab-runner, with the plugin's lines in it, and
// GitLab's export of a runner's jobs. It is the one reader for plan and report.
package history

import "time"

// History is what a span of time had of jobs and Droplets. All times are UTC.
type History struct {
	From, To time.Time
	Jobs     []Job     // by Started; only those that had a Droplet
	Droplets []Droplet // by Requested
	Failures []Failure // to create Droplets, by placement
	Problems []Problem // of the reading: counted, never fatal
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
	Failed   bool
}

// Droplet is one Droplet of a group.
type Droplet struct {
	Name, Group  string
	Size, Region string    // "" = unknown
	Requested    time.Time // zero = it was there before From
	Active       time.Time // zero = it never was, or unknown
	Gone         time.Time // zero = it was there at To
	PriceHourly  float64   // USD; 0 = unknown
}

// Failure is why a placement made no Droplets, and how often it was logged.
type Failure struct {
	Size   string `json:"size,omitempty"` // "" = all placements of a group
	Region string `json:"region,omitempty"`
	Why    string `json:"why"`
	Times  int    `json:"times"`
}

// Problem is something that a reading could not use, and how often.
type Problem struct {
	What  string
	Times int
	First string // the begin of the first line; "" = it says nothing more
}

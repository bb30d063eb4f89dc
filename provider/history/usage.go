package history

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Parts are what Usage can be divided by: the last is the hour of the day.
var Parts = []string{"project", "pipeline", "size", "hour"}

// Usage is what Droplets did, and cost, in a span of time.
type Usage struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Droplets int       `json:"droplets"`
	All      Row       `json:"all"`
	Rows     []Row     `json:"rows"`
	Failures []Failure `json:"failures"`
}

// Row is a part of Usage: of a project, or a size, and so on.
type Row struct {
	Key     string  `json:"key"`
	Jobs    int     `json:"jobs"`
	Ran     Share   `json:"ran"`
	Idle    Share   `json:"idle"`
	Booting Share   `json:"booting"`
	USD     float64 `json:"usd"`
	Wait    Waits   `json:"wait"`
	Booted  int     `json:"waited_for_boot"` // jobs whose Droplet was not active when the runner took them

	waits []time.Duration
}

// Share is a part of what Droplets did.
type Share struct {
	Hours float64 `json:"hours"` // of Droplets
	USD   float64 `json:"usd"`
}

// Waits are how long jobs waited, in seconds.
type Waits struct {
	P50     float64 `json:"p50"`
	P95     float64 `json:"p95"`
	Longest float64 `json:"longest"`
}

// WaitsOf returns the percentiles of waits.
func WaitsOf(waits []time.Duration) Waits {
	if len(waits) == 0 {
		return Waits{}
	}
	waits = slices.Clone(waits)
	slices.Sort(waits)
	at := func(p float64) float64 {
		return float64(waits[max(0, int(math.Ceil(p*float64(len(waits))))-1)].Round(time.Millisecond).Milliseconds()) / 1000
	}
	return Waits{P50: at(0.5), P95: at(0.95), Longest: at(1)}
}

// Usage sums up a history. by is one of Parts, or "" for no rows; hours are those of in.
func (h *History) Usage(by string, in *time.Location) Usage {
	u := Usage{From: h.From, To: h.To, Droplets: len(h.Droplets), Rows: []Row{}, Failures: h.Failures}
	rows, jobs, droplets := map[string]*Row{}, map[string][]*Job{}, map[string]*Droplet{}
	count := func(p part, to func(*Row)) {
		to(&u.All)
		if by != "" {
			key := p.key(by, in)
			rows[key] = cmp.Or(rows[key], &Row{Key: key})
			to(rows[key])
		}
	}
	for i := range h.Jobs {
		j := &h.Jobs[i]
		jobs[j.Droplet] = append(jobs[j.Droplet], j)
	}
	for i := range h.Droplets {
		d := &h.Droplets[i]
		droplets[d.Name] = d
		h.divide(d, jobs[d.Name], func(p part) { count(p, p.add) })
	}
	for i := range h.Jobs {
		j := &h.Jobs[i]
		d := cmp.Or(droplets[j.Droplet], &Droplet{})
		count(part{droplet: d, job: j, at: j.Received}, func(r *Row) {
			r.Jobs++
			if d.Active.After(j.Received) {
				r.Booted++
			}
			r.waits = append(r.waits, j.Wait())
		})
	}
	u.All.finish()
	for _, row := range rows {
		row.finish()
		u.Rows = append(u.Rows, *row)
	}
	slices.SortFunc(u.Rows, func(a, b Row) int {
		if by == "hour" {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(strings.Count(a.Key, "(")-strings.Count(b.Key, "("), cmp.Compare(b.USD, a.USD), cmp.Compare(a.Key, b.Key))
	})
	return u
}

// finish takes the noise off a row's sums, and adds its waits.
func (r *Row) finish() {
	for _, f := range []*float64{&r.Ran.Hours, &r.Idle.Hours, &r.Booting.Hours, &r.Ran.USD, &r.Idle.USD, &r.Booting.USD, &r.USD} {
		*f = instancegroup.Cents(*f)
	}
	r.Wait = WaitsOf(r.waits)
}

// What a Droplet does besides jobs. Where rows are of jobs, these are the keys of rows of their own.
const (
	idle    = "(idle)"
	booting = "(booting)"
)

// part is what a Droplet did in a part of its life.
type part struct {
	Share
	droplet *Droplet
	job     *Job   // if it ran one
	did     string // else
	at      time.Time
}

func (p part) add(r *Row) {
	to := &r.Ran
	switch p.did {
	case idle:
		to = &r.Idle
	case booting:
		to = &r.Booting
	}
	to.Hours += p.Hours
	to.USD += p.USD
	r.USD += p.USD
}

func (p part) key(by string, in *time.Location) string {
	switch {
	case by == "hour":
		return p.at.In(in).Format("15")
	case by == "size":
		return cmp.Or(p.droplet.Size, "unknown")
	case p.job == nil:
		return p.did
	case by == "pipeline" && p.job.Pipeline > 0:
		return strconv.FormatInt(p.job.Pipeline, 10)
	case by == "project" && p.job.Project > 0:
		return strconv.FormatInt(p.job.Project, 10)
	}
	return "unknown"
}

// divide divides a Droplet's life, and its cost, among booting, its jobs (by Started) and being idle. Each part is of one
// hour, wherever hours begin. Jobs at the same time share it.
func (h *History) divide(d *Droplet, jobs []*Job, add func(part)) {
	from, to := h.Life(d)
	if !to.After(from) { // it may have cost what is billed at least
		add(part{droplet: d, did: booting, at: from, Share: Share{USD: h.Cost(d)}})
		return
	}
	active := d.Active
	if active.IsZero() && !d.Requested.Before(h.From) {
		active = to // not yet, or never
	}
	if len(jobs) > 0 && jobs[0].Started.Before(active) {
		active = jobs[0].Started
	}
	const quarter = 15 * time.Minute // in some zones hours begin at one
	edges := []time.Time{from, active, to}
	for at := from.Truncate(quarter); at.Before(to); at = at.Add(quarter) {
		edges = append(edges, at)
	}
	for _, j := range jobs {
		edges = append(edges, j.Started, j.Ended)
	}
	edges = slices.DeleteFunc(edges, func(at time.Time) bool { return at.Before(from) || at.After(to) })
	slices.SortFunc(edges, time.Time.Compare)
	var running []*Job
	for i, end := range edges[1:] {
		at := edges[i]
		for len(jobs) > 0 && !jobs[0].Started.After(at) {
			running, jobs = append(running, jobs[0]), jobs[1:]
		}
		running = slices.DeleteFunc(running, func(j *Job) bool { return !j.Ended.IsZero() && !j.Ended.After(at) })
		n := float64(max(1, len(running)))
		p := part{droplet: d, at: at, Share: Share{end.Sub(at).Hours() / n, h.Cost(d) * float64(end.Sub(at)) / float64(to.Sub(from)) / n}}
		for _, p.job = range running {
			add(p)
		}
		if p.did = idle; at.Before(active) {
			p.did = booting
		}
		if len(running) == 0 && p.Hours > 0 {
			add(p)
		}
	}
}

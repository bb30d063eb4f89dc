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

// What Usage can be divided by.
const (
	ByProject  = "project"
	ByPipeline = "pipeline"
	BySize     = "size"
	ByHour     = "hour" // of the day
	ByTime     = "time" // each hour, for a picture
)

// Usage is what Droplets did, and cost, in a span of time.
type Usage struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Droplets int       `json:"droplets"`
	Lost     int       `json:"lost"` // that vanished, or never became active
	All      Row       `json:"all"`
	Queue    Waits     `json:"wait_with_gitlab"` // from when GitLab could have given a job
	Queued   int       `json:"jobs_with_gitlab"` // whose wait there is known
	Rows     []Row     `json:"rows"`
	Failures []Failure `json:"failures"`
}

// Row is a part of Usage: of a project, or a size, and so on. Hours are of Droplets.
type Row struct {
	Key       string  `json:"key"`
	Jobs      int     `json:"jobs"`
	Failed    int     `json:"failed"`
	JobHours  float64 `json:"job_hours"`
	IdleHours float64 `json:"idle_hours"`
	BootHours float64 `json:"boot_hours"`
	USDJobs   float64 `json:"usd_jobs"`
	USDIdle   float64 `json:"usd_idle"`
	USDBoot   float64 `json:"usd_boot"`
	USD       float64 `json:"usd"`
	Wait      Waits   `json:"wait"`            // for a Droplet, since the runner took a job
	Booted    int     `json:"waited_for_boot"` // jobs whose Droplet was not active when the runner took them

	waits []time.Duration
}

// Waits are in seconds.
type Waits struct {
	P50     float64 `json:"p50"`
	P95     float64 `json:"p95"`
	Longest float64 `json:"longest"`
}

// Cost returns what a Droplet cost in USD between from and to. What is billed at least
// is billed when it is made.
func (d *Droplet) Cost(from, to time.Time) float64 {
	begin, end := d.life(from, to)
	switch {
	case d.PriceHourly == 0 || end.Before(begin):
		return 0
	case d.Requested.Before(from):
		return d.PriceHourly * end.Sub(begin).Hours()
	}
	return instancegroup.Cost(d.PriceHourly, end.Sub(begin))
}

// life is when a Droplet was there, between from and to.
func (d *Droplet) life(from, to time.Time) (begin, end time.Time) {
	begin, end = d.Requested, d.Gone
	if begin.Before(from) {
		begin = from
	}
	if end.IsZero() || end.After(to) {
		end = to
	}
	return begin, end
}

// Usage sums up a history. by is one of the constants, or "" for no rows; hours are
// those of in.
func (h *History) Usage(by string, in *time.Location) Usage {
	u := Usage{From: h.From, To: h.To, Droplets: len(h.Droplets), Rows: []Row{}, Failures: append([]Failure{}, h.Failures...)}
	s := sums{by: by, in: in, rows: map[string]*Row{}}
	of := map[string][]*Job{} // by Droplet
	for i := range h.Jobs {
		of[h.Jobs[i].Droplet] = append(of[h.Jobs[i].Droplet], &h.Jobs[i])
	}
	known := map[string]*Droplet{}
	for i := range h.Droplets {
		d := &h.Droplets[i]
		known[d.Name] = d
		if d.Lost {
			u.Lost++
		}
		s.droplet(d, of[d.Name], h)
	}
	var queue []time.Duration
	for i := range h.Jobs {
		j := &h.Jobs[i]
		s.job(j, known[j.Droplet])
		if !j.Queued.IsZero() {
			queue = append(queue, j.Started.Sub(j.Queued))
		}
	}
	u.Queue, u.Queued = waits(queue), len(queue)
	u.All = s.all.rounded()
	for key, row := range s.rows {
		row.Key = key
		u.Rows = append(u.Rows, row.rounded())
	}
	slices.SortFunc(u.Rows, func(a, b Row) int {
		if by == ByHour || by == ByTime {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(strings.Count(a.Key, "("), strings.Count(b.Key, "(")), // what is nobody's comes last
			cmp.Compare(b.USD, a.USD), cmp.Compare(a.Key, b.Key))
	})
	return u
}

// sums are a Usage that grows.
type sums struct {
	by   string
	in   *time.Location
	all  Row
	rows map[string]*Row
}

// The keys of what is nobody's.
const (
	unknownKey = "unknown"
	idleKey    = "(idle)"
	bootKey    = "(booting)"
)

// Hour is the key of a time's hour, with ByTime.
func Hour(at time.Time) string { return at.UTC().Format("2006-01-02 15") }

// row is the row of a time, for a job or, if j is nil, for what a Droplet did besides.
func (s *sums) row(j *Job, d *Droplet, at time.Time, besides string) *Row {
	key := besides
	switch {
	case s.by == "":
		return &Row{}
	case s.by == BySize:
		key = unknownKey
		if d != nil && d.Size != "" {
			key = d.Size
		}
	case s.by == ByHour:
		key = at.In(s.in).Format("15")
	case s.by == ByTime:
		key = Hour(at)
	case j != nil:
		id := j.Project
		if s.by == ByPipeline {
			id = j.Pipeline
		}
		key = unknownKey
		if id != 0 {
			key = strconv.FormatInt(id, 10)
		}
	}
	if s.rows[key] == nil {
		s.rows[key] = &Row{}
	}
	return s.rows[key]
}

// job counts a job, and how long it waited.
func (s *sums) job(j *Job, d *Droplet) {
	for _, r := range []*Row{&s.all, s.row(j, d, j.Received, "")} {
		r.Jobs++
		if j.Failed {
			r.Failed++
		}
		r.waits = append(r.waits, j.Started.Sub(j.Received))
		if d != nil && d.Active.After(j.Received) {
			r.Booted++
		}
	}
}

// droplet divides the time of a Droplet, and its cost, among its jobs, booting and
// being idle. Where jobs ran at the same time each has its part.
func (s *sums) droplet(d *Droplet, jobs []*Job, h *History) {
	begin, end := d.life(h.From, h.To)
	cost := d.Cost(h.From, h.To)
	if !end.After(begin) {
		s.add(nil, d, begin, 0, cost, true)
		return
	}
	rate := cost / end.Sub(begin).Hours()
	booted := begin
	switch {
	case !d.Active.IsZero():
		booted = d.Active
	case len(jobs) == 0 && (d.Lost || d.Gone.IsZero() && !d.Requested.Before(h.From)):
		booted = end // never, or not yet
	}
	slices.SortFunc(jobs, func(a, b *Job) int { return a.Started.Compare(b.Started) })
	var running []*Job
	for at, next := begin, 0; at.Before(end); {
		running = slices.DeleteFunc(running, func(j *Job) bool { return !j.Ended.IsZero() && !j.Ended.After(at) })
		for ; next < len(jobs) && !jobs[next].Started.After(at); next++ {
			if j := jobs[next]; j.Ended.IsZero() || j.Ended.After(at) {
				running = append(running, j)
			}
		}
		until := end
		if s.by == ByHour || s.by == ByTime {
			const quarter = 15 * time.Minute // in some zones hours begin at one
			until = earlier(until, at.Truncate(quarter).Add(quarter), at)
		}
		if next < len(jobs) {
			until = earlier(until, jobs[next].Started, at)
		}
		until = earlier(until, booted, at)
		for _, j := range running {
			until = earlier(until, j.Ended, at)
		}
		hours := until.Sub(at).Hours()
		for _, j := range running {
			n := float64(len(running))
			s.add(j, d, at, hours/n, rate*hours/n, false)
		}
		if len(running) == 0 {
			s.add(nil, d, at, hours, rate*hours, at.Before(booted))
		}
		at = until
	}
}

// earlier returns t if it is between after and until.
func earlier(until, t, after time.Time) time.Time {
	if t.After(after) && t.Before(until) {
		return t
	}
	return until
}

// add adds what a Droplet did from then on, for that many hours: a job, or nothing.
func (s *sums) add(j *Job, d *Droplet, at time.Time, hours, usd float64, booting bool) {
	besides := idleKey
	if booting {
		besides = bootKey
	}
	for _, r := range []*Row{&s.all, s.row(j, d, at, besides)} {
		r.USD += usd
		switch {
		case j != nil:
			r.JobHours += hours
			r.USDJobs += usd
		case booting:
			r.BootHours += hours
			r.USDBoot += usd
		default:
			r.IdleHours += hours
			r.USDIdle += usd
		}
	}
}

// rounded is a row without the noise of its sums, and with its waits.
func (r *Row) rounded() Row {
	for _, f := range []*float64{&r.JobHours, &r.IdleHours, &r.BootHours, &r.USDJobs, &r.USDIdle, &r.USDBoot, &r.USD} {
		*f = instancegroup.Cents(*f)
	}
	r.Wait = waits(r.waits)
	return *r
}

// waits returns the percentiles of ds, which it sorts.
func waits(ds []time.Duration) Waits {
	if len(ds) == 0 {
		return Waits{}
	}
	slices.Sort(ds)
	at := func(p float64) float64 {
		d := ds[max(0, int(math.Ceil(p*float64(len(ds))))-1)]
		return d.Round(time.Millisecond).Seconds()
	}
	return Waits{P50: at(0.5), P95: at(0.95), Longest: at(1)}
}

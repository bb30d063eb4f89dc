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

// Life is when a Droplet was there, since From.
func (h *History) Life(d *Droplet) (from, to time.Duration) {
	from, to = max(0, d.Requested.Sub(h.From)), h.To.Sub(h.From)
	if !d.Gone.IsZero() {
		to = min(to, d.Gone.Sub(h.From))
	}
	return from, to
}

// Cost is what a Droplet cost in USD from From to To. What is billed at least is billed when it is made.
func (h *History) Cost(d *Droplet) float64 {
	from, to := h.Life(d)
	switch {
	case d.PriceHourly == 0 || to < from:
		return 0
	case d.Requested.Before(h.From):
		return d.PriceHourly * (to - from).Hours()
	}
	return instancegroup.Cost(d.PriceHourly, to-from)
}

// Usage sums up a history. by is one of the constants, or "" for no rows; hours are
// those of in.
func (h *History) Usage(by string, in *time.Location) Usage {
	s := sums{History: h, by: by, in: in, rows: map[string]*Row{}}
	of := map[string][]Job{} // by Droplet
	for _, j := range h.Jobs {
		of[j.Droplet] = append(of[j.Droplet], j)
	}
	known := map[string]*Droplet{}
	for i := range h.Droplets {
		d := &h.Droplets[i]
		known[d.Name] = d
		s.droplet(d, of[d.Name])
	}
	var queue []time.Duration
	for i := range h.Jobs {
		j := &h.Jobs[i]
		s.job(j, known[j.Droplet])
		if j.AtGitLab > 0 {
			queue = append(queue, j.AtGitLab+j.Started.Sub(j.Received))
		}
	}
	u := Usage{From: h.From, To: h.To, Droplets: len(h.Droplets), All: s.all.rounded(), Queue: waits(queue), Queued: len(queue),
		Rows: []Row{}, Failures: append([]Failure{}, h.Failures...)}
	for key, row := range s.rows {
		row.Key = key
		u.Rows = append(u.Rows, row.rounded())
	}
	slices.SortFunc(u.Rows, func(a, b Row) int {
		if s.hourly() {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(strings.Count(a.Key, "("), strings.Count(b.Key, "(")), // what is nobody's comes last
			cmp.Compare(b.USD, a.USD), cmp.Compare(a.Key, b.Key))
	})
	return u
}

// sums are a Usage that grows.
type sums struct {
	*History
	by   string
	in   *time.Location
	all  Row
	rows map[string]*Row
}

func (s *sums) hourly() bool { return s.by == ByHour || s.by == ByTime }

// Hour is the key of a time's hour, with ByTime.
func Hour(at time.Time) string { return at.UTC().Format("2006-01-02 15") }

// What Droplets do. Where rows are of jobs, the others are the keys of rows of their own.
const (
	ran    = ""
	idle   = "(idle)"
	booted = "(booting)"
)

// row is where something counts: a job, or what a Droplet did besides.
func (s *sums) row(j *Job, d *Droplet, at time.Time, did string) *Row {
	key := did
	switch {
	case s.by == "":
		return &Row{}
	case s.by == ByHour:
		key = at.In(s.in).Format("15")
	case s.by == ByTime:
		key = Hour(at)
	case s.by == BySize:
		key = "unknown"
		if d != nil {
			key = cmp.Or(d.Size, key)
		}
	case did == ran:
		id := j.Project
		if s.by == ByPipeline {
			id = j.Pipeline
		}
		if key = "unknown"; id != 0 {
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
	for _, r := range []*Row{&s.all, s.row(j, d, j.Received, ran)} {
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

// droplet divides the time of a Droplet, and its cost, among booting, its jobs (by Started) and being idle.
func (s *sums) droplet(d *Droplet, jobs []Job) {
	from, to := s.Life(d)
	cost := s.Cost(d)
	if to <= from {
		s.add(nil, d, s.From.Add(from), booted, 0, cost)
		return
	}
	active := from
	if !d.Requested.Before(s.From) {
		active = to // not yet, or never
	}
	if !d.Active.IsZero() {
		active = d.Active.Sub(s.From)
	}
	if len(jobs) > 0 {
		active = min(active, jobs[0].Started.Sub(s.From))
	}
	active = min(max(active, from), to)
	for at := from; at < to; {
		until := to
		if s.hourly() {
			const quarter = 15 * time.Minute // in some zones hours begin at one
			begin := s.From.Add(at)
			until = min(to, at+begin.Truncate(quarter).Add(quarter).Sub(begin))
		}
		s.part(d, jobs, at, until, min(max(at, active), until), cost/(to-from).Hours())
		at = until
	}
}

// part is droplet of a part of its life. Jobs at the same time share it by how long they take of the part.
func (s *sums) part(d *Droplet, jobs []Job, from, to, active time.Duration, rate float64) {
	add := func(j *Job, did string, hours float64) {
		if hours > 0 {
			s.add(j, d, s.From.Add(from), did, hours, rate*hours)
		}
	}
	takes := func(j *Job) (begin, end time.Duration) {
		end = to
		if !j.Ended.IsZero() {
			end = min(to, j.Ended.Sub(s.From))
		}
		begin = max(active, j.Started.Sub(s.From))
		return begin, max(begin, end)
	}
	busy, sum, last := 0.0, 0.0, active
	for i := range jobs {
		begin, end := takes(&jobs[i])
		sum += (end - begin).Hours()
		busy += max(0, end-max(begin, last)).Hours()
		last = max(last, end)
	}
	for i := range jobs {
		begin, end := takes(&jobs[i])
		add(&jobs[i], ran, (end-begin).Hours()*busy/sum)
	}
	add(nil, booted, (active - from).Hours())
	add(nil, idle, (to-active).Hours()-busy)
}

// add adds what a Droplet did from then on, for that many hours.
func (s *sums) add(j *Job, d *Droplet, at time.Time, did string, hours, usd float64) {
	for _, r := range []*Row{&s.all, s.row(j, d, at, did)} {
		r.USD += usd
		switch did {
		case ran:
			r.JobHours += hours
			r.USDJobs += usd
		case booted:
			r.BootHours += hours
			r.USDBoot += usd
		case idle:
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

package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
)

// Past is what really happened to one group, and what the model makes of it.
type Past struct {
	From, To time.Time
	Size     string // of most of its Droplets
	Work     *Work

	Measured, Model Outcome
	Held            []string // how jobs were held back: their true arrivals are not known
	Misfits         []string // why the model does not fit the past; none = it does
}

// deletion is how long a Droplet is billed after the runner has asked to delete it, in ms.
const deletion = 5000

// NewPast reads the history of a group through its present setup. The error says what is
// missing in it.
func NewPast(h history.History, group string, s Setup) (*Past, error) {
	p := &Past{From: h.From, To: h.To, Work: &Work{Length: h.To.Sub(h.From).Milliseconds(), Gone: deletion, Poll: 3000}}
	droplets, sizes := map[string]*history.Droplet{}, map[string]int{}
	hours := 0.0 // of which the price is known
	for i := range h.Droplets {
		d := &h.Droplets[i]
		from, to := h.Life(d)
		if d.Group != "" && d.Group != group || to < from {
			continue
		}
		droplets[d.Name] = d
		p.Measured.Lives = append(p.Measured.Lives, Life{from.Milliseconds(), to.Milliseconds()})
		p.Measured.USD += h.Cost(d)
		if !d.Requested.Before(h.From) {
			p.Measured.Made++
		}
		if !d.Requested.IsZero() && d.Active.After(d.Requested) {
			p.Work.Boots = append(p.Work.Boots, int(d.Active.Sub(d.Requested).Milliseconds()))
		}
		if d.PriceHourly > 0 {
			hours += (to - from).Hours()
			p.Work.Price += d.PriceHourly * (to - from).Hours()
		}
		if sizes[d.Size]++; sizes[d.Size] > sizes[p.Size] {
			p.Size = d.Size
		}
	}
	p.jobs(h, droplets)
	switch {
	case len(p.Work.Jobs) < 20:
		return nil, fmt.Errorf("%d jobs of the group in %s are too few to plan from: give a longer --since",
			len(p.Work.Jobs), h.To.Sub(h.From).Round(time.Minute))
	case len(p.Work.Boots) == 0:
		return nil, fmt.Errorf("no Droplet's boot was logged: the journal has to contain the plugin's lines")
	case hours == 0:
		return nil, fmt.Errorf("no Droplet's price was logged: the journal has to contain the plugin's lines")
	}
	p.Work.Price /= hours
	p.Model = Run(s, p.Work, true)
	p.hold(s)
	p.checkFit()
	return p, nil
}

// jobs fills in what jobs did, and how long a Droplet takes from active to its first.
func (p *Past) jobs(h history.History, droplets map[string]*history.Droplet) {
	mine := slices.DeleteFunc(slices.Clone(h.Jobs), func(j history.Job) bool {
		return droplets[j.Droplet] == nil || j.Received.Before(h.From)
	})
	queued := 0
	for _, j := range mine {
		if j.AtGitLab > 0 {
			queued++
		}
	}
	p.Work.Queued = 2*queued > len(mine)
	var ready []int
	met := map[string]bool{}
	for _, j := range mine {
		arrive, started, end := j.Received.Sub(p.From), j.Started.Sub(p.From), h.To.Sub(p.From)
		if p.Work.Queued {
			arrive = max(0, arrive-j.AtGitLab)
		}
		if !j.Ended.IsZero() {
			end = j.Ended.Sub(p.From)
		}
		p.Work.Jobs = append(p.Work.Jobs, Job{arrive.Milliseconds(), max(0, end-started).Milliseconds()})
		p.Measured.Waits = append(p.Measured.Waits, int32(min((started-arrive).Milliseconds(), math.MaxInt32)))
		p.Measured.Runs = append(p.Measured.Runs, Life{started.Milliseconds(), end.Milliseconds()})
		if d := droplets[j.Droplet]; !met[d.Name] && j.Received.Before(d.Active) {
			ready = append(ready, int(max(0, j.Started.Sub(d.Active)).Milliseconds()))
		}
		met[j.Droplet] = true
	}
	slices.SortFunc(p.Work.Jobs, func(a, b Job) int { return cmp.Compare(a.Arrive, b.Arrive) })
	slices.Sort(p.Measured.Waits)
	if slices.Sort(ready); len(ready) > 0 {
		// The runner sees a Droplet every 2 s, a job looks for one every 2 s: a second each is in the median.
		p.Work.Ready = max(0, ready[len(ready)/2]-(look+update)/2)
	}
}

// hold says when the runner took no jobs although there may have been some. With Queued GitLab knows when they came.
func (p *Past) hold(s Setup) {
	if p.Work.Queued {
		return
	}
	share := func(what string, full int, lives []Life) {
		if full > 0 {
			if long := atOnce(lives, full); long > 0 {
				p.Held = append(p.Held, fmt.Sprintf("%s was reached for %.1f %% of the time", what, 100*float64(long)/float64(p.Work.Length)))
			}
		}
	}
	share("concurrent or limit", s.MaxJobs, p.Measured.Runs)
	share("max_instances", s.MaxInstances, p.Measured.Lives)
	if slices.ContainsFunc(s.Policies, func(q Policy) bool { return q.Preemptive && q.IdleCount > 0 }) {
		p.Held = append(p.Held, "preemptive_mode leaves jobs at GitLab until a Droplet is ready, and the journal does not know since when")
	}
}

// atOnce returns for how long there are that many lives or more at once, in ms.
func atOnce(lives []Life, full int) (long int64) {
	type edge struct {
		at   int64
		more int
	}
	var edges []edge
	for _, l := range lives {
		edges = append(edges, edge{l.From, 1}, edge{l.To, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), a.more-b.more) })
	n := 0
	for i, e := range edges {
		if n >= full {
			long += e.at - edges[i-1].at
		}
		n += e.more
	}
	return long
}

// checkFit notes where the model does not fit the past, and why that may be.
func (p *Past) checkFit() {
	off := func(what string, model, measured, part, least float64, unit, low, high string) {
		if math.Abs(model-measured) <= max(part*measured, least) {
			return
		}
		why := low
		if model > measured {
			why = high
		}
		p.Misfits = append(p.Misfits, fmt.Sprintf("%s: %.2f %s by the model, %.2f %s measured: "+
			"the policy was another one for a part of the time, or %s", what, model, unit, measured, unit, why))
	}
	const refused = "Droplets could not be had"
	off("cost", p.Model.USD, p.Measured.USD, 0.15, 0.05, "USD",
		"Droplets outlived it: restarts without state_storage, Droplets that a person keeps", refused)
	for _, q := range []float64{0.5, 0.95} {
		off(fmt.Sprintf("wait p%.0f", 100*q), p.Model.Wait(q).Seconds(), p.Measured.Wait(q).Seconds(), 0.25, 5, "s",
			refused, "concurrent, limit or max_instances were higher")
	}
}

// Week returns how many lives there are on average in each hour of a week, from Monday on.
func (p *Past) Week(lives []Life, loc *time.Location) []float64 {
	const step = int64(5 * time.Minute / time.Millisecond) // it counts then
	count := func(lives []Life) []float64 {
		n := make([]float64, 7*24)
		for _, l := range lives {
			for at := up(l.From, step); at < l.To; at += step {
				t := p.From.Add(time.Duration(at) * time.Millisecond).In(loc)
				n[(int(t.Weekday())+6)%7*24+t.Hour()]++
			}
		}
		return n
	}
	n, all := count(lives), count([]Life{{0, p.Work.Length}})
	for hour := range n {
		n[hour] /= max(1, all[hour])
	}
	return n
}

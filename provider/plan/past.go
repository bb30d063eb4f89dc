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
	Size     string
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
	if group == "" { // of a journal without a configuration
		for _, d := range h.Droplets {
			if group != "" && d.Group != "" && d.Group != group {
				return nil, fmt.Errorf("the journal has the groups %q and %q: name a config.toml and a runner of it, with --config and --runner", group, d.Group)
			}
			group = cmp.Or(group, d.Group)
		}
	}
	droplets := map[string]*history.Droplet{}
	hours, sizes, prices := 0.0, map[string]int{}, 0.0
	for i := range h.Droplets {
		d := &h.Droplets[i]
		if d.Group != "" && d.Group != group {
			continue
		}
		droplets[d.Name] = d
		life := p.life(d)
		if life.To < life.From {
			continue
		}
		p.Measured.Lives = append(p.Measured.Lives, life)
		p.Measured.USD += d.Cost(h.From, h.To)
		if !d.Requested.Before(h.From) {
			p.Measured.Made++
		}
		if !d.Requested.IsZero() && d.Active.After(d.Requested) {
			p.Work.Boots = append(p.Work.Boots, int(d.Active.Sub(d.Requested).Milliseconds()))
		}
		if d.PriceHourly > 0 {
			hours += float64(life.To - life.From)
			prices += d.PriceHourly * float64(life.To-life.From)
		}
		sizes[d.Size]++
	}
	for size, n := range sizes {
		if n > sizes[p.Size] || n == sizes[p.Size] && size < p.Size {
			p.Size = size
		}
	}
	p.Measured.Most = most(p.Measured.Lives)
	p.jobs(h, droplets)
	switch {
	case len(p.Work.Jobs) < 20:
		return nil, fmt.Errorf("%d jobs of the group in %s are too few to plan from: give a longer --since", len(p.Work.Jobs), h.To.Sub(h.From).Round(time.Minute))
	case len(p.Work.Boots) == 0:
		return nil, fmt.Errorf("no Droplet's boot was logged: the journal has to contain the plugin's lines")
	case hours == 0:
		return nil, fmt.Errorf("no Droplet's price was logged: the journal has to contain the plugin's lines")
	}
	p.Work.Price = prices / hours
	p.Model = Run(s, p.Work, true)
	p.hold(s)
	p.checkFit(h)
	return p, nil
}

func (p *Past) at(t time.Time) int64 { return t.Sub(p.From).Milliseconds() }

// life is a Droplet's within the past.
func (p *Past) life(d *history.Droplet) Life {
	l := Life{max(0, p.at(d.Requested)), p.Work.Length}
	if !d.Gone.IsZero() {
		l.To = min(l.To, p.at(d.Gone))
	}
	return l
}

// jobs fills in what jobs did, and how long a Droplet takes from active to its first.
func (p *Past) jobs(h history.History, droplets map[string]*history.Droplet) {
	queued, first := 0, map[string]int{}
	var mine []history.Job
	for _, j := range h.Jobs {
		if d := droplets[j.Droplet]; d != nil && !j.Received.Before(h.From) {
			mine = append(mine, j)
			if !j.Queued.IsZero() {
				queued++
			}
		}
	}
	p.Work.Queued = 2*queued > len(mine)
	var ready []int
	for _, j := range mine {
		arrive := j.Received
		if p.Work.Queued && !j.Queued.IsZero() {
			arrive = j.Queued
		}
		end := j.Ended
		if end.IsZero() {
			end = h.To
		}
		takes := max(0, end.Sub(j.Started).Milliseconds())
		p.Work.Jobs = append(p.Work.Jobs, Job{max(0, p.at(arrive)), takes})
		p.Measured.Waits = append(p.Measured.Waits, int32(min(max(0, j.Started.Sub(arrive).Milliseconds()), math.MaxInt32)))
		p.Measured.Runs = append(p.Measured.Runs, Life{p.at(j.Started), p.at(end)})
		d := droplets[j.Droplet]
		if first[j.Droplet]++; first[j.Droplet] == 1 && !d.Active.IsZero() && j.Received.Before(d.Active) {
			ready = append(ready, int(max(0, j.Started.Sub(d.Active).Milliseconds())))
		}
	}
	slices.SortFunc(p.Work.Jobs, func(a, b Job) int { return cmp.Compare(a.Arrive, b.Arrive) })
	slices.Sort(p.Measured.Waits)
	if slices.Sort(ready); len(ready) > 0 {
		// The runner sees a Droplet every 2 s, a job looks for one every 2 s: a second each is in the median.
		p.Work.Ready = max(0, ready[len(ready)/2]-(look+update)/2)
	}
}

// most is how many lives there are at once, at most.
func most(lives []Life) int {
	top, _ := atOnce(lives, math.MaxInt)
	return top
}

// atOnce returns how many lives there are at once at most, and how long there are that many or more, in ms.
func atOnce(lives []Life, full int) (top int, long int64) {
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
		n += e.more
		top = max(top, n)
		if n >= full && i+1 < len(edges) {
			long += edges[i+1].at - e.at
		}
	}
	return top, long
}

// hold says when the runner took no jobs although there may have been some.
func (p *Past) hold(s Setup) {
	share := func(what string, full int, lives []Life) {
		if full == 0 {
			return
		}
		if _, long := atOnce(lives, full); long > 0 {
			p.Held = append(p.Held, fmt.Sprintf("%s was reached for %.1f %% of the time", what, 100*float64(long)/float64(p.Work.Length)))
		}
	}
	share("concurrent or limit", s.MaxJobs, p.Measured.Runs)
	share("max_instances", s.MaxInstances, p.Measured.Lives)
	for _, policy := range s.Policies {
		if policy.Preemptive && policy.IdleCount > 0 && !p.Work.Queued {
			p.Held = append(p.Held, "preemptive_mode leaves jobs at GitLab until a Droplet is ready, and the journal does not know since when")
			break
		}
	}
	if p.Work.Queued {
		p.Held = nil // GitLab knows when they came
	}
}

// checkFit notes why the model does not fit the past.
func (p *Past) checkFit(h history.History) {
	off := func(what string, model, measured, part, least float64, unit, low, high string) {
		if math.Abs(model-measured) <= max(part*measured, least) {
			return
		}
		why := low
		if model > measured {
			why = high
		}
		p.Misfits = append(p.Misfits, fmt.Sprintf("%s: %.2f %s by the model, %.2f %s measured: %s", what, model, unit, measured, unit, why))
	}
	const changed = "the policy was another one for a part of the time"
	off("cost", p.Model.USD, p.Measured.USD, 0.15, 0.05, "USD",
		changed+", or Droplets outlived it: restarts without state_storage, Droplets that a person keeps", changed+", or Droplets could not be had")
	for _, q := range []float64{0.5, 0.95} {
		off(fmt.Sprintf("wait p%.0f", 100*q), p.Model.Wait(q).Seconds(), p.Measured.Wait(q).Seconds(), 0.25, 5, "s",
			changed+", or Droplets could not be had, or took longer than their boots say", changed+", or concurrent, limit or max_instances were higher")
	}
	lost := 0
	for _, d := range h.Droplets {
		if d.Lost {
			lost++
		}
	}
	if len(p.Misfits) > 0 && lost > 0 {
		p.Misfits = append(p.Misfits, fmt.Sprintf("%d Droplets were lost, and the model loses none", lost))
	}
}

// Week returns how many lives there are on average in each hour of a week, from Monday on.
func (p *Past) Week(lives []Life, loc *time.Location) []float64 {
	const hour = int64(time.Hour / time.Millisecond)
	sum, long := make([]float64, 7*24), make([]float64, 7*24)
	slot := func(at int64) int {
		t := p.From.Add(time.Duration(at) * time.Millisecond).In(loc)
		return (int(t.Weekday())+6)%7*24 + t.Hour()
	}
	offset := p.From.Sub(p.From.Truncate(time.Hour)).Milliseconds()
	each := func(l Life, add func(at, ms int64)) {
		for at := l.From; at < l.To; {
			end := min((at+offset)/hour*hour+hour-offset, l.To)
			add(at, end-at)
			at = end
		}
	}
	each(Life{0, p.Work.Length}, func(at, ms int64) { long[slot(at)] += float64(ms) })
	for _, l := range lives {
		each(l, func(at, ms int64) { sum[slot(at)] += float64(ms) })
	}
	for i := range sum {
		if long[i] > 0 {
			sum[i] /= long[i]
		}
	}
	return sum
}

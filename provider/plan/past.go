package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Past is what really happened to one group, and what the model makes of it.
type Past struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Size     string    `json:"size"` // of most of its Droplets
	Jobs     int       `json:"jobs"`
	Measured Figures   `json:"measured"`
	Model    Figures   `json:"model"`
	Held     []string  `json:"held_back,omitempty"` // how jobs were held back: their true arrivals are not known
	Misfits  []string  `json:"misfits,omitempty"`   // what the model says otherwise, and why; none = it fits the past

	// What Search has found, and the tables show.
	Tried   int      `json:"tried"`
	Choices []Choice `json:"choices"`        // on the front, cheapest first, at most five
	Best    string   `json:"best,omitempty"` // its label; "" = nothing is better than the present
	Front   []Choice `json:"-"`              // all of it

	Setup Setup   `json:"-"`
	Work  *Work   `json:"-"`
	Runs  []Life  `json:"-"` // of jobs
	Was   Outcome `json:"-"` // what really became of Work
}

// deletion is how long a Droplet is billed after the runner has asked to delete it.
const deletion = 5 * time.Second

// NewPast reads the history of a group through its present setup. The error says what is missing in it.
func NewPast(h *history.History, group string, s Setup) (*Past, error) {
	if h.To.Sub(h.From) > 366*24*time.Hour {
		return nil, fmt.Errorf("the journal is of more than a year, from %s to %s: give a --since",
			h.From.Format(time.DateOnly), h.To.Format(time.DateOnly))
	}
	p := &Past{From: h.From, To: h.To, Choices: []Choice{}, Setup: s, Work: &Work{Length: h.To.Sub(h.From), Gone: deletion}}
	p.Setup.shifts = shifts(h.From, p.Work.Length, s.Active)
	droplets, sizes := map[string]*history.Droplet{}, map[string]int{}
	hours := 0.0 // of which the price is known
	var active []Life
	for i := range h.Droplets {
		d := &h.Droplets[i]
		from, to := h.Life(d)
		if d.Group != "" && d.Group != group || to.Before(from) {
			continue
		}
		droplets[d.Name] = d
		p.Was.Lives = append(p.Was.Lives, Life{from.Sub(h.From), to.Sub(h.From)})
		p.Was.USD += h.Cost(d)
		if !d.Active.IsZero() || d.Requested.Before(h.From) {
			active = append(active, Life{max(from.Sub(h.From), d.Active.Sub(h.From)), to.Sub(h.From)})
		}
		if !d.Requested.IsZero() && d.Active.After(d.Requested) {
			p.Work.Boots = append(p.Work.Boots, d.Active.Sub(d.Requested))
		}
		if d.PriceHourly > 0 {
			hours += to.Sub(from).Hours()
			p.Work.Price += d.PriceHourly * to.Sub(from).Hours()
		}
		if sizes[d.Size]++; sizes[d.Size] > sizes[p.Size] {
			p.Size = d.Size
		}
	}
	all, own := p.jobs(h, droplets)
	switch {
	case len(p.Work.Jobs) < 20:
		return nil, fmt.Errorf("too few jobs of the group to plan from (%d): give a longer --since", len(p.Work.Jobs))
	case len(p.Work.Boots) == 0 || hours == 0:
		return nil, errors.New("no Droplet's boot, or no price, was logged: the journal has to contain the plugin's lines")
	}
	p.Work.Price /= hours
	p.hold(all, own, active)
	p.Jobs, p.Measured, p.Model = len(p.Runs), p.figures(p.Was), p.figures(Replay(p.Setup, p.Work))
	p.fits("USD a month", p.Model.USD, p.Measured.USD, 0.15, 1)
	p.fits("seconds of wait p50", p.Model.Wait.P50, p.Measured.Wait.P50, 0.25, 5)
	p.fits("seconds of wait p95", p.Model.Wait.P95, p.Measured.Wait.P95, 0.25, 5)
	if p.Misfits == nil {
		return p, nil
	}
	for _, f := range h.Failures {
		if f.Group == "" || f.Group == group {
			p.Misfits = append(p.Misfits, fmt.Sprintf("Droplets were refused %d times: %s in %s: %s", f.Times, cmp.Or(f.Size, "any size"),
				cmp.Or(f.Region, "any region"), cmp.Or(f.Last, f.Why)))
		}
	}
	p.Misfits = append(p.Misfits, "it may be that the policy or a limit was another one for a part of the time, "+
		"or that Droplets could not be had, were kept, or outlived a restart")
	return p, nil
}

// jobs fills in what jobs did. It returns when the runner had jobs: of all groups, and of this one.
func (p *Past) jobs(h *history.History, droplets map[string]*history.Droplet) (all, own []Life) {
	queued, met := 0, map[string]bool{}
	var ready []time.Duration
	for _, j := range h.Jobs {
		end := p.Work.Length
		if !j.Ended.IsZero() {
			end = j.Ended.Sub(h.From)
		}
		has := Life{max(0, j.Received.Sub(h.From)), end}
		all = append(all, has)
		d := droplets[j.Droplet]
		if d == nil {
			continue
		}
		if own = append(own, has); j.Received.Before(h.From) {
			continue
		}
		if j.AtGitLab > 0 {
			queued++
		}
		run := Life{j.Started.Sub(h.From), end}
		p.Runs = append(p.Runs, run)
		p.Work.Jobs = append(p.Work.Jobs, Job{max(0, run.From-j.Wait()), max(0, run.To-run.From)})
		p.Was.Waits = append(p.Was.Waits, j.Wait())
		if !met[d.Name] && j.Received.Before(d.Active) { // it is the Droplet's first, and waited for it
			ready = append(ready, max(0, j.Started.Sub(d.Active)))
		}
		met[d.Name] = true
	}
	p.Work.Queued = 2*queued > len(p.Runs)
	slices.SortFunc(p.Work.Jobs, func(a, b Job) int { return cmp.Compare(a.Arrive, b.Arrive) })
	if slices.Sort(ready); len(ready) > 0 {
		// The runner sees a Droplet every 2 s, usually, a job looks for one every 2 s: half of each is in the median.
		p.Work.Ready = max(0, ready[len(ready)/2]-(look+p.Setup.expecting())/2)
	}
	return all, own
}

// hold says when the runner took no jobs although there may have been some. With Queued GitLab knows when they came.
func (p *Past) hold(all, own, active []Life) {
	p.Was.Most, _ = atOnce(p.Was.Lives, 0)
	if p.Work.Queued {
		return
	}
	held := func(what string, long time.Duration) {
		if percent := 100 * long.Hours() / p.Work.Length.Hours(); percent >= 0.05 {
			p.Held = append(p.Held, fmt.Sprintf("%s for %.1f %% of the time", what, percent))
		}
	}
	reached := func(limit string, jobs []Life, full int) {
		_, long := atOnce(jobs, full)
		held(limit+" was reached", long)
	}
	reached("concurrent", all, p.Setup.Concurrent)
	reached("limit", own, p.Setup.Limit)
	// While a Droplet has room, max_instances holds nothing back.
	capacity := max(1, p.Setup.CapacityPerInstance)
	reached("max_instances", own, p.Setup.MaxInstances*capacity)
	if slices.ContainsFunc(p.Setup.Policy, func(q runnerconfig.Policy) bool { return q.Preemptive() && q.IdleCount > 0 }) {
		busy := changes(own, 1) // jobs, less what Droplets have room for
		busy[p.Work.Length] += 0
		for at, n := range changes(active, -capacity) {
			busy[at] += n
		}
		_, long := walk(busy, 0)
		held("preemptive_mode leaves jobs at GitLab while no Droplet has room, which was", long)
	}
}

// changes are the moments at which the number of lives changes, each of which counts n.
func changes(lives []Life, n int) map[time.Duration]int {
	edges := map[time.Duration]int{}
	for _, l := range lives {
		edges[l.From] += n
		edges[l.To] -= n
	}
	return edges
}

// atOnce returns how many lives there are at once, at most, and for how long full of them or more; full = 0 is never.
func atOnce(lives []Life, full int) (most int, long time.Duration) {
	if full == 0 {
		full = math.MaxInt
	}
	return walk(changes(lives, 1), full)
}

// walk goes along changes: how much there is at most, and for how long full of it or more.
func walk(edges map[time.Duration]int, full int) (most int, long time.Duration) {
	n, last := 0, time.Duration(0)
	for _, at := range slices.Sorted(maps.Keys(edges)) {
		if n >= full {
			long += at - last
		}
		n, last = n+edges[at], at
		most = max(most, n)
	}
	return most, long
}

// fits notes a figure that the model and the past do not have in common.
func (p *Past) fits(what string, model, measured, part, least float64) {
	if math.Abs(model-measured) > max(part*measured, least) {
		p.Misfits = append(p.Misfits, fmt.Sprintf("%s: %.2f by the model, %.2f measured", what, model, measured))
	}
}

// Figures are an Outcome in short.
type Figures struct {
	USD  float64       `json:"usd_per_month"`
	Wait history.Waits `json:"wait"`
	Most int           `json:"droplets_at_most"`
}

func (p *Past) figures(o Outcome) Figures {
	return Figures{math.Round(100*o.USD*730/p.Work.Length.Hours()) / 100, history.WaitsOf(o.Waits), o.Most} // a month has 730 hours
}

// Week returns how many lives, since from, there are on average in each hour of a week until to, from Monday on.
func Week(lives []Life, from, to time.Time, zone *time.Location) (week [7 * 24]float64) {
	const step = time.Minute // it counts then
	count := func(lives ...Life) (n [7 * 24]float64) {
		for _, l := range lives {
			for at := up(max(0, l.From), step); at < l.To; at += step {
				t := from.Add(at).In(zone)
				n[(int(t.Weekday())+6)%7*24+t.Hour()]++
			}
		}
		return n
	}
	n, all := count(lives...), count(Life{0, to.Sub(from)})
	for hour := range week {
		week[hour] = n[hour] / max(1, all[hour])
	}
	return week
}

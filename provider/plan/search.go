package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Size is a size that jobs may run on, and how much faster it does them.
type Size struct {
	Slug    string
	Speedup float64
	Price   float64 // USD an hour
}

// Choice is a configuration, and what the past would have been with it.
type Choice struct {
	Label   string `json:"label"`
	Size    string `json:"size"`
	MaxUses int    `json:"max_use_count"`
	Figures
	Why    string `json:"why,omitempty"`    // what is good about it; "" = it lies between others
	Policy string `json:"policy,omitempty"` // in short
	Setup  Setup  `json:"-"`

	work *Work
}

// Lives replays a choice, and returns those of its Droplets.
func (c *Choice) Lives() []Life { return Replay(c.Setup, c.work).Lives }

// The values that are tried, besides idle_count.
var (
	idleTimes    = []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute}
	scaleFactors = []float64{0, 1.5}
	maxUses      = []int{5, 20, 100} // two of them
)

// Search tries some 500 policies on the past, for each size. Meanwhile the process collects garbage less often, which
// takes a sixth of the time off. (BenchmarkSearch)
func (p *Past) Search(sizes []Size) {
	defer debug.SetGCPercent(debug.SetGCPercent(500))
	var tried []Choice
	for _, size := range append([]Size{{p.Size, 1, p.Work.Price}}, sizes...) {
		tried = append(tried, p.choices(size)...)
	}
	var replays errgroup.Group
	replays.SetLimit(runtime.GOMAXPROCS(0))
	for i := range tried {
		replays.Go(func() error {
			c := &tried[i]
			c.Figures = p.figures(Replay(c.Setup, c.work))
			return nil
		})
	}
	_ = replays.Wait()
	p.Tried, p.Front = len(tried), front(tried)
	p.choose()
}

// choices are all that is tried on a size.
func (p *Past) choices(size Size) (all []Choice) {
	work := *p.Work
	work.Price, work.Jobs = size.Price, slices.Clone(work.Jobs)
	for i := range work.Jobs {
		work.Jobs[i].Takes = time.Duration(float64(work.Jobs[i].Takes) / size.Speedup)
	}
	counts := p.counts()
	hours := p.workHours()
	byDay := shifts(p.From, work.Length, func(t time.Time) int {
		if hours.have(t.In(p.Setup.Zone)) {
			return 1
		}
		return 0
	})
	uses := []int{p.Setup.MaxUseCount}
	if uses[0] != 1 { // 1 is for jobs that do not trust each other
		uses = append(uses, slices.DeleteFunc(slices.Clone(maxUses), func(n int) bool { return n == uses[0] })[:2]...)
	}
	policy := runnerconfig.Policy{Periods: []string{"* * * * *"}}
	if p.Setup.Zone != time.Local {
		policy.Timezone = p.Setup.Zone.String()
	}
	atNightIs, byDayIs, limit := false, false, 0 // preemptive_mode of the first policy, which is the base, and of the last
	if now := p.Setup.Policy; len(now) > 0 {
		last := now[len(now)-1]
		atNightIs, byDayIs, limit = now[0].Preemptive(), last.Preemptive(), last.ScaleFactorLimit
	}
	add := func(uses int, idle time.Duration, scale float64, count, atNight int) {
		c := Choice{Size: size.Slug, MaxUses: uses, Setup: p.Setup, work: &work}
		night, day := policy, policy
		night.IdleCount, night.IdleTime, night.PreemptiveMode = atNight, idle, &atNightIs
		day.IdleCount, day.IdleTime, day.ScaleFactor, day.PreemptiveMode = count, idle, scale, &byDayIs
		c.Policy = fmt.Sprintf("%d idle", count)
		if scale > 0 {
			day.ScaleFactorLimit = limit
			c.Policy += fmt.Sprintf(" x%g", scale)
		}
		c.Setup.MaxUseCount, c.Setup.Policy, c.Setup.shifts = uses, []runnerconfig.Policy{day}, []shift{{}}
		if atNight < count {
			day.Periods = hours.periods()
			c.Setup.Policy, c.Setup.shifts = []runnerconfig.Policy{night, day}, byDay
			c.Policy = fmt.Sprintf("%d idle, %s %d-%dh", atNight, c.Policy, hours.from, (hours.to-1)%24+1)
		}
		c.Policy += fmt.Sprintf(", %.0fm", idle.Minutes())
		if uses != p.Setup.MaxUseCount {
			c.Policy += fmt.Sprintf(", %d uses", uses)
		}
		if size.Slug != p.Size {
			c.Policy += ", " + size.Slug
		}
		all = append(all, c)
	}
	for _, uses := range uses {
		for _, idle := range idleTimes {
			for _, scale := range scaleFactors {
				for _, count := range counts {
					for _, atNight := range slices.Compact([]int{0, (count + 1) / 2, count}) {
						add(uses, idle, scale, count, atNight)
					}
				}
			}
		}
	}
	return all
}

// counts are the values of idle_count: up to how many jobs come, at most, while a Droplet boots. Room for more is never needed.
func (p *Past) counts() []int {
	boots := slices.Sorted(slices.Values(p.Work.Boots))
	window := boots[len(boots)*9/10] + p.Work.Ready + 2*p.Setup.expecting() + 2*tick
	var booting []Life
	for _, j := range p.Work.Jobs {
		booting = append(booting, Life{j.Arrive, j.Arrive + window})
	}
	most, _ := atOnce(booting, 0)
	counts := []int{0}
	for n := range 7 {
		counts = append(counts, int(math.Round(math.Pow(float64(most), float64(n)/6))))
	}
	return slices.Compact(counts)
}

// workHours are hours of days.
type workHours struct {
	days     [7]bool // from Sunday on, on which they begin
	from, to int     // to is over 24 where they end on the day after
}

// workHours are the days with many jobs, and the hours outside of the longest time with less than the mean.
func (p *Past) workHours() workHours {
	var perDay [7]int
	var perHour [24]int
	for _, j := range p.Work.Jobs {
		perHour[p.From.Add(j.Arrive).In(p.Setup.Zone).Hour()]++
	}
	w, rest := workHours{to: 24}, 0
	for from := range 24 {
		quiet := 0
		for quiet < 24 && 24*perHour[(from+24-1-quiet)%24] < len(p.Work.Jobs) {
			quiet++
		}
		if quiet > rest {
			w.from, w.to, rest = from, from+24-quiet, quiet
		}
	}
	for _, j := range p.Work.Jobs {
		perDay[w.day(p.From.Add(j.Arrive).In(p.Setup.Zone))]++
	}
	for day, n := range perDay {
		w.days[day] = 3*n > slices.Max(perDay[:])
	}
	return w
}

// day is the one that a moment counts for: after midnight, while work lasts, the day before.
func (w workHours) day(t time.Time) time.Weekday {
	if t.Hour() < w.to-24 {
		return (t.Weekday() + 6) % 7
	}
	return t.Weekday()
}

func (w workHours) have(t time.Time) bool {
	h := t.Hour()
	return w.days[w.day(t)] && (h >= w.from && h < w.to || h < w.to-24)
}

// periods are how the runner reads them.
func (w workHours) periods() []string {
	period := func(from, to, later int) string {
		var names []string
		for day := range 7 {
			if w.days[(day+7-later)%7] {
				names = append(names, strings.ToLower(time.Weekday(day).String()[:3]))
			}
		}
		return fmt.Sprintf("* %d-%d * * %s", from, to-1, strings.Join(names, ","))
	}
	if w.to <= 24 {
		return []string{period(w.from, w.to, 0)}
	}
	return []string{period(w.from, 24, 0), period(0, w.to-24, 1)}
}

// front keeps the choices that no other beats in cost and p95 wait, cheapest first. A fiftieth
// of the cost, a second, or a hundredth of the wait less is no better: then what changes less is.
func front(all []Choice) (best []Choice) {
	cost := func(c Choice) float64 { return math.Round(math.Log(c.USD) / math.Log(1.02)) }
	slices.SortStableFunc(all, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(math.Round(a.Wait.P95), math.Round(b.Wait.P95)),
			len(a.Setup.Policy)-len(b.Setup.Policy), cmp.Compare(a.USD, b.USD))
	})
	for _, c := range all {
		if len(best) == 0 || c.Wait.P95 < best[len(best)-1].Wait.P95-max(1, best[len(best)-1].Wait.P95/100) {
			best = append(best, c)
		}
	}
	return best
}

// choose takes at most five of the front: its ends, what is better than the present, and what lies evenly between.
func (p *Past) choose() {
	same, less, last := -1, -1, len(p.Front)-1
	present := p.Model
	atMost := func(wait, now float64) bool { return wait <= now+max(1, now/10) }
	for i, c := range p.Front {
		if !atMost(c.Wait.P50, present.Wait.P50) { // what every second job notices is not the same, nor less
			continue
		}
		if same < 0 && atMost(c.Wait.P95, present.Wait.P95) && c.USD < 0.98*present.USD {
			same = i
		}
		if c.USD <= 1.01*present.USD && c.Wait.P95 < present.Wait.P95-max(1, present.Wait.P95/50) {
			less = i
		}
	}
	picked := map[int]string{0: "", last: "", less: "less wait for the same", same: "the same wait for less"}
	delete(picked, -1)
	for part := 1; part < 4 && len(picked) < 5; part++ {
		picked[last*part/4] += ""
	}
	for _, i := range slices.Sorted(maps.Keys(picked)) {
		c := p.Front[i]
		c.Label, c.Why = string(rune('A'+len(p.Choices))), picked[i]
		if i == same || same < 0 && i == less {
			p.Best = c.Label
		}
		p.Choices = append(p.Choices, c)
	}
}

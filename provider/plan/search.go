package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"runtime"
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

// Search tries some 500 policies on the past, for each size.
func (p *Past) Search(sizes []Size) {
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
	days, from, to := p.workHours()
	byDay := shifts(p.From, work.Length, func(t time.Time) int {
		if t = t.In(p.Setup.Zone); days[t.Weekday()] && t.Hour() >= from && t.Hour() < to {
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
	atNightIs, byDayIs := false, false // preemptive_mode of the first policy, which is the base, and of the last
	if now := p.Setup.Policy; len(now) > 0 {
		atNightIs, byDayIs = now[0].Preemptive(), now[len(now)-1].Preemptive()
	}
	add := func(uses int, idle time.Duration, scale float64, count, atNight int) {
		c := Choice{Size: size.Slug, MaxUses: uses, Setup: p.Setup, work: &work}
		night, day := policy, policy
		night.IdleCount, night.IdleTime, night.PreemptiveMode = atNight, idle, &atNightIs
		day.IdleCount, day.IdleTime, day.ScaleFactor, day.PreemptiveMode = count, idle, scale, &byDayIs
		c.Policy = fmt.Sprintf("%d idle", count)
		if scale > 0 {
			c.Policy += fmt.Sprintf(" x%g", scale)
		}
		c.Setup.MaxUseCount, c.Setup.Policy, c.Setup.shifts = uses, []runnerconfig.Policy{day}, []shift{{}}
		if atNight < count {
			day.Periods = []string{period(days, from, to)}
			c.Setup.Policy, c.Setup.shifts = []runnerconfig.Policy{night, day}, byDay
			c.Policy = fmt.Sprintf("%d idle, %s %d-%dh", atNight, c.Policy, from, to)
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

// period is how the runner reads hours of days, from Sunday on.
func period(days [7]bool, from, to int) string {
	var names []string
	for d, name := range strings.Fields("sun mon tue wed thu fri sat") {
		if days[d] {
			names = append(names, name)
		}
	}
	return fmt.Sprintf("* %d-%d * * %s", from, to-1, strings.Join(names, ","))
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

// workHours are the days with many jobs, from Sunday on, and the hours from the first to the last one with more than the mean.
func (p *Past) workHours() (days [7]bool, from, to int) {
	var perDay [7]int
	var perHour [24]int
	for _, j := range p.Work.Jobs {
		t := p.From.Add(j.Arrive).In(p.Setup.Zone)
		perDay[t.Weekday()]++
		perHour[t.Hour()]++
	}
	for day, n := range perDay {
		days[day] = 3*n > slices.Max(perDay[:])
	}
	from = 24
	for hour, n := range perHour {
		if 24*n >= len(p.Work.Jobs) {
			from, to = min(from, hour), hour+1
		}
	}
	return days, from, to
}

// front keeps the choices that no other beats in cost and p95 wait, cheapest first. A fiftieth
// of the cost, a second, or a hundredth of the wait less is no better: then what changes less is.
func front(all []Choice) (best []Choice) {
	cost := func(c Choice) float64 { return math.Round(math.Log(c.USD) / math.Log(1.02)) }
	slices.SortStableFunc(all, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(math.Round(a.Wait.P95), math.Round(b.Wait.P95)),
			len(a.Setup.Policy)-len(b.Setup.Policy))
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
	for i, c := range p.Front {
		if same < 0 && c.Wait.P95 <= present.Wait.P95+max(1, present.Wait.P95/10) && c.USD < 0.98*present.USD {
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

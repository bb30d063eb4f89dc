package plan

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// hoursPerMonth is an average month's.
const hoursPerMonth = 730

// Size is another size that jobs may run on, and how much faster it does them.
type Size struct {
	Slug    string
	Speedup float64
	Price   float64 // USD an hour
}

// Block is a policy and its hours: on Days from hour From to hour To, which is not in it.
type Block struct {
	Policy
	Days     [7]bool // from Sunday
	From, To int
}

// Choice is a configuration, and what the past would have been with it.
type Choice struct {
	Size    string
	Blocks  []Block // the last that contains a moment counts; the first contains all
	MaxUses int

	USDPerMonth       float64
	P50, P95, Longest time.Duration
	Most, Made        int

	Why   string // what is good about it; "" = it lies between others
	at    [5]int // in the grid
	setup Setup
	work  *Work
}

// Outcome replays a choice, with the lives of its Droplets and jobs.
func (c *Choice) Outcome() Outcome { return Run(c.setup, c.work, true) }

// Advice is what a search has found.
type Advice struct {
	Present Choice
	Choices []Choice // on the front, cheapest first, at most five
	Front   []Choice // all of it
	Tried   int
	Best    int // of Choices; -1 = nothing is better than the present
}

// The values that are tried.
var (
	idleTimes    = []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute}
	scaleFactors = []float64{0, 1.2, 1.5, 2}
	maxUses      = []int{5, 20, 100}
)

// Search tries at most so many policies on the past. Hours are those of loc.
func Search(ctx context.Context, p *Past, s Setup, sizes []Size, loc *time.Location, tries int) (*Advice, error) {
	a := &Advice{Present: Choice{Size: p.Size, MaxUses: s.MaxUses, setup: s, work: p.Work}, Best: -1}
	a.Present.measure()
	sizes = append([]Size{{Slug: p.Size, Speedup: 1, Price: p.Work.Price}}, sizes...)
	for _, size := range sizes {
		g := newGrid(p, s, size, loc)
		var tried []Choice
		budget := tries / len(sizes)
		for next := g.any(budget / 4); len(next) > 0; {
			if err := measureAll(ctx, next); err != nil {
				return nil, err
			}
			tried = append(tried, next...)
			if next = g.near(front(tried), budget-len(tried)); len(next) == 0 {
				next = g.any(min(budget-len(tried), 50))
			}
		}
		a.Front = append(a.Front, tried...)
		a.Tried += len(tried)
	}
	a.Front = front(a.Front)
	a.choose()
	return a, nil
}

// measureAll replays choices, on all processors.
func measureAll(ctx context.Context, choices []Choice) error {
	var replays errgroup.Group
	replays.SetLimit(runtime.GOMAXPROCS(0))
	for i := range choices {
		replays.Go(func() error {
			if ctx.Err() == nil {
				choices[i].measure()
			}
			return ctx.Err()
		})
	}
	return replays.Wait()
}

func (c *Choice) measure() {
	o := Run(c.setup, c.work, false)
	month := float64(c.work.Length) / float64(hoursPerMonth*time.Hour/time.Millisecond)
	c.USDPerMonth, c.Most, c.Made = o.USD/month, o.Most, o.Made
	c.P50, c.P95, c.Longest = o.Wait(0.5), o.Wait(0.95), o.Wait(1)
}

// The shapes of a week.
const (
	even   = iota // the same all week
	quiet         // in the hours of work; nothing is idle else
	one           // room for one job is, else
	half          // half as much is, else
	peaked        // in the busiest hours; half as much in the hours of work, nothing else
	shapes
)

// grid is all that may be tried on a size.
type grid struct {
	size         string
	setup        Setup
	work         *Work
	counts, uses []int
	blocks       []Block // all week, the hours of work, the busiest of these
	shifts       [][]Shift
	tried        map[[5]int]bool
}

func newGrid(p *Past, s Setup, size Size, loc *time.Location) *grid {
	work := *p.Work
	work.Price, work.Jobs = size.Price, slices.Clone(work.Jobs)
	for i := range work.Jobs {
		work.Jobs[i].Takes = int64(float64(work.Jobs[i].Takes) / size.Speedup)
	}
	g := &grid{size: size.Slug, setup: s, work: &work, uses: []int{s.MaxUses}, tried: map[[5]int]bool{}}
	for n, most := 0, p.burst(); n <= max(1, most); n = max(n+1, n*5/4) {
		g.counts = append(g.counts, n)
	}
	if s.MaxUses != 1 { // 1 is for jobs that do not trust each other
		g.uses = append(g.uses, slices.DeleteFunc(slices.Clone(maxUses), func(n int) bool { return n == s.MaxUses })...)
	}
	hours, peak := p.busy(loc)
	g.blocks = []Block{{Days: [7]bool{true, true, true, true, true, true, true}, To: 24}, hours, peak}
	for n := range g.blocks {
		g.shifts = append(g.shifts, Shifts(p.From, p.To, func(t time.Time) int { return active(g.blocks[:n+1], t.In(loc)) }))
	}
	return g
}

// burst is how many jobs come, at most, while a Droplet boots: room for more is never needed.
func (p *Past) burst() (most int) {
	boots := slices.Sorted(slices.Values(p.Work.Boots))
	window := int64(boots[len(boots)*9/10] + p.Work.Ready + 2*update + 2*tick)
	first := 0
	for i, j := range p.Work.Jobs {
		for p.Work.Jobs[first].Arrive < j.Arrive-window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// choice is what lies there: at a shape, and in counts, idleTimes, scaleFactors and uses. ok = there is something, which
// was not tried.
func (g *grid) choice(at [5]int) (c Choice, ok bool) {
	for i, n := range [5]int{shapes, len(g.counts), len(idleTimes), len(scaleFactors), len(g.uses)} {
		if at[i] < 0 || at[i] >= n {
			return c, false
		}
	}
	shape, count := at[0], g.counts[at[1]]
	work, peak := g.blocks[1], g.blocks[2]
	switch {
	case g.tried[at], shape != even && count == 0, shape > quiet && count == 1, shape == peaked && peak.To-peak.From > (work.To-work.From)*2/3:
		return c, false // tried, or the same as another
	}
	g.tried[at] = true
	c = Choice{Size: g.size, MaxUses: g.uses[at[4]], at: at, setup: g.setup, work: g.work}
	least := Policy{IdleTime: idleTimes[at[2]], Preemptive: len(g.setup.Policies) > 0 && g.setup.Policies[0].Preemptive}
	most := least
	most.IdleCount, most.ScaleFactor = count, scaleFactors[at[3]]
	middle := most
	middle.IdleCount = (count + 1) / 2
	policies := []Policy{least, most}
	switch shape {
	case even:
		policies = []Policy{most}
	case one:
		policies[0].IdleCount = 1
	case half:
		policies[0].IdleCount = middle.IdleCount
	case peaked:
		policies = []Policy{least, middle, most}
	}
	for i, policy := range policies {
		block := g.blocks[i]
		block.Policy = policy
		c.Blocks = append(c.Blocks, block)
	}
	c.setup.Policies, c.setup.Shifts, c.setup.MaxUses = policies, g.shifts[len(policies)-1], c.MaxUses
	return c, true
}

// any returns at most n choices from everywhere: the same ones every time.
func (g *grid) any(n int) (some []Choice) {
	r := rand.New(rand.NewPCG(1, uint64(len(g.tried))))        //nolint:gosec // no secret
	for tries := 10 * n; tries > 0 && len(some) < n; tries-- { // most may have been tried
		at := [5]int{r.IntN(shapes), r.IntN(len(g.counts)), r.IntN(len(idleTimes)), r.IntN(len(scaleFactors)), r.IntN(len(g.uses))}
		if c, ok := g.choice(at); ok {
			some = append(some, c)
		}
	}
	return some
}

// near returns at most n choices that differ from one of these by one step.
func (g *grid) near(best []Choice, n int) (some []Choice) {
	for _, b := range best {
		for axis := range b.at {
			for shape := range shapes {
				at := b.at
				if axis == 0 {
					at[0] = shape
				} else {
					at[axis] += 2*(shape%2) - 1
				}
				if len(some) >= n {
					return some
				}
				if c, ok := g.choice(at); ok {
					some = append(some, c)
				}
			}
		}
	}
	return some
}

func active(blocks []Block, t time.Time) int {
	for i, b := range slices.Backward(blocks) {
		if b.Days[t.Weekday()] && t.Hour() >= b.From && t.Hour() < b.To {
			return i
		}
	}
	return -1
}

// Shifts are when another policy begins to count.
func Shifts(from, to time.Time, active func(time.Time) int) []Shift {
	shifts := []Shift{{0, active(from)}}
	for t := from.Truncate(time.Minute).Add(time.Minute); t.Before(to); t = t.Add(time.Minute) {
		if n := active(t); n != shifts[len(shifts)-1].Policy {
			shifts = append(shifts, Shift{t.Sub(from).Milliseconds(), n})
		}
	}
	return shifts
}

// front keeps the choices that no other beats in cost and p95 wait, cheapest first. A fiftieth
// of the cost, a second, or a hundredth of the wait less is no better: then what changes less is.
func front(all []Choice) (best []Choice) {
	all = slices.Clone(all)
	cost := func(c Choice) float64 { return math.Round(math.Log(c.USDPerMonth) / math.Log(1.02)) }
	slices.SortStableFunc(all, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(a.P95.Round(time.Second), b.P95.Round(time.Second)),
			cmp.Compare(a.at[4], b.at[4]), cmp.Compare(len(a.Blocks), len(b.Blocks)), cmp.Compare(a.at[3], b.at[3]), cmp.Compare(a.at[2], b.at[2]))
	})
	for _, c := range all {
		if len(best) == 0 || c.P95 < best[len(best)-1].P95-max(time.Second, best[len(best)-1].P95/100) {
			best = append(best, c)
		}
	}
	return best
}

// choose takes at most five of the front.
func (a *Advice) choose() {
	var same, less *Choice
	for i := range a.Front {
		c := &a.Front[i]
		if same == nil && c.P95 <= a.Present.P95+max(time.Second, a.Present.P95/10) && c.USDPerMonth < 0.98*a.Present.USDPerMonth {
			same = c
		}
		if c.USDPerMonth <= 1.01*a.Present.USDPerMonth && c.P95 < a.Present.P95-max(time.Second, a.Present.P95/50) {
			less = c
		}
	}
	if less != nil {
		less.Why = "less wait for the same"
	}
	if same != nil {
		same.Why = "the same wait for less"
		if same == less {
			same.Why = "less wait, for less"
		}
	}
	n := len(a.Front)
	picked := map[int]bool{0: true, n - 1: true}
	for i, c := range a.Front {
		if c.Why != "" {
			picked[i] = true
		}
	}
	for len(picked) < min(5, n) { // what is farthest from those that are picked
		farthest, most := -1, -1.0
		for i, c := range a.Front {
			nearest := math.Inf(1)
			for k := range picked {
				nearest = min(nearest, a.apart(c, a.Front[k]))
			}
			if !picked[i] && nearest > most {
				farthest, most = i, nearest
			}
		}
		picked[farthest] = true
	}
	for i, c := range a.Front {
		if picked[i] {
			if c.Why != "" && (a.Best < 0 || c.Why != "less wait for the same") {
				a.Best = len(a.Choices)
			}
			a.Choices = append(a.Choices, c)
		}
	}
}

// apart is how far two choices are from each other, as parts of what the front spans.
func (a *Advice) apart(b, c Choice) float64 {
	first, last := a.Front[0], a.Front[len(a.Front)-1]
	return math.Abs(b.USDPerMonth-c.USDPerMonth)/(last.USDPerMonth-first.USDPerMonth) + math.Abs((b.P95-c.P95).Seconds())/(first.P95-last.P95).Seconds()
}

// busy returns the hours of work in the past, and the busiest of these.
func (p *Past) busy(loc *time.Location) (work, peak Block) {
	perDay, perHour := [7]float64{}, [24]float64{}
	for _, j := range p.Work.Jobs {
		perDay[p.From.Add(time.Duration(j.Arrive)*time.Millisecond).In(loc).Weekday()]++
	}
	busiest := slices.Max(perDay[:])
	for d := range perDay {
		work.Days[d] = perDay[d] > busiest/3
	}
	for _, j := range p.Work.Jobs {
		if t := p.From.Add(time.Duration(j.Arrive) * time.Millisecond).In(loc); work.Days[t.Weekday()] {
			perHour[t.Hour()]++
		}
	}
	work.From, work.To = stretch(perHour[:], 0)
	peak = work
	peak.From, peak.To = stretch(perHour[work.From:work.To], work.From)
	return work, peak
}

// stretch returns the hours, one after the other, that are most above the mean.
func stretch(n []float64, first int) (from, to int) {
	mean, best := 0.0, 0.0
	for _, x := range n {
		mean += x / float64(len(n))
	}
	for i := range n {
		sum := 0.0
		for j := i; j < len(n); j++ {
			if sum += n[j] - mean; sum > best {
				best, from, to = sum, i, j+1
			}
		}
	}
	if best == 0 { // all the same
		return first, first + len(n)
	}
	return first + from, first + to
}

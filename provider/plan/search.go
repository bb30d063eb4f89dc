package plan

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
	a := &Advice{Present: measure(s, p.Work, p.Size, nil), Best: -1}
	days, peak := p.busy(loc)
	preemptive := len(s.Policies) > 0 && s.Policies[0].Preemptive
	sizes = append([]Size{{Slug: p.Size, Speedup: 1, Price: p.Work.Price}}, sizes...)
	for _, size := range sizes {
		work := *p.Work
		work.Price, work.Jobs = size.Price, slices.Clone(work.Jobs)
		for i := range work.Jobs {
			work.Jobs[i].Takes = int64(float64(work.Jobs[i].Takes) / size.Speedup)
		}
		grid := candidates(p.Model.Most*max(1, s.Capacity), days, peak, s.MaxUses, preemptive)
		budget := tries / len(sizes)
		// Anything first, then the neighbours of the best of it.
		first := thin(grid, budget/2)
		tried, err := p.try(ctx, s, &work, size.Slug, first, loc)
		if err != nil {
			return nil, err
		}
		more := neighbours(front(tried), grid, first, budget-len(first))
		found, err := p.try(ctx, s, &work, size.Slug, more, loc)
		if err != nil {
			return nil, err
		}
		a.Front = append(a.Front, append(tried, found...)...)
		a.Tried += len(first) + len(more)
	}
	a.Front = front(a.Front)
	a.choose()
	return a, nil
}

// candidate is what is tried.
type candidate struct {
	blocks []Block
	uses   int
}

// candidates are all combinations.
func candidates(jobs int, work, peak Block, uses int, preemptive bool) (all []candidate) {
	var counts []int
	for n := 0; n <= max(1, jobs); n = max(n+1, n*5/4) {
		counts = append(counts, n)
	}
	uselist := []int{uses}
	if uses > 1 || uses == 0 { // 1 is for jobs that do not trust each other
		uselist = append(uselist, slices.DeleteFunc(slices.Clone(maxUses), func(n int) bool { return n == uses })...)
	}
	everyday := Block{Days: [7]bool{true, true, true, true, true, true, true}, To: 24}
	for _, u := range uselist {
		for _, idle := range idleTimes {
			for _, scale := range scaleFactors {
				for _, day := range counts {
					for _, night := range []int{0, 1, day} {
						if night > day || night == 1 && day == 1 {
							continue
						}
						base, busy := everyday, work
						base.Policy = Policy{IdleCount: night, IdleTime: idle, Preemptive: preemptive}
						busy.Policy = Policy{IdleCount: day, IdleTime: idle, ScaleFactor: scale, Preemptive: preemptive}
						if night == day {
							base.ScaleFactor = scale
							all = append(all, candidate{[]Block{base}, u})
							continue
						}
						all = append(all, candidate{[]Block{base, busy}, u})
						if day > 1 && peak.To-peak.From <= (work.To-work.From)*2/3 { // else it is hardly another time
							top := peak
							top.Policy = busy.Policy
							busy.IdleCount = (day + 1) / 2
							all = append(all, candidate{[]Block{base, busy, top}, u})
						}
					}
				}
			}
		}
	}
	return all
}

// thin keeps most of all: the same ones every time.
func thin(all []candidate, most int) []candidate {
	some := slices.Clone(all)
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some[:min(len(some), most)]
}

// neighbours are those of all that differ from a choice in one thing, and were not tried.
func neighbours(of []Choice, all, tried []candidate, most int) (near []candidate) {
	seen := map[string]bool{}
	for _, c := range tried {
		seen[fmt.Sprint(c)] = true
	}
	for distance := 1; distance <= 2; distance++ {
		for _, c := range all {
			if len(near) >= most {
				return near
			}
			key := fmt.Sprint(c)
			if !seen[key] && slices.ContainsFunc(of, func(o Choice) bool { return c.differs(o) <= distance }) {
				seen[key] = true
				near = append(near, c)
			}
		}
	}
	return near
}

// differs counts what is different.
func (c candidate) differs(o Choice) (n int) {
	if c.uses != o.MaxUses {
		n++
	}
	if len(c.blocks) != len(o.Blocks) {
		return n + 2
	}
	for i, b := range c.blocks {
		q := o.Blocks[i]
		if b.IdleCount != q.IdleCount {
			n++
		}
		if i == 0 && b.IdleTime != q.IdleTime {
			n++
		}
		if i == len(c.blocks)-1 && b.ScaleFactor != q.ScaleFactor {
			n++
		}
	}
	return n
}

// try replays candidates, on all processors.
func (p *Past) try(ctx context.Context, s Setup, w *Work, size string, all []candidate, loc *time.Location) ([]Choice, error) {
	choices := make([]Choice, len(all))
	shifts := map[string][]Shift{}
	for _, c := range all {
		key := hours(c.blocks)
		if shifts[key] == nil {
			shifts[key] = Shifts(p.From, p.To, func(t time.Time) int { return active(c.blocks, t.In(loc)) })
		}
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				setup := s
				setup.MaxUses, setup.Shifts, setup.Policies = all[i].uses, shifts[hours(all[i].blocks)], nil
				for _, b := range all[i].blocks {
					setup.Policies = append(setup.Policies, b.Policy)
				}
				choices[i] = measure(setup, w, size, all[i].blocks)
			}
		})
	}
	workers.Wait()
	return choices, ctx.Err()
}

func measure(s Setup, w *Work, size string, blocks []Block) Choice {
	o := Run(s, w, false)
	month := float64(w.Length) / float64(hoursPerMonth*time.Hour/time.Millisecond)
	return Choice{Size: size, Blocks: blocks, MaxUses: s.MaxUses, USDPerMonth: o.USD / month, P50: o.Wait(0.5), P95: o.Wait(0.95),
		Longest: o.Wait(1), Most: o.Most, Made: o.Made, setup: s, work: w}
}

// hours is what of blocks decides when which of them counts.
func hours(blocks []Block) (key string) {
	for _, b := range blocks {
		key += fmt.Sprint(b.Days, b.From, b.To)
	}
	return key
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

// front keeps the choices that no other beats in cost and p95 wait, cheapest first. A second
// or a hundredth less is no better.
func front(all []Choice) (best []Choice) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(a.USDPerMonth, b.USDPerMonth), cmp.Compare(a.P95, b.P95))
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
		if same == nil && c.P95 <= a.Present.P95+time.Second && c.USDPerMonth < 0.98*a.Present.USDPerMonth {
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
	picked := map[int]bool{}
	n := len(a.Front)
	for i, c := range a.Front {
		if c.Why != "" {
			picked[i] = true
		}
	}
	// The ends, and what lies most evenly between them by the logarithm of the wait.
	for k := 0; k < 5 && len(picked) < min(5, n); k++ {
		low, high := wait(a.Front[n-1]), wait(a.Front[0])
		want := low + (high-low)*float64(k)/4
		nearest := -1
		for i, c := range a.Front {
			if !picked[i] && (nearest < 0 || math.Abs(wait(c)-want) < math.Abs(wait(a.Front[nearest])-want)) {
				nearest = i
			}
		}
		picked[nearest] = true
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

func wait(c Choice) float64 { return math.Log(c.P95.Seconds() + 1) }

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

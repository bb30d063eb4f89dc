package plan

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
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

// Choice is a configuration, and what the past would have been with it. Waits are in seconds.
type Choice struct {
	Label       string  `json:"label"`
	Size        string  `json:"size"`
	USDPerMonth float64 `json:"usd_per_month"`
	P50         float64 `json:"wait_p50"`
	P95         float64 `json:"wait_p95"`
	Longest     float64 `json:"wait_longest"`
	Most        int     `json:"droplets_at_most"`
	MaxUses     int     `json:"max_use_count"`
	Why         string  `json:"why,omitempty"`    // what is good about it; "" = it lies between others
	Policy      string  `json:"policy,omitempty"` // in short
	Blocks      []Block `json:"-"`                // the last that contains a moment counts; the first contains all

	setup Setup
	work  *Work
}

// Outcome replays a choice, with the lives of its Droplets and jobs.
func (c *Choice) Outcome() Outcome { return Run(c.setup, c.work, true) }

// Advice is what a search has found.
type Advice struct {
	Tried   int      `json:"tried"`
	Present Choice   `json:"present"`
	Choices []Choice `json:"choices"`        // on the front, cheapest first, at most five
	Best    string   `json:"best,omitempty"` // its label; "" = nothing is better than the present
	Front   []Choice `json:"-"`              // all of it
}

// The values that are tried, besides idle_count.
var (
	idleTimes    = []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute}
	scaleFactors = []float64{0, 1.5}
	maxUses      = []int{5, 20, 100} // two of them
)

// Search tries some 500 policies on the past, for each size. Hours are those of loc.
func Search(ctx context.Context, p *Past, s Setup, sizes []Size, loc *time.Location) (*Advice, error) {
	present := Choice{Label: "now", Size: p.Size, MaxUses: s.MaxUses, Why: "the present policy", setup: s, work: p.Work}
	present.measure()
	var tried []Choice
	for _, size := range append([]Size{{Slug: p.Size, Speedup: 1, Price: p.Work.Price}}, sizes...) {
		tried = append(tried, p.choices(s, size, loc)...)
	}
	var replays errgroup.Group
	replays.SetLimit(runtime.GOMAXPROCS(0))
	for i := range tried {
		replays.Go(func() error {
			if ctx.Err() == nil {
				tried[i].measure()
			}
			return ctx.Err()
		})
	}
	if err := replays.Wait(); err != nil {
		return nil, err
	}
	a := &Advice{Present: present, Tried: len(tried), Front: front(tried)}
	a.choose()
	return a, nil
}

// choices are all that is tried on a size.
func (p *Past) choices(s Setup, size Size, loc *time.Location) (all []Choice) {
	work := *p.Work
	work.Price, work.Jobs = size.Price, slices.Clone(work.Jobs)
	for i := range work.Jobs {
		work.Jobs[i].Takes = int64(float64(work.Jobs[i].Takes) / size.Speedup)
	}
	always, busy := Block{Days: [7]bool{true, true, true, true, true, true, true}, To: 24}, p.workHours(loc)
	shifts := Shifts(p.From, p.To, func(t time.Time) int {
		if t = t.In(loc); busy.Days[t.Weekday()] && t.Hour() >= busy.From && t.Hour() < busy.To {
			return 1
		}
		return 0
	})
	uses := []int{s.MaxUses}
	if s.MaxUses != 1 { // 1 is for jobs that do not trust each other
		uses = append(uses, slices.DeleteFunc(slices.Clone(maxUses), func(n int) bool { return n == s.MaxUses })[:2]...)
	}
	add := func(uses int, shifts []Shift, blocks ...Block) {
		c := Choice{Size: size.Slug, MaxUses: uses, Blocks: blocks, setup: s, work: &work}
		c.setup.MaxUses, c.setup.Shifts, c.setup.Policies = uses, shifts, nil
		for _, b := range blocks {
			c.setup.Policies = append(c.setup.Policies, b.Policy)
		}
		all = append(all, c)
	}
	for _, uses := range uses {
		for _, idle := range idleTimes {
			for _, scale := range scaleFactors {
				for _, count := range p.counts() {
					day, night, half := busy, always, always
					night.Policy = Policy{IdleTime: idle, Preemptive: len(s.Policies) > 0 && s.Policies[0].Preemptive}
					half.Policy, day.Policy = night.Policy, night.Policy
					day.IdleCount, day.ScaleFactor, half.IdleCount = count, scale, (count+1)/2
					even := always
					even.Policy = day.Policy
					add(uses, nil, even)
					if count > 0 {
						add(uses, shifts, night, day)
					}
					if count > 1 {
						add(uses, shifts, half, day)
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
	window := int64(boots[len(boots)*9/10] + p.Work.Ready + 2*update + 2*tick)
	most, first := 1, 0
	for i, j := range p.Work.Jobs {
		for p.Work.Jobs[first].Arrive < j.Arrive-window {
			first++
		}
		most = max(most, i-first+1)
	}
	counts := []int{0}
	const steps = 6
	for n := range steps + 1 {
		counts = append(counts, int(math.Round(math.Pow(float64(most), float64(n)/steps))))
	}
	return slices.Compact(counts)
}

// workHours are the days with many jobs, and of these the hours with more than the mean.
func (p *Past) workHours(loc *time.Location) (work Block) {
	var perDay [7]float64
	var perHour [7][24]float64
	for _, j := range p.Work.Jobs {
		t := p.From.Add(time.Duration(j.Arrive) * time.Millisecond).In(loc)
		perDay[t.Weekday()]++
		perHour[t.Weekday()][t.Hour()]++
	}
	var hours [24]float64 // above the mean
	for day, n := range perDay {
		if work.Days[day] = n > slices.Max(perDay[:])/3; work.Days[day] {
			for hour := range hours {
				hours[hour] += perHour[day][hour] - n/24
			}
		}
	}
	best := 0.0
	work.To = 24
	for from := range hours {
		sum := 0.0
		for to := from; to < 24; to++ {
			if sum += hours[to]; sum > best {
				best, work.From, work.To = sum, from, to+1
			}
		}
	}
	return work
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

func (c *Choice) measure() {
	o := Run(c.setup, c.work, false)
	month := float64(c.work.Length) / float64(hoursPerMonth*time.Hour/time.Millisecond)
	c.USDPerMonth, c.Most = math.Round(o.USD/month*100)/100, o.Most
	c.P50, c.P95, c.Longest = o.Wait(0.5).Seconds(), o.Wait(0.95).Seconds(), o.Wait(1).Seconds()
}

// front keeps the choices that no other beats in cost and p95 wait, cheapest first. A fiftieth
// of the cost, a second, or a hundredth of the wait less is no better: then what changes less is.
func front(all []Choice) (best []Choice) {
	cost := func(c Choice) float64 { return math.Round(math.Log(c.USDPerMonth) / math.Log(1.02)) }
	slices.SortStableFunc(all, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(math.Round(a.P95), math.Round(b.P95)), cmp.Compare(len(a.Blocks), len(b.Blocks)))
	})
	for _, c := range all {
		if len(best) == 0 || c.P95 < best[len(best)-1].P95-max(1, best[len(best)-1].P95/100) {
			best = append(best, c)
		}
	}
	return best
}

// choose takes at most five of the front: its ends, what is better than the present, and what lies evenly between.
func (a *Advice) choose() {
	first, last := 0, len(a.Front)-1
	same, less := -1, -1
	for i, c := range a.Front {
		if same < 0 && c.P95 <= a.Present.P95+max(1, a.Present.P95/10) && c.USDPerMonth < 0.98*a.Present.USDPerMonth {
			same = i
		}
		if c.USDPerMonth <= 1.01*a.Present.USDPerMonth && c.P95 < a.Present.P95-max(1, a.Present.P95/50) {
			less = i
		}
	}
	picked := map[int]bool{first: true, last: true}
	for i, why := range map[int]string{less: "less wait for the same", same: "the same wait for less"} {
		if i >= 0 {
			picked[i] = true
			a.Front[i].Why = why
		}
	}
	if same >= 0 && same == less {
		a.Front[same].Why = "less wait, for less"
	}
	for part := 1; part < 4 && len(picked) < 5; part++ {
		picked[last*part/4] = true
	}
	best := same
	if same < 0 {
		best = less
	}
	for i, c := range a.Front {
		if picked[i] {
			c.Label, c.Policy = string(rune('A'+len(a.Choices))), inShort(c.Blocks)
			if c.MaxUses != a.Present.MaxUses {
				c.Policy += fmt.Sprintf(", %d uses", c.MaxUses)
			}
			if c.Size != a.Present.Size {
				c.Policy += ", " + c.Size
			}
			if i == best {
				a.Best = c.Label
			}
			a.Choices = append(a.Choices, c)
		}
	}
}

func inShort(blocks []Block) string {
	var policy strings.Builder
	for _, b := range blocks {
		fmt.Fprintf(&policy, "%d idle", b.IdleCount)
		if b.ScaleFactor > 0 {
			fmt.Fprintf(&policy, " x%g", b.ScaleFactor)
		}
		if b.From > 0 || b.To < 24 {
			fmt.Fprintf(&policy, " %d-%dh", b.From, b.To)
		}
		policy.WriteString(", ")
	}
	fmt.Fprintf(&policy, "%.0fm", blocks[0].IdleTime.Minutes())
	return policy.String()
}

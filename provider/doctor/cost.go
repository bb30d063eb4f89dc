package doctor

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Cost is what a group costs, in USD, by DigitalOcean's prices of now; without those,
// how many Droplets that is. Backups, snapshots and traffic are not in it.
type Cost struct {
	// What the policies keep ready when there are no jobs at all.
	Idle            []Idle  `json:"idle"`
	IdleSize        string  `json:"idle_size,omitempty"`
	IdleUSDPerHour  float64 `json:"idle_usd_per_hour,omitempty"`  // of one Droplet
	IdleUSDPerMonth float64 `json:"idle_usd_per_month,omitempty"` // of all

	MaxInstances    int     `json:"max_instances,omitempty"` // 0 = not known
	DearestSize     string  `json:"dearest_size,omitempty"`
	WorstUSDPerHour float64 `json:"worst_usd_per_hour,omitempty"`

	MaxHourlyCost float64 `json:"max_hourly_cost,omitempty"` // the guard; 0 = none
}

// Idle is how many hours of a week some Droplets are kept ready.
type Idle struct {
	HoursPerWeek float64 `json:"hours_per_week"`
	Droplets     int     `json:"droplets"`
}

// hoursPerMonth is an average month's.
const hoursPerMonth = 730

// idle walks through the policies.
func (s Subject) idle(most int) []Idle {
	policies := s.Runner.Autoscaler.Policy
	sched, _, err := readSchedule(policies)
	if err != nil || len(policies) == 0 {
		return []Idle{{7 * 24, 0}} // the runner's default
	}
	h := sched.walk(s.Host.Now)
	by := map[int]float64{}
	if h.none > 0 {
		by[0] = h.none
	}
	for i, p := range policies {
		n := ceil(max(0, p.IdleCount), s.capacity())
		if most > 0 {
			n = min(n, most)
		}
		if h.counts[i] > 0 {
			by[n] += h.counts[i]
		}
	}
	var out []Idle
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(by))) {
		out = append(out, Idle{math.Round(by[n]*10) / 10, n})
	}
	return out
}

// cost says what the group costs, as far as the plan has prices.
func (e *exam) cost() *Cost {
	e.check = "cost"
	most := e.most()
	c := &Cost{Idle: e.idle(most), MaxInstances: most, MaxHourlyCost: e.Config.MaxHourlyCost}
	// The first place that can be had is where idle Droplets are.
	for _, at := range e.plan.Placements {
		if size, ok := e.plan.Sizes[at.Size]; ok && !e.unfit(at.String()) {
			c.IdleSize, c.IdleUSDPerHour = size.Slug, size.PriceHourly
			break
		}
	}
	for _, i := range c.Idle {
		c.IdleUSDPerMonth += float64(i.Droplets) * i.HoursPerWeek / (7 * 24) * hoursPerMonth * c.IdleUSDPerHour
	}
	c.IdleUSDPerMonth = math.Round(c.IdleUSDPerMonth*100) / 100
	if d := e.plan.Dearest; d != nil {
		c.DearestSize, c.WorstUSDPerHour = d.Slug, math.Round(float64(most)*d.PriceHourly*1e5)/1e5
	}
	e.tell(c)
	return c
}

func (e *exam) unfit(place string) bool {
	for _, u := range e.plan.Unfit {
		if u.String() == place {
			return true
		}
	}
	return false
}

// tell makes findings of a cost.
func (e *exam) tell(c *Cost) {
	var parts []string
	for _, i := range c.Idle {
		parts = append(parts, fmt.Sprintf("%s for %g h", plural(i.Droplets, "Droplet"), i.HoursPerWeek))
	}
	week := strings.Join(parts, ", ") + " of a week"
	if c.IdleSize == "" {
		e.say(Good, "autoscaler.policy.0", "", "idle: %s", week)
	} else {
		e.say(Good, "autoscaler.policy.0", "", "idle: %.2f USD a month: %s, %s at %s USD an hour",
			c.IdleUSDPerMonth, week, c.IdleSize, usd(c.IdleUSDPerHour))
	}
	if c.MaxInstances > 0 && c.DearestSize != "" {
		e.say(Good, "autoscaler.max_instances", "", "at worst: %s USD an hour: %s of the size %s",
			usd(c.WorstUSDPerHour), plural(c.MaxInstances, "Droplet"), c.DearestSize)
	}
	if e.Config.Backups {
		e.say(Note, "autoscaler.plugin_config.backups", "backups = false", "backups cost extra, and are in none of these sums; the Droplets of a pool mostly end before the first")
	}
	const key = "autoscaler.plugin_config.max_hourly_cost"
	switch {
	case c.MaxHourlyCost > 0:
		e.say(Good, key, "", "guard: max_hourly_cost = %s USD an hour", usd(c.MaxHourlyCost))
	case c.WorstUSDPerHour > 0:
		e.say(Note, key, fmt.Sprintf("max_hourly_cost = %.2f", math.Ceil(c.WorstUSDPerHour*100)/100),
			"guard: none but max_instances; a dearer size would raise the bill without a word")
	default:
		e.say(Note, key, "", "guard: none but max_instances")
	}
}

package doctor

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Cost is what a group costs, in USD, by DigitalOcean's prices of now; without those, how many Droplets that is. Backups,
// snapshots and traffic are not in it.
type Cost struct {
	// What the policies keep ready when there are no jobs at all.
	Idle                []Idle  `json:"idle"`
	IdleSize            string  `json:"idle_size,omitempty"`
	IdleSizeUSDPerHour  float64 `json:"idle_size_usd_per_hour,omitempty"`  // of one Droplet
	IdleSizeUSDPerMonth float64 `json:"idle_size_usd_per_month,omitempty"` // DigitalOcean's price of one for a whole month
	IdleUSDPerMonth     float64 `json:"idle_usd_per_month,omitempty"`      // of all, by the hour

	MaxInstances    int     `json:"max_instances,omitempty"` // 0 = not known
	MostExpensive   string  `json:"most_expensive_size,omitempty"`
	WorstUSDPerHour float64 `json:"worst_usd_per_hour,omitempty"`

	MaxHourlyCost float64 `json:"max_hourly_cost,omitempty"` // 0 = no limit
}

// Idle is how many hours of a week some Droplets are kept ready.
type Idle struct {
	HoursPerWeek float64 `json:"hours_per_week"`
	Droplets     int     `json:"droplets"`
}

const (
	hoursPerWeek  = 7 * 24
	hoursPerMonth = 730 // an average month's
)

// idle is what the policies keep ready, the most Droplets first.
func (s Subject) idle(most int) []Idle {
	policies := s.Runner.Autoscaler.Policy
	periods, _, err := readPeriods(policies)
	if err != nil {
		return []Idle{{hoursPerWeek, 0}} // the runner's default
	}
	none, applies := walk(periods, s.Host.Now)
	hours := map[int]float64{0: none} // by number of Droplets
	for i, p := range policies {
		n := ceil(max(0, p.IdleCount), s.capacity())
		if most > 0 {
			n = min(n, most)
		}
		hours[n] += applies[i]
	}
	var out []Idle
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(hours))) {
		if hours[n] > 0 {
			out = append(out, Idle{math.Round(hours[n]*10) / 10, n})
		}
	}
	return out
}

// costs computes what the group costs, as far as the plan has prices.
func (e *exam) costs() {
	c := &Cost{Idle: e.idle(e.most()), MaxInstances: e.most(), MaxHourlyCost: e.Config.MaxHourlyCost}
	e.cost = c
	var parts []string
	droplets := 0.0 // an average
	for _, i := range c.Idle {
		parts = append(parts, fmt.Sprintf("%s for %g h", plural(i.Droplets, "Droplet"), i.HoursPerWeek))
		droplets += float64(i.Droplets) * i.HoursPerWeek / hoursPerWeek
	}
	week := strings.Join(parts, ", ") + " of a week"
	for _, at := range e.plan.Placements { // idle Droplets are in the first one that is available
		if size, ok := e.plan.Sizes[at.Size]; ok && !unfit(e.plan, at) {
			c.IdleSize, c.IdleSizeUSDPerHour, c.IdleSizeUSDPerMonth = size.Slug, size.PriceHourly, size.PriceMonthly
			c.IdleUSDPerMonth = math.Round(droplets*hoursPerMonth*size.PriceHourly*100) / 100
			week = fmt.Sprintf("%.2f USD a month: %s, %s at %s USD an hour; DigitalOcean's price of one for a whole month is %s USD",
				c.IdleUSDPerMonth, week, size.Slug, usd(size.PriceHourly), usd(size.PriceMonthly))
			break
		}
	}
	e.add(OK, "autoscaler.policy.0", "", "idle: %s", week)
	if size := e.plan.Dearest; size != nil && c.MaxInstances > 0 {
		c.MostExpensive, c.WorstUSDPerHour = size.Slug, math.Round(float64(c.MaxInstances)*size.PriceHourly*1e5)/1e5
		e.add(OK, "autoscaler.max_instances", "", "at most: %s USD an hour: %s of the size %s",
			usd(c.WorstUSDPerHour), plural(c.MaxInstances, "Droplet"), c.MostExpensive)
	}
	if e.Config.Backups {
		e.add(Note, "autoscaler.plugin_config.backups", "backups = false",
			"backups cost extra, and are in none of these sums; most Droplets of a group end before their first one")
	}
	const key = "autoscaler.plugin_config.max_hourly_cost"
	switch {
	case c.MaxHourlyCost > 0:
		e.add(OK, key, "", "limited by max_hourly_cost = %s USD an hour", usd(c.MaxHourlyCost))
	case c.WorstUSDPerHour > 0:
		e.add(Note, key, fmt.Sprintf("max_hourly_cost = %.2f", math.Ceil(c.WorstUSDPerHour*100)/100),
			"limited only by max_instances: a more expensive size would raise the bill")
	}
}

// usd writes a price as it is.
func usd(price float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.5f", price), "0"), ".")
}

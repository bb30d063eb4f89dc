package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
)

// Cost is what a group costs, in USD, by DigitalOcean's prices of now; without those, how many Droplets that is. Backups,
// snapshots and traffic are not in it.
type Cost struct {
	// What the policies keep ready when there are no jobs at all.
	IdleDroplets        float64 `json:"idle_droplets"` // on average
	IdleSize            string  `json:"idle_size,omitempty"`
	IdleSizeUSDPerHour  float64 `json:"idle_size_usd_per_hour,omitempty"`  // of one Droplet
	IdleSizeUSDPerMonth float64 `json:"idle_size_usd_per_month,omitempty"` // DigitalOcean's price of one for a whole month
	IdleUSDPerMonth     float64 `json:"idle_usd_per_month,omitempty"`      // of all, by the hour

	MaxInstances    int     `json:"max_instances,omitempty"` // 0 = not known
	MostExpensive   string  `json:"most_expensive_size,omitempty"`
	WorstUSDPerHour float64 `json:"worst_usd_per_hour,omitempty"`
}

const (
	hoursPerWeek  = 7 * 24
	hoursPerMonth = 730 // an average month's
)

// idle is how many Droplets, on average, the policies keep ready. If their periods cannot be read, the runner keeps none.
func (e *exam) idle(most int) (droplets float64) {
	for i, hours := range e.hours {
		n := (max(0, e.Runner.Autoscaler.Policy[i].IdleCount) + e.capacity() - 1) / e.capacity()
		if most > 0 {
			n = min(n, most)
		}
		droplets += float64(n) * hours / hoursPerWeek
	}
	return droplets
}

// costs computes what the group costs, as far as the plan has prices.
func (e *exam) costs() {
	most := lower(e.maxInstances(), e.plan.MaxInstances)
	droplets := e.idle(most)
	c := &Cost{IdleDroplets: round(droplets, 100), MaxInstances: most}
	e.cost = c
	idle := fmt.Sprintf("idle Droplets: %g on average", c.IdleDroplets)
	for _, at := range e.plan.Placements { // idle Droplets are in the first one that is available
		size, listed := e.plan.Sizes[at.Size]
		if !listed || slices.ContainsFunc(e.plan.Unfit, func(u catalog.Unfit) bool { return u.Placement == at }) {
			continue
		}
		c.IdleSize, c.IdleSizeUSDPerHour, c.IdleSizeUSDPerMonth = size.Slug, size.PriceHourly, size.PriceMonthly
		c.IdleUSDPerMonth = round(droplets*hoursPerMonth*size.PriceHourly, 100)
		idle += fmt.Sprintf(", %.2f USD a month: %s at %s USD an hour; DigitalOcean's price of one for a whole month is %s USD",
			c.IdleUSDPerMonth, size.Slug, usd(size.PriceHourly), usd(size.PriceMonthly))
		break
	}
	e.add(OK, "autoscaler.policy.0", "", "%s", idle)
	if size := e.plan.Dearest; size != nil && most > 0 {
		c.MostExpensive, c.WorstUSDPerHour = size.Slug, round(float64(most)*size.PriceHourly, 1e5)
		e.add(OK, "autoscaler.max_instances", "", "at most: %s USD an hour: %s of the size %s",
			usd(c.WorstUSDPerHour), plural(most, "Droplet"), c.MostExpensive)
	}
}

// round rounds to parts of one.
func round(x, parts float64) float64 { return math.Round(x*parts) / parts }

// usd writes a price as it is.
func usd(price float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.5f", price), "0"), ".")
}

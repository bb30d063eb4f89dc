package instancegroup

import (
	"math"
	"time"
)

// summaryEvery is how often the group tells what it has made, destroyed and cost.
const summaryEvery = time.Hour

// DigitalOcean bills a Droplet by the second, for 60 s or a cent at least, whichever
// is more (its prices since 2026-01-01).
const (
	leastBilled = time.Minute
	leastUSD    = 0.01
)

// bill is what a group has made, destroyed and cost since a moment. It is what the
// Droplets' prices say, from when we first knew of each until it was proved gone:
// backups, snapshots and traffic are not in it.
type bill struct {
	since       time.Time
	made, ended int
	usd         float64
}

// Cost returns what a Droplet costs, in USD, that is destroyed at that age.
func Cost(usdPerHour float64, age time.Duration) float64 {
	return max(leastUSD, usdPerHour*max(age, leastBilled).Hours())
}

// charge adds what m has cost since it was charged last. Called with mu held.
func (g *Group) charge(m *member, now time.Time) {
	price := m.droplet.PriceHourly
	usd := price * now.Sub(m.born).Hours()
	if m.phase == gone && m.run == g.Run { // of others we do not know how long they have lived
		usd = Cost(price, now.Sub(m.born))
	}
	g.bill.usd += usd - m.charged
	m.charged = usd
}

// summarize tells once an hour what the group has made, destroyed and cost in it.
// Nothing happened in an hour without Droplets, so nothing is told. Called with mu
// held.
func (g *Group) summarize(now time.Time) {
	if now.Sub(g.bill.since) < summaryEvery {
		return
	}
	for m := range g.all() {
		if m.phase != gone && m.listed {
			g.charge(m, now)
		}
	}
	b, requests := g.bill, g.list.Budget
	if n := g.living(); n+b.made+b.ended > 0 {
		g.log.Info("an hour of the group", "made", b.made, "destroyed", b.ended, "usd", math.Round(b.usd*100)/100,
			"requests", requests.Changes+requests.Settles+requests.Lists, "droplets", n, "usd_per_hour", g.hourly())
	}
	g.bill = bill{since: now}
}

package instancegroup

import (
	"context"
	"time"
)

const (
	// settleBound is how long Shutdown waits for calls that are under way. They
	// end by themselves when the runner's connection breaks.
	settleBound = 3 * time.Second

	// shutdownTries is how often Shutdown sends a DELETE that is refused.
	shutdownTries = 3
)

// Shutdown sends what is owed to DigitalOcean: deletes that were asked for and
// not yet accepted, and the removal of the run's tag. It says what stays and
// what that costs. It does not wait until Droplets are gone, and is bounded by
// ctx. Once it has begun every method that changes anything fails. clean says
// that the group has left nothing that a later start would have to find.
func (g *Group) Shutdown(ctx context.Context) (clean bool) {
	g.mu.Lock()
	again := g.closed
	g.closed = true
	if g.departing != nil {
		g.departing.Stop()
	}
	g.mu.Unlock()
	if again {
		return false
	}
	settle, cancel := context.WithTimeout(ctx, settleBound)
	defer cancel()
	for _, t := range []turn{g.increasing, g.updating, g.departs} {
		if t.lock(settle) == nil {
			defer t.unlock()
		}
	}
	g.endLife()

	for try := range shutdownTries {
		if try > 0 && pause(ctx, time.Second) != nil {
			break
		}
		g.destroy(ctx, g.owed())
		if g.unproved() > 0 {
			// Whether these names exist decides whether there is something to
			// destroy, or to warn of. A Droplet is listed within seconds.
			g.relist(ctx)
			g.destroy(ctx, g.owed())
		}
		if len(g.owed())+g.unproved() == 0 {
			break
		}
	}
	g.removeTags(ctx, true)

	g.mu.Lock()
	defer g.mu.Unlock()
	left, usd := 0, 0.0
	for m := range g.all() {
		if m.phase != gone && m.removal.accepted.IsZero() {
			left++
			usd += m.droplet.PriceHourly
		}
	}
	if left > 0 {
		g.log.Warn("Droplets stay, and are billed, until the next start takes them over", "droplets", left,
			"usd_per_hour", cents(usd), "hint", "delete_instances_on_shutdown = true makes the runner delete them when it stops")
	}
	return left == 0 && !g.littered
}

// owed returns the members whose destruction DigitalOcean has not accepted yet,
// and makes them due.
func (g *Group) owed() []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holdDeletes = time.Time{}
	var owed []*member
	for m := range g.all() {
		if m.phase == deleting && m.id != 0 && m.removal.accepted.IsZero() {
			m.removal.next = time.Time{}
			owed = append(owed, m)
		}
	}
	return owed
}

// unproved counts the names whose create was not answered clearly, and that no
// list has shown yet.
func (g *Group) unproved() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for m := range g.all() {
		if m.id == 0 && m.phase != gone {
			n++
		}
	}
	return n
}

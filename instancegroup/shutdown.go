package instancegroup

import (
	"context"
	"slices"
	"time"
)

const (
	// settleBound is how long Shutdown waits for calls that are under way. They
	// end by themselves when the runner's connection breaks.
	settleBound = 3 * time.Second

	// shutdownTries is how often Shutdown sends a DELETE that is refused.
	shutdownTries = 3

	// goneBound is how long Shutdown waits for lists to show that the Droplets are
	// gone whose DELETE was accepted, and goneEvery how often it asks. Droplets stay
	// in lists for seconds.
	goneBound, goneEvery = 10 * time.Second, 2 * time.Second

	// tagsTime is what that leaves of Shutdown's time for the run's tags.
	tagsTime = 3 * time.Second
)

// Shutdown sends what is owed to DigitalOcean: deletes that were asked for and
// not yet accepted. It looks for some seconds whether Droplets are gone, removes
// the run's tags if they all are, and says what stays and what that costs. It is
// bounded by ctx. Once it has begun every method that changes anything fails. clean
// says that the group has left nothing that a later start would have to find.
//
// Invariant: the run's tags are removed, and the run is forgotten, only when all of
// its Droplets are proved gone: an accepted DELETE is not always carried out.
// (TestShutdownWaitsForProof)
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
	g.seeGone(ctx)
	g.removeTags(ctx, true)
	g.noteTag()
	g.tellLeft()
	return len(g.Remember()) == 0
}

// Remember returns the runs, this one and earlier ones, that a later start has to know of,
// oldest first: all if anything stays; else those whose tag is on what was let go, and the
// last one while lists may lack something that it made.
func (g *Group) Remember() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	stays := g.littered || g.search.on && g.search.fails > 0
	for m := range g.all() {
		stays = stays || m.phase != gone
	}
	late := g.search.on || g.Before.lag(g.tookOver, time.Now()) > 0
	var runs []string
	for i, run := range g.DeadRuns {
		if stays || g.carried[run] || late && i == len(g.DeadRuns)-1 {
			runs = append(runs, run)
		}
	}
	if stays || g.carried[g.Run] {
		runs = append(runs, g.Run)
	}
	return runs
}

// seeGone lists until everything whose destruction was accepted is proved gone, or
// there is no more time. What lists cannot prove is looked up.
func (g *Group) seeGone(ctx context.Context) {
	bound := goneBound
	if end, ok := ctx.Deadline(); ok {
		bound = min(bound, time.Until(end)-tagsTime)
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for ctx.Err() == nil && g.dying() > 0 {
		g.relist(ctx)
		g.lookUp(ctx, g.missing())
		if g.dying() == 0 || pause(ctx, goneEvery) != nil {
			return
		}
	}
}

// dying counts the members whose destruction DigitalOcean has accepted, and that are
// not proved gone.
func (g *Group) dying() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for m := range g.all() {
		if m.phase == deleting && !m.removal.accepted.IsZero() {
			n++
		}
	}
	return n
}

// tellLeft says what stays, and what that costs.
func (g *Group) tellLeft() {
	g.mu.Lock()
	defer g.mu.Unlock()
	var kept, owed, dying remains
	for m := range g.all() {
		switch {
		case m.phase == gone:
		case m.phase != deleting:
			kept.add(m)
		case m.removal.accepted.IsZero():
			owed.add(m)
		default:
			dying.add(m)
		}
	}
	if n := len(kept.names); n > 0 {
		g.log.Warn("Droplets stay, and are billed, until the next start takes them over", "droplets", n,
			"usd_per_hour", Cents(kept.usd), "hint", "delete_instances_on_shutdown = true makes the runner delete them when it stops")
	}
	if n := len(owed.names); n > 0 {
		g.log.Warn("Droplets were to be destroyed, and DigitalOcean did not accept it: they stay, and are billed", "droplets", n,
			"names", some(owed.names), "usd_per_hour", Cents(owed.usd), "hint", "fleeting-plugin-digitalocean rm --group "+g.Name+" destroys them")
	}
	if n := len(dying.names); n > 0 {
		g.log.Warn("DigitalOcean accepted to destroy Droplets, and has not been seen to do it: they may still be billed", "droplets", n,
			"names", some(dying.names), "usd_per_hour", Cents(dying.usd), "hint", "fleeting-plugin-digitalocean ls --group "+g.Name+" shows whether they are gone")
	}
}

// remains are Droplets of one kind that stay.
type remains struct {
	names []string
	usd   float64 // an hour
}

func (r *remains) add(m *member) {
	r.names = append(r.names, m.name)
	r.usd += m.droplet.PriceHourly
	slices.Sort(r.names)
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

package instancegroup

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// settleBound is how long Shutdown waits for calls that are under way. They
	// end by themselves when the runner's connection breaks.
	settleBound = 3 * time.Second

	// goneBound is how long Shutdown sends deletes and waits for lists to show that
	// Droplets are gone, and goneEvery how often it asks. Droplets stay in lists for
	// seconds. tagTime is what that leaves of Shutdown's time for the delete tag.
	goneBound, goneEvery = 12 * time.Second, 2 * time.Second
	tagTime              = 3 * time.Second

	// shutdownTries is how often Shutdown sends a DELETE that is refused.
	shutdownTries = 3
)

// Shutdown sends what is owed to DigitalOcean: deletes that were asked for and
// not yet accepted. It looks for some seconds whether Droplets are gone, removes
// the delete tag if they all are, and says what stays and what that costs. It is
// bounded by ctx. Once it has begun every method that changes anything fails. clean
// reports whether the group has left nothing that a later start would have to find.
//
// Invariant: the delete tag is removed, and the group is clean, only when all of
// its Droplets are confirmed gone: an accepted DELETE is not always carried out.
// (TestShutdownWaitsForProof)
func (g *Group) Shutdown(ctx context.Context) (clean bool) {
	g.mu.Lock()
	again := g.closed
	g.closed = true
	g.mu.Unlock()
	if again {
		return false
	}
	settle, cancel := context.WithTimeout(ctx, settleBound)
	defer cancel()
	for _, t := range []turn{g.turns.increase, g.turns.update} {
		if t.lock(settle) == nil {
			defer t.unlock()
		}
	}
	l := g.finish(ctx)
	g.removeTag(ctx, len(l.owed.names)+len(l.deleting.names) == 0)
	g.logLeft(l)
	return len(l.stay.names)+len(l.owed.names)+len(l.deleting.names)+l.unconfirmed == 0
}

// finish goes on as Update does until everything that is to be deleted is confirmed
// gone, or there is no more time. It returns what is left.
func (g *Group) finish(ctx context.Context) remainder {
	bound := goneBound
	if end, ok := ctx.Deadline(); ok {
		bound = min(bound, time.Until(end)-tagTime)
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for try := 0; ; try++ {
		if try < shutdownTries {
			g.hurry()
		}
		l := g.left()
		if len(l.owed.names)+len(l.deleting.names)+l.unconfirmed == 0 || try > 0 && pause(ctx, goneEvery) != nil {
			return l
		}
		// Whether unconfirmed names exist decides whether there is something to
		// delete, or to warn of. Otherwise deletes come first.
		var seen sighting
		if try > 0 || l.unconfirmed > 0 {
			seen = g.list(ctx)
		}
		_ = g.reconcile(ctx, seen, nil) // what is left says more
	}
}

// hurry makes the deletes due that DigitalOcean has not accepted yet.
func (g *Group) hurry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.instances.all() {
		if d := &i.deletion; d.accepted.IsZero() && (d.refusals > 0 || d.waits) { // else it may be on its way
			d.next = time.Time{}
		}
	}
}

// removeTag takes the delete tag off the account if nothing can carry it: that of
// this process, or of one that was killed.
func (g *Group) removeTag(ctx context.Context, idle bool) {
	g.mu.Lock()
	tagged := g.deletions.tagged
	g.mu.Unlock()
	if !idle || !tagged && len(g.DeadRuns) == 0 {
		return
	}
	if err := g.cloud.RemoveTag(ctx, DeleteTag(g.Name)); err != nil && !errors.Is(err, ErrNotFound) && tagged {
		g.log.Warn("the delete tag stays on the account, on nothing that lives", "tag", DeleteTag(g.Name),
			"request_id", requestID(err), "err", err)
	}
}

// remainder is what a group leaves.
type remainder struct {
	stay, owed, deleting, kept, foreign summary
	unconfirmed                         int // names whose create was not confirmed, and that no list has shown yet
}

func (g *Group) left() remainder {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := remainder{kept: summarize(g.listing.kept), foreign: summarize(g.listing.foreign)}
	for i := range g.instances.all() {
		switch {
		case i.phase == gone:
		case i.id == 0:
			r.unconfirmed++
		case i.phase != deleting:
			r.stay.add(i.name, i.droplet)
		case i.deletion.accepted.IsZero():
			r.owed.add(i.name, i.droplet)
		default:
			r.deleting.add(i.name, i.droplet)
		}
	}
	return r
}

// logLeft says what stays, and what that costs.
func (g *Group) logLeft(r remainder) {
	warn := func(s summary, msg, hint string) {
		if len(s.names) > 0 {
			g.log.Warn(msg, append(s.fields(), "hint", hint)...)
		}
	}
	warn(r.stay, "Droplets stay, and are billed, until the next start takes them over",
		"delete_instances_on_shutdown = true makes the runner delete them when it stops")
	warn(r.owed, "Droplets were to be deleted, and DigitalOcean did not accept it: they stay, and are billed",
		"fleeting-plugin-digitalocean rm --group "+g.Name+" deletes them")
	warn(r.deleting, "DigitalOcean accepted to delete Droplets, and has not been seen to do it: they may still be billed",
		"fleeting-plugin-digitalocean ls --group "+g.Name+" shows whether they are gone")
	warn(r.kept, "Droplets are kept by a person, and billed", "delete them when nobody needs them any more")
	warn(r.foreign, "Droplets of another plugin process stay, and are billed", "fleeting-plugin-digitalocean ls --group "+g.Name+" shows them")
}

// summary is Droplets of one kind, for a line of the log.
type summary struct {
	names []string
	usd   float64 // an hour
}

func summarize(ds []Droplet) summary {
	var s summary
	for _, d := range ds {
		s.add(d.Name, d)
	}
	return s
}

func (s *summary) add(name string, d Droplet) {
	s.names = append(s.names, name)
	s.usd += d.PriceHourly
}

func (s *summary) fields() []any {
	slices.Sort(s.names)
	return []any{"droplets", len(s.names), "usd_per_hour", Cents(s.usd), "names", some(s.names)}
}

package instancegroup

import (
	"context"
	"errors"
	"slices"
	"time"
)

// assignTries is how often a Droplet's project assignment is tried before that
// is given up: it is a matter of order in the console, not of jobs.
const assignTries = 3

// assignProject moves new Droplets to the configured project, many at once.
// Failing at that is a warning.
func (g *Group) assignProject(ctx context.Context) {
	g.mu.Lock()
	var ids []int
	for id := range g.unplaced {
		// A Droplet is assigned once lists show it: before that DigitalOcean
		// may not know its URN.
		if m := g.byID[id]; m != nil && m.seen && m.phase != deleting && len(ids) < MaxAssign {
			ids = append(ids, id)
		}
	}
	g.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	err := g.cloud.AssignProject(ctx, g.Project, ids)
	g.mu.Lock()
	defer g.mu.Unlock()
	var given []int
	for _, id := range ids {
		g.unplaced[id]++
		if err == nil || g.unplaced[id] >= assignTries {
			delete(g.unplaced, id)
			given = append(given, id)
		}
	}
	switch {
	case err == nil:
		g.log.Debug("Droplets assigned to the project", "group", g.Name, "project", g.Project, "count", len(given))
	case len(given) > 0:
		g.log.Warn("Droplets stay in the default project", "group", g.Name, "project", g.Project, "ids", given,
			"request_id", requestID(err), "err", err)
	}
}

// removeTags removes the tags of dead runs that nothing carries any more, and
// at the end this run's own. Tags outlive the Droplets that carried them.
func (g *Group) removeTags(ctx context.Context, last bool) {
	g.mu.Lock()
	carried := map[string]bool{}
	for m := range g.all() {
		if m.phase != gone && (!last || m.removal.accepted.IsZero()) {
			carried[m.run] = true
		}
	}
	if last {
		g.litter[g.Run] = true
	}
	var idle []string
	for run := range g.litter {
		if !carried[run] {
			idle = append(idle, run)
			// Once is enough to try: it is a name, and costs nothing.
			delete(g.litter, run)
		}
	}
	g.mu.Unlock()
	each(idle, func(run string) {
		if err := g.cloud.DeleteTag(ctx, RunTag(run)); err != nil && !errors.Is(err, ErrNotFound) {
			g.log.Warn("the tag of an ended run stays on the account", "group", g.Name, "tag", RunTag(run),
				"request_id", requestID(err), "err", err)
		}
	})
}

// Shutdown sends what is owed to DigitalOcean: deletes that were asked for and
// not yet accepted, and the removal of the run's tag. It says what stays and
// what that costs. It does not wait until Droplets are gone. Afterwards every
// method that changes anything fails. clean says that the group has left nothing
// that a later start would have to find.
func (g *Group) Shutdown(ctx context.Context) (clean bool) {
	// A call that is under way is bounded; if ctx is shorter, go on without.
	if g.updating.lock(ctx) == nil {
		defer g.updating.unlock()
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	unsettled := false
	for m := range g.all() {
		unsettled = unsettled || m.id == 0 && m.phase != gone
	}
	g.listedAt, g.holdList = time.Time{}, time.Time{}
	g.mu.Unlock()

	// Names whose create was not answered: whether they exist decides whether
	// there is something to destroy, or to warn of.
	if unsettled {
		if err := g.refresh(ctx); err != nil {
			g.log.Warn("could not look for Droplets whose create was not answered; the next start finds them",
				"group", g.Name, "request_id", requestID(err), "err", err)
		}
	}
	g.mu.Lock()
	g.closed = true
	var owed []*member
	for m := range g.all() {
		if m.phase == deleting && m.id != 0 && m.removal.accepted.IsZero() {
			m.removal.next = time.Time{}
			owed = append(owed, m)
		}
	}
	g.mu.Unlock()
	g.destroy(ctx, owed)
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
		g.log.Warn("Droplets stay, and are billed, until the next start takes them over", "group", g.Name, "droplets", left,
			"usd_per_hour", usd, "hint", "delete_instances_on_shutdown = true makes the runner delete them when it stops")
	}
	return left == 0
}

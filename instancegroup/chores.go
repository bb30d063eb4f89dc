package instancegroup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// choreTries is how often a chore is tried before it is given up: chores are a
// matter of order in the console, not of jobs.
const choreTries = 3

// sweepAfter is how long after Start the tags of earlier runs are removed. A
// create that such a run sent last may still be carried out, and its Droplet is
// known for what it is by this tag.
const sweepAfter = 10 * time.Minute

// bulkIdle is for how long nothing was destroyed by a tag before that is removed.
const bulkIdle = time.Minute

// assignProject moves new Droplets to the configured project, many at once.
// Failing at that is a warning.
func (g *Group) assignProject(ctx context.Context) {
	g.mu.Lock()
	var ids []int
	for id := range g.unplaced {
		// A Droplet is assigned once lists show it: before that DigitalOcean
		// may not know its URN.
		if m := g.byID[id]; m != nil && m.listed && m.phase != deleting && len(ids) < MaxAssign {
			ids = append(ids, id)
		}
	}
	g.mu.Unlock()
	if len(ids) == 0 || ctx.Err() != nil {
		return
	}
	slices.Sort(ids)
	err := g.cloud.AssignProject(ctx, g.Project, ids)
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(err, ErrSpent) {
		return // not tried
	}
	first := false
	for _, id := range ids {
		g.unplaced[id]++
		first = first || g.unplaced[id] == 1
		if err == nil || g.unplaced[id] >= choreTries {
			delete(g.unplaced, id)
		}
	}
	switch {
	case err == nil:
		g.log.Debug("Droplets assigned to the project", "project", g.Project, "count", len(ids))
	case first:
		g.log.Warn("Droplets could not be assigned to the project; it is tried twice more, then they stay in the default one",
			"project", g.Project, "ids", ids, "request_id", requestID(err), "err", err)
	}
}

// removeTags removes the tags of ended runs that nothing of the group carries any more,
// nor what was let go, as far as is known; and at the end this run's own. Tags outlive the
// Droplets that carried them.
func (g *Group) removeTags(ctx context.Context, last bool) {
	if ctx.Err() != nil && !last {
		return // no time: the next Update has some
	}
	each(g.idleRuns(last), func(run string) {
		err := g.removeRun(ctx, run)
		g.mu.Lock()
		defer g.mu.Unlock()
		if errors.Is(err, ErrSpent) && !last {
			return // not tried
		}
		g.litter[run]++
		if err == nil || errors.Is(err, ErrNotFound) {
			delete(g.litter, run)
		} else if g.litter[run] >= choreTries || last {
			delete(g.litter, run)
			// A token that may not remove tags never will. After anything else
			// a later start can.
			g.littered = g.littered || !errors.Is(err, ErrForbidden)
			g.log.Warn("the tag of an ended run stays on the account", "tag", RunTag(run),
				"request_id", requestID(err), "err", err)
		}
	})
}

// retireBulkTag removes this run's BulkTag when nothing that carried it can live any
// more and nobody has needed it for a while: a tag that destroys what carries it does
// not lie about. Meanwhile nothing is destroyed by it.
func (g *Group) retireBulkTag(ctx context.Context) {
	g.mu.Lock()
	now := time.Now()
	idle := g.bulk && ctx.Err() == nil && now.Sub(g.bulkUsed) >= bulkIdle && !now.Before(g.holdBulk)
	for m := range g.all() {
		idle = idle && m.phase != deleting
	}
	if !idle {
		g.mu.Unlock()
		return
	}
	g.holdBulk = now.Add(callBound)
	g.mu.Unlock()
	err := g.cloud.DeleteTag(ctx, BulkTag(g.Run))

	g.mu.Lock()
	defer g.mu.Unlock()
	g.holdBulk = time.Time{}
	if err == nil || errors.Is(err, ErrNotFound) {
		g.bulk = false
	} else {
		g.bulkUsed = time.Now().Add(bulkOff) // Shutdown says so if it cannot either
	}
}

// removeRun removes the tags of a run. Whether an earlier one had a BulkTag nobody
// knows.
func (g *Group) removeRun(ctx context.Context, run string) error {
	g.mu.Lock()
	bulk := run != g.Run || g.bulk
	g.mu.Unlock()
	if bulk {
		if err := g.cloud.DeleteTag(ctx, BulkTag(run)); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return g.cloud.DeleteTag(ctx, RunTag(run))
}

// idleRuns returns the runs whose tag is due to be removed: of no earlier one while it is not
// known whether Droplets of theirs are there without the group's tag.
func (g *Group) idleRuns(last bool) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	idle := maps.Clone(g.litter)
	if g.search.on && g.search.fails > 0 {
		clear(idle)
	}
	if last {
		idle[g.Run] = 0
	} else if len(idle) == 0 || time.Now().Before(g.sweepAt) {
		return nil
	}
	for m := range g.all() {
		if m.phase != gone {
			delete(idle, m.run)
		}
	}
	for run := range g.carried {
		delete(idle, run)
	}
	return slices.Collect(maps.Keys(idle))
}

package instancegroup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Update lists the group when that is due, acts on what it sees, and shows every
// instance to report: first what exists, then Deleted once for what is proved to
// be gone. Between lists, and for up to staleMost while DigitalOcean fails, it
// shows the last complete list with what happened since. If it returns an error
// it has shown nothing.
//
// It is bounded by callBound and waits at least minUpdate since the last one.
//
// Invariant: an instance that Increase accepted is shown as creating (or as
// something later) before it is shown as Deleted, since only that tells the
// runner that its request was answered. (TestAcceptedIsAlwaysShown)
func (g *Group) Update(ctx context.Context, report func(id string, s State)) error {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	if err := g.updating.lock(ctx); err != nil {
		return err
	}
	defer g.updating.unlock()
	if err := pause(ctx, time.Until(g.lastUpdate.Add(minUpdate))); err != nil {
		return err
	}
	defer func() { g.lastUpdate = time.Now() }()

	if err := g.refresh(ctx); err != nil {
		return err
	}
	g.act(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // nobody listens any more; keep what was to be told
	}
	g.show(report)
	return nil
}

// refresh lists if a list is due. It returns an error if the group's state is
// not known well enough to be shown.
func (g *Group) refresh(ctx context.Context) error {
	g.mu.Lock()
	now := time.Now()
	if g.closed {
		g.mu.Unlock()
		return errClosed
	}
	if !g.listedAt.IsZero() && (now.Before(g.listedAt.Add(listInterval(g.list))) || now.Before(g.holdList)) {
		err := g.stale(now)
		g.mu.Unlock()
		return err
	}
	g.mu.Unlock()

	began := time.Now()
	listCtx, cancel := context.WithTimeout(ctx, listBound)
	defer cancel()
	l, err := g.cloud.List(listCtx, GroupTag(g.Name), g.GPUs)

	g.mu.Lock()
	defer g.mu.Unlock()
	now = time.Now()
	if err != nil {
		if g.failure == nil {
			g.failedAt = now
		}
		g.failure = fmt.Errorf("list the Droplets with the tag %s: %w", GroupTag(g.Name), err)
		g.holdList = now.Add(max(listInterval(g.list), retryAfter(err)))
		g.log.Warn("list failed", "group", g.Name, "failing_for", now.Sub(g.failedAt).Round(time.Second),
			"request_id", requestID(err), "err", err)
		return g.stale(now)
	}
	if g.failure != nil {
		g.log.Info("lists work again", "group", g.Name, "failed_for", now.Sub(g.failedAt).Round(time.Second))
	}
	g.failure, g.holdList = nil, time.Time{}
	g.list, g.listedAt = l, began
	g.merge(l, began, now)
	return nil
}

// stale returns why the last complete list may not be shown any more: lists fail
// since staleMost, or in a way that time does not heal. Called with mu held.
func (g *Group) stale(now time.Time) error {
	if g.failure == nil {
		return nil
	}
	if g.listedAt.IsZero() || now.Sub(g.listedAt) > staleMost ||
		errors.Is(g.failure, ErrUnauthorized) || errors.Is(g.failure, ErrForbidden) {
		return g.failure
	}
	return nil
}

// merge applies one complete list: first to whom each Droplet belongs, then what
// that means for each member. Called with mu held.
func (g *Group) merge(l List, began, now time.Time) {
	present := map[*member]Droplet{}
	for _, d := range l.Droplets {
		if m := g.belongs(d, now); m != nil {
			present[m] = d
		}
	}
	lim := limits{create: g.CreateTimeout}
	for m := range g.all() {
		d, ok := present[m]
		next, v, why := judge(*m, sight{present: ok, droplet: d, began: began, shifted: l.Requests > 1}, now, lim)
		if next.phase == running && m.phase != running {
			g.log.Info("Droplet is active", "group", g.Name, "name", m.name, "id", next.id,
				"after", now.Sub(m.born).Round(time.Second), "external", d.External(), "internal", d.PrivateIPv4)
		}
		*m = next
		switch v {
		case destroy:
			g.doom(m, why)
		case bury:
			g.bury(m, why)
		case look:
			m.wanted = true
		}
	}
}

// all yields members and strays.
func (g *Group) all() func(func(*member) bool) {
	return func(yield func(*member) bool) {
		for _, m := range g.members {
			if !yield(m) {
				return
			}
		}
		for _, m := range g.strays {
			if !yield(m) {
				return
			}
		}
	}
}

// belongs finds the member that a listed Droplet is, or makes one of it, or
// returns nil for a Droplet that is not ours to touch.
//
// Invariant: what is ours is decided by the id for all that this run made or
// took over, whatever became of name and tags since; by name and tags only for
// what it sees for the first time. (TestOwnership)
func (g *Group) belongs(d Droplet, now time.Time) *member {
	if g.released[d.ID] {
		return nil
	}
	if m := g.byID[d.ID]; m != nil {
		return m
	}
	if !Owns(g.Name, d) {
		g.noteForeign(d)
		return nil
	}
	run := runOf(d)
	if m := g.members[d.Name]; m != nil && m.id == 0 && (m.run == run || run == "") {
		// The answer to its create was lost; here it is.
		m.id = d.ID
		g.byID[d.ID] = m
		if g.Project != "" {
			g.unplaced[d.ID] = 0
		}
		return m
	}
	if run != g.Run && !g.deadRuns[run] && d.Created.After(g.started) {
		g.noteForeign(d)
		return nil
	}
	if m := g.members[d.Name]; m != nil {
		return g.twin(m, d, now)
	}
	if run == g.Run {
		// This run minted the name, and gave it up since.
		return g.stray(d, "it appeared after it was given up", now)
	}
	return g.takeOver(d, now)
}

// noteForeign logs once that a Droplet with the group's tag is left alone.
func (g *Group) noteForeign(d Droplet) {
	if g.noted[d.ID] {
		return
	}
	g.noted[d.ID] = true
	if !Owns(g.Name, d) {
		g.log.Warn("a Droplet carries the group's tag but not a name of the group: it is left alone, and the runner does not see it",
			"group", g.Name, "name", d.Name, "id", d.ID, "usd_per_hour", d.PriceHourly)
		return
	}
	g.log.Error("a Droplet of this group was made by another run after this one began: a second manager uses the same name. "+
		"It is left alone. Give each manager a name of its own",
		"group", g.Name, "name", d.Name, "id", d.ID, "run", g.Run, "other_run", runOf(d), "created", d.Created)
}

// takeOver makes a member of a Droplet that an earlier run left.
func (g *Group) takeOver(d Droplet, now time.Time) *member {
	if m := g.members[d.Name]; m != nil {
		return g.twin(m, d, now)
	}
	g.seq++
	age := now.Add(g.skew).Sub(d.Created)
	m := &member{name: d.Name, seq: g.seq, run: runOf(d), phase: creating, id: d.ID, droplet: d, seen: true,
		born: now.Add(-max(0, age)), proved: now}
	g.members[m.name], g.byID[m.id] = m, m
	return m
}

// twin decides between two Droplets of one name: names are not unique on an
// account. The one that was dialed stays the instance, else the lower id. The
// other is destroyed. It returns the member that d is.
func (g *Group) twin(m *member, d Droplet, now time.Time) *member {
	if m.dialed || m.id < d.ID {
		return g.stray(d, fmt.Sprintf("a second Droplet of the name %s; %d stays", m.name, m.id), now)
	}
	other := m.droplet
	other.ID, other.Name = m.id, m.name
	m.id, m.droplet = d.ID, d
	g.byID[m.id] = m
	g.stray(other, fmt.Sprintf("a second Droplet of the name %s; %d stays", m.name, m.id), now)
	return m
}

// stray takes in a Droplet of ours that the runner will not hear of, to destroy it.
func (g *Group) stray(d Droplet, why string, now time.Time) *member {
	m := &member{name: d.Name, run: runOf(d), phase: running, id: d.ID, droplet: d, seen: true, born: now, proved: now}
	g.strays[d.ID], g.byID[d.ID] = m, m
	g.doom(m, why)
	return m
}

// doom marks a member for destruction. Its DELETE is sent by act.
func (g *Group) doom(m *member, why string) {
	if m.phase == deleting {
		return
	}
	m.phase, m.reason = deleting, why
	g.log.Warn("Droplet will be destroyed", "group", g.Name, "name", m.name, "id", m.id, "reason", why,
		"age", time.Since(m.born).Round(time.Second), "usd_per_hour", m.droplet.PriceHourly)
}

// bury ends a member's life: nothing of it exists any more, or it is let go. A
// member stays known by its id until the runner has been told.
func (g *Group) bury(m *member, why string) {
	m.phase, m.reason = gone, why
	delete(g.unplaced, m.id)
	if g.strays[m.id] == m {
		delete(g.strays, m.id)
		delete(g.byID, m.id)
	}
	g.log.Info("Droplet is gone", "group", g.Name, "name", m.name, "id", m.id, "reason", why,
		"age", time.Since(m.born).Round(time.Second))
}

// act does what the state asks for: deletes that are due, look-ups, and the
// chores. Each is bounded by ctx, and none is an error of Update: what fails is
// tried again by the next one.
func (g *Group) act(ctx context.Context) {
	g.mu.Lock()
	now := time.Now()
	var dying, missing []*member
	for m := range g.all() {
		if m.due(now) {
			dying = append(dying, m)
		} else if m.wanted && m.phase != gone && m.phase != deleting {
			missing = append(missing, m)
		}
		m.wanted = false
	}
	g.mu.Unlock()

	if ctx.Err() != nil {
		return
	}
	g.destroy(ctx, dying)
	each(missing, func(m *member) { g.lookUp(ctx, m) })
	g.assignProject(ctx)
	g.removeTags(ctx, false)
}

// lookUp asks for one Droplet that should be in the lists and is not.
func (g *Group) lookUp(ctx context.Context, m *member) {
	g.mu.Lock()
	id := m.id
	g.mu.Unlock()
	d, err := g.cloud.Get(ctx, id)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.phase == gone || m.phase == deleting {
		return
	}
	switch {
	case errors.Is(err, ErrNotFound):
		g.bury(m, "DigitalOcean has no such Droplet: it was destroyed from outside, or its create failed")
	case err != nil:
		g.log.Warn("a Droplet is missing from the list, and looking it up failed; it counts as alive", "group", g.Name,
			"name", m.name, "id", m.id, "request_id", requestID(err), "err", err)
	case hasTag(d, GroupTag(g.Name)):
		// Alive, and the list lags: this is how we see it meanwhile.
		next, v, why := judge(*m, sight{present: true, droplet: d, began: now}, now, limits{create: g.CreateTimeout})
		*m = next
		if v == destroy {
			g.doom(m, why)
		}
	case !m.seen:
		m.proved = now // alive; its tags may follow
	default:
		g.released[m.id] = true
		g.log.Error("the group's tag was taken off a Droplet by hand: it is left alone from now on, AND IT IS STILL BILLED",
			"group", g.Name, "name", m.name, "id", m.id, "usd_per_hour", d.PriceHourly)
		g.bury(m, "untagged by hand")
	}
}

// show reports every instance. What is gone is reported for the last time.
func (g *Group) show(report func(id string, s State)) {
	type line struct {
		name  string
		state State
	}
	var lines []line
	g.mu.Lock()
	for _, m := range slices.SortedFunc(maps.Values(g.members), func(a, b *member) int { return cmp.Compare(a.seq, b.seq) }) {
		switch {
		case m.inFlight:
			continue
		case m.phase == gone:
			if !m.shown {
				lines = append(lines, line{m.name, Creating})
			}
			delete(g.members, m.name)
			delete(g.byID, m.id)
		}
		m.shown = true
		lines = append(lines, line{m.name, m.phase.state()})
	}
	g.mu.Unlock()
	for _, l := range lines {
		report(l.name, l.state)
	}
}

// each calls f for every item, a bounded number at once, and waits for all.
func each[T any](items []T, f func(T)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, concurrency)
	for _, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(item)
		})
	}
	wg.Wait()
}

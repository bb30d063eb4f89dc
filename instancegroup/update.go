package instancegroup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Update lists the group when that is due, acts on what it sees, and shows every
// instance to report: first what exists, then Deleted once for what is proved to
// be gone. Between lists, and for up to staleMost while DigitalOcean fails, it
// shows the last complete list with what happened since. If it returns an error
// it has shown nothing.
//
// It returns within callBound, the first one after Start within actBound, and
// begins no sooner than minUpdate after the last one ended.
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

	listed, err := g.refresh(ctx)
	if err != nil {
		return err
	}
	g.act(ctx, listed)
	g.note(0)
	g.noteRests()
	g.noteTag()
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // nobody listens any more; keep what was to be told
	}
	g.show(report)
	return nil
}

// refresh lists if a list is due. It returns an error if the group's state is
// not known well enough to be shown.
func (g *Group) refresh(ctx context.Context) (listed bool, err error) {
	if listed = g.listDue(time.Now()); listed {
		g.relist(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return listed, errClosed
	}
	return listed, g.stale(time.Now())
}

// listDue tells whether the list is to be asked for now.
func (g *Group) listDue(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.unshown {
		g.unshown = false
		return false
	}
	if g.cut && now.Sub(g.listedAt) < staleMost/2 {
		return false // act needs the time more
	}
	return g.listedAt.IsZero() || !now.Before(g.listedAt.Add(listInterval(g.list))) && !now.Before(g.holdList)
}

// relist asks for the list now, and notes what came of it.
func (g *Group) relist(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, listBound)
	defer cancel()
	g.mu.Lock()
	gpus := g.gpus
	g.mu.Unlock()
	began := time.Now()
	l, err := g.cloud.List(ctx, GroupTag(g.Name), gpus)

	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if errors.Is(ctx.Err(), context.Canceled) {
		return // nobody waits for it any more, which says nothing of DigitalOcean
	}
	if errors.Is(err, ErrSpent) && now.Sub(g.listedAt) < staleMost {
		g.holdList = now.Add(retryAfter(err)) // the last one has to do
		return
	}
	if err != nil {
		if g.failure == nil {
			g.failedAt = began
		}
		g.failure = fmt.Errorf("list the Droplets with the tag %s: %w", GroupTag(g.Name), err)
		g.holdList = now.Add(max(listInterval(g.list), retryAfter(err)))
		next := g.holdList.Sub(now).Round(time.Second)
		if times, due := g.failedLists.note(err, 1, now); due {
			what := fmt.Sprintf("the runner is shown the list of %s ago", now.Sub(g.listedAt).Round(time.Second))
			if g.stale(now) != nil {
				what = "the runner is told so, and provisions nothing"
			}
			g.log.Warn("listing fails and is tried again", "meanwhile", what, "next_in", next, "times", times,
				"failing_for", now.Sub(g.failedAt).Round(time.Second), "request_id", requestID(err), "err", err)
		}
		return
	}
	if g.failure != nil {
		g.log.Info("listing works again", "failed_for", now.Sub(g.failedAt).Round(time.Second))
	}
	g.failure, g.holdList = nil, time.Time{}
	g.noteClock(l, began)
	g.merge(l, began, now)
	if b := l.Budget; now.Sub(g.budgetTold) >= tellEvery {
		g.budgetTold = now
		g.log.Debug("requests of the last hour", "creates_destroys_tags", b.Changes, "look_ups", b.Settles, "lists", b.Lists,
			"others", b.Others, "left", b.Remaining, "of", b.Limit, "next_list_in", listInterval(l))
	}
}

// stale returns why the last complete list may not be shown any more: lists fail
// since staleMost, or in a way that time does not heal. Called with mu held.
func (g *Group) stale(now time.Time) error {
	if g.failure == nil {
		return nil
	}
	if g.listedAt.IsZero() || now.Sub(g.listedAt) > staleMost || hopeless(g.failure) {
		return g.failure
	}
	return nil
}

// hopeless tells whether err is one that time does not heal.
func hopeless(err error) bool { return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) }

// merge applies one complete list: first to whom each Droplet belongs, then what
// that means for each member. Called with mu held.
func (g *Group) merge(l List, began, now time.Time) {
	g.list, g.listedAt = l, began
	if l.TagsHidden && !g.tagsHidden {
		g.log.Warn("the token is not shown the tags of Droplets: give it the scope tag:read. Until then GPU Droplets are not found, " +
			"nor who else made a Droplet of this group")
	}
	g.tagsHidden = l.TagsHidden
	present := map[*member]Droplet{}
	for _, d := range l.Droplets {
		if m := g.belongs(d, now); m != nil {
			present[m] = d
		}
	}
	adrift := g.adrift(present, began)
	for m := range g.all() {
		d, ok := present[m]
		g.apply(m, sight{present: ok, droplet: d, began: began, shifted: l.Requests > 1, adrift: adrift && !g.sought(m)}, now)
	}
	g.summarize(now)
}

// apply lets judge decide about m, and does what can be done without asking
// DigitalOcean. Called with mu held.
func (g *Group) apply(m *member, s sight, now time.Time) {
	s.partial = s.present && m.run == g.Run && !g.addressed(s.droplet)
	next, v, why := judge(*m, s, now, g.CreateTimeout)
	if next.phase == running && m.phase != running && m.run == g.Run {
		if s.partial {
			g.log.Warn("a Droplet has not the kind of address that it was created with; the runner is told of it as it is",
				"name", m.name, "id", next.id, "public_networking", g.Template.PublicNetworking, "waited", now.Sub(next.active).Round(time.Second))
		}
		g.log.Info("Droplet is active", "name", m.name, "id", next.id,
			"after", now.Sub(m.born).Round(time.Second), "external", next.droplet.External(), "internal", next.droplet.PrivateIPv4)
	}
	*m = next
	m.wanted = v == look
	switch v {
	case destroy:
		g.doom(m, why)
	case bury:
		g.bury(m, why)
	case release:
		d := m.droplet
		d.Name = m.name
		g.letGo(d)
		m.phase, m.reason = gone, why
		delete(g.unplaced, m.id)
	}
}

// all yields members and strays. Called with mu held.
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

// doom marks a member for destruction. Its DELETE is sent by act.
func (g *Group) doom(m *member, why string) {
	if m.phase == deleting {
		return
	}
	m.phase, m.reason = deleting, why
	g.log.Warn("Droplet will be destroyed", "name", m.name, "id", m.id, "reason", why,
		"age", time.Since(m.born).Round(time.Second), "usd_per_hour", m.droplet.PriceHourly)
}

// bury ends a member's life: nothing of it exists any more. A member stays known
// by its id until the runner has been told.
func (g *Group) bury(m *member, why string) {
	wasDeleting := m.phase == deleting
	m.phase, m.reason = gone, why
	delete(g.unplaced, m.id)
	if m.run != g.Run {
		g.ended[m.id] = true // lists lag: it may be in another one
	}
	if m.listed { // what never was is not billed
		g.bill.ended++
		g.charge(m, time.Now())
	}
	if g.strays[m.id] == m {
		delete(g.strays, m.id)
		delete(g.byID, m.id)
	}
	age := time.Since(m.born).Round(time.Second)
	switch {
	case wasDeleting:
		g.log.Info("Droplet is gone", "name", m.name, "id", m.id, "reason", why, "age", age)
	case m.id == 0:
		g.log.Warn("a Droplet was never made; the runner is told that it is gone, and asks for another if it needs one",
			"name", m.name, "reason", why, "age", age)
	default:
		g.log.Warn("a Droplet vanished; the runner is told that it is gone, and asks for another if it needs one",
			"name", m.name, "id", m.id, "reason", why, "age", age)
	}
}

const (
	// listBound is how long Update may wait for a list, and actBound for all
	// that it does about it. If that was too short Update lists less often, and does
	// without a bound of act's own when it does not list: DigitalOcean may take longer than
	// actBound for an answer. (TestActsThoughAnswersAreSlow)
	listBound = 9 * time.Second
	actBound  = callBound - listBound

	// lookupEvery is how often a Droplet that lists do not show is looked up,
	// and lookupsAtOnce how many of them in one Update: a list that wrongly
	// lacks hundreds must not spend the minute's requests.
	lookupEvery   = 10 * time.Second
	lookupsAtOnce = 20

	// lookupSoon is lookupEvery where a person waits for it.
	lookupSoon = 2 * time.Second
)

// act does what the state asks for: deletes that are due, look-ups, and the
// chores. None is an error of Update: what fails, or finds no time, is tried
// again by a later one.
func (g *Group) act(ctx context.Context, listed bool) {
	g.mu.Lock()
	short := listed || !g.cut
	g.mu.Unlock()
	if short {
		bounded, cancel := context.WithTimeout(ctx, actBound)
		defer cancel()
		ctx = bounded
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.cut = errors.Is(ctx.Err(), context.DeadlineExceeded)
	}()
	g.destroy(ctx, g.due())
	if g.seekDue(time.Now()) {
		g.seek(ctx)
	}
	g.guardTag(ctx) // if it is lost, which one list more tells of all
	g.lookUp(ctx, g.missing())
	g.guardTag(ctx) // if a look-up has just shown a Droplet without it
	g.assignProject(ctx)
	g.removeTags(ctx, false)
	g.retireBulkTag(ctx)
}

// again tells whether the next Update is to do at once what this one had not enough time
// for: it has more. Once, since no time may be enough. Called with mu held.
func (g *Group) again(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) && !g.cut
}

// due returns the members whose DELETE is to be sent now.
func (g *Group) due() []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var due []*member
	for m := range g.all() {
		if m.due(now) {
			due = append(due, m)
		}
	}
	return due
}

// missing returns the members to look up now.
func (g *Group) missing() []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var missing []*member
	for m := range g.all() {
		every := lookupEvery
		if g.tagRefused && !g.tagLost.IsZero() && m.removal.accepted.IsZero() {
			every = 2 * restoreMost // for a long time, and lists by another tag show them
		}
		if g.chosen {
			every = lookupSoon
		}
		if m.wanted && m.phase != gone && now.Sub(m.checked) >= every {
			missing = append(missing, m)
		}
	}
	// Longest unchecked first, so that every one has its turn.
	slices.SortFunc(missing, func(a, b *member) int { return cmp.Or(a.checked.Compare(b.checked), cmp.Compare(a.id, b.id)) })
	return missing[:min(len(missing), lookupsAtOnce)]
}

// lookUp asks for Droplets that should be in the lists and are not.
func (g *Group) lookUp(ctx context.Context, ms []*member) {
	var failed failures
	each(ms, func(m *member) {
		if ctx.Err() != nil {
			return
		}
		g.mu.Lock()
		id, before := m.id, m.checked
		m.checked = time.Now()
		s := sight{lookup: true, began: m.checked}
		g.mu.Unlock()
		d, err := g.cloud.Get(ctx, id)
		g.mu.Lock()
		defer g.mu.Unlock()
		switch {
		case err == nil:
			// No tags at all: the token is not shown any, or nobody knows.
			s.present, s.droplet, s.untagged = true, d, len(d.Tags) > 0 && !hasTag(d, GroupTag(g.Name))
			s.adrift = g.tagInDoubt(m)
		case errors.Is(err, ErrSpent):
			return // at its next turn
		case !errors.Is(err, ErrNotFound):
			if g.again(ctx) {
				m.checked = before
			}
			failed.add(m.name, err)
			return
		}
		g.apply(m, s, time.Now())
	})
	g.tell(&g.failedLookups, failed, "Droplets are missing from the list, and looking them up failed; they count as alive")
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

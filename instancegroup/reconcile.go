package instancegroup

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Update lists the group when that is due, acts on what it sees, and shows every instance
// to report, Deleted once when it is gone. Between lists, and for up to staleMost while
// DigitalOcean fails, it shows the last complete list with what happened since. If it
// returns an error it has shown nothing; deletes go on all the same. It returns within
// callBound, and begins no sooner than minUpdate after the last one ended.
func (g *Group) Update(ctx context.Context, report func(id string, s State)) error {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	if err := g.serial.update.lock(ctx); err != nil {
		return err
	}
	defer g.serial.update.unlock()
	if err := pause(ctx, time.Until(g.serial.lastUpdate.Add(minUpdate))); err != nil {
		return err
	}
	defer func() { g.serial.lastUpdate = time.Now() }()

	return g.reconcile(ctx, g.observe(ctx, false), report)
}

// reconcile decides by a list, or by the last one if it is nil, acts, and reports.
// report is nil for Shutdown.
func (g *Group) reconcile(ctx context.Context, a *listAnswer, report func(id string, s State)) error {
	final := report == nil
	actions, err := g.collect(ctx, a, final)
	// What fails, or finds no time, is due again in a later Update.
	records := concurrently(actions, func(act func() record) record { return act() })
	if err == nil && errors.Is(ctx.Err(), context.Canceled) {
		err = ctx.Err() // nobody listens any more
	}
	var all []showing
	g.commitAndSave(final, func() {
		for _, record := range records {
			record(time.Now())
		}
		g.listing.actionsCut = errors.Is(ctx.Err(), context.DeadlineExceeded)
		switch {
		case err != nil, final:
		case g.closed:
			err = errClosed
		default:
			all = g.instances.show()
		}
	})
	for _, s := range all {
		report(s.name, s.state)
	}
	return err
}

// observe asks for a list, if one is due, or always.
//
// Invariants: one that lacks all that lists had proves nothing, not even a DELETE, before a
// list by CommonTag lacks them too: somebody may have deleted the group's tag. One that
// lacks all that live, two or more, is doubtful even then: DigitalOcean may answer wrongly.
// (TestGroupTagDeleted, TestEmptyListIsNotBelieved)
func (g *Group) observe(ctx context.Context, always bool) *listAnswer {
	ctx, cancel := context.WithTimeout(ctx, listBound)
	defer cancel()
	a := &listAnswer{began: time.Now()}
	g.mu.Lock()
	due := always || !g.closed && g.listing.due(a.began)
	tag := GroupTag(g.Name)
	if g.listing.untagged {
		tag = CommonTag
	}
	g.mu.Unlock()
	if !due {
		return nil
	}
	a.List, a.err = g.cloud.List(ctx, tag, g.GPUs)
	if a.err != nil || g.lacking(a.List, deleting) == 0 {
		return a
	}
	if tag != CommonTag {
		more, err := g.cloud.List(ctx, CommonTag, g.GPUs)
		if err != nil {
			a.doubtful = true
			return a
		}
		a.List = join(a.List, more)
	}
	a.doubtful = g.lacking(a.List, running) > 1
	return a
}

// lacking returns how many there are, in a phase up to most, that lists had and l has none
// of. It is 0 if l has one.
func (g *Group) lacking(l List, most phase) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range g.instances.all {
		if i.listed() && i.phase <= most {
			if l.has(i.ID) {
				return 0
			}
			n++
		}
	}
	return n
}

// record notes what DigitalOcean answered to an action. Called with mu held.
type record func(now time.Time)

// answer is what DigitalOcean said about a Droplet of the group.
type answer struct {
	Droplet           // as it was when it was asked about
	found     Droplet // of a look-up
	asked     time.Time
	requestID string // of a delete
	err       error
}

// lookUpsAtOnce is how many instances are looked up in one Update: a list that
// wrongly lacks hundreds must not spend the minute's requests.
const lookUpsAtOnce = 20

// collect applies a list, and collects what is to be done. The error says that the group's
// state is not known well enough to be shown.
func (g *Group) collect(ctx context.Context, a *listAnswer, final bool) (actions []func() record, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed && !final {
		return nil, errClosed
	}
	now := time.Now()
	switch {
	case a == nil:
	case a.err == nil:
		g.listed(a, now)
	case !errors.Is(ctx.Err(), context.Canceled): // which says nothing of DigitalOcean
		g.listFailed(a, now)
	}
	var removals, lookUps []*instance
	var missing []Droplet
	var unassigned []int64
	assign := g.Project != "" && !now.Before(g.instances.noAssign)
	for _, i := range g.instances.all {
		if i.removable(now) {
			removals = append(removals, i)
		} else if i.lookUpDue(now) {
			lookUps = append(lookUps, i)
		}
		// Once lists show it: before that DigitalOcean may not know its URN.
		if assign && i.own() && !i.assigned && i.listed() && i.phase < deleting && len(unassigned) < MaxAssign {
			unassigned = append(unassigned, i.ID)
		}
	}
	deletes := g.claim(removals, now)
	// Longest unchecked first, so that every one has its turn.
	slices.SortStableFunc(lookUps, func(a, b *instance) int { return a.checked.Compare(b.checked) })
	for _, i := range lookUps[:min(len(lookUps), lookUpsAtOnce)] {
		i.checked = now
		missing = append(missing, i.Droplet)
	}
	return []func() record{
		func() record { return g.send(ctx, deletes) },
		func() record { return g.lookUp(ctx, missing) },
		func() record { return g.assignProject(ctx, unassigned) },
	}, g.listing.stale(now)
}

// listed applies one complete list: first which group each Droplet belongs to, then
// what that means for each instance. Called with mu held.
func (g *Group) listed(a *listAnswer, now time.Time) {
	if g.listing.failure != nil {
		g.log.Info("listing works again", "failed_for", now.Sub(g.listing.began).Round(time.Second))
	}
	g.listing.succeeded(a)
	if slices.ContainsFunc(a.Droplets, g.mistagged) {
		g.deletions.looked = false
	}
	known, present := len(g.instances.all), map[*instance]Droplet{}
	for _, d := range a.Droplets {
		if i := g.match(d, now); i != nil {
			present[i] = d
		}
	}
	g.logTakeOver(g.instances.all[known:])
	untagged := false
	for _, i := range g.instances.all {
		d, ok := present[i]
		g.apply(i, observation{present: ok, droplet: d, asked: a.began, paged: a.Requests > 1, doubtful: a.doubtful}, now)
		untagged = untagged || i.phase != gone && i.listed() && !HasTag(i.Droplet, GroupTag(g.Name))
	}
	if untagged && !g.listing.untagged {
		g.log.Warn("Droplets of the group have lost its tag: another tag finds them, and new Droplets get the tag again", "tag", GroupTag(g.Name))
	}
	g.listing.untagged = untagged
	g.warnHourly(now)
	if b := a.Budget; g.limit.due("budget", logEvery, now) {
		g.log.Debug("requests of the last hour", "creates_deletes_tags", b.Changes, "look_ups", b.LookUps, "lists", b.Lists,
			"others", b.Others, "left", b.Remaining, "of", b.Limit, "next_list_in", g.listing.interval())
	}
}

// apply lets decide decide about i, and does what follows from it without asking
// DigitalOcean. Called with mu held.
func (g *Group) apply(i *instance, o observation, now time.Time) {
	o.partial = o.present && i.own() && !g.addressed(o.droplet)
	before := i.phase
	*i = decide(*i, o, now, g.CreateTimeout)
	if i.phase == before {
		return
	}
	neverRan := i.phase >= deleting && before < deleting && i.active.IsZero()
	if neverRan && i.own() && i.reason != keptReason { // which says something of where it was created
		g.lost(i, now)
	}
	switch {
	case i.phase == running && i.own():
		g.placements.worked(i.at, i.requested)
		if o.partial {
			g.log.Warn("a Droplet lacks the kind of address that it was created with; the runner gets it as it is",
				"name", i.Name, "id", i.ID, "public_networking", g.Template.PublicNetworking, "waited", now.Sub(i.active).Round(time.Second))
		}
		g.log.Info("Droplet is active", "name", i.Name, "id", i.ID,
			"after", now.Sub(i.requested).Round(time.Second), "external", i.External(), "internal", i.PrivateIPv4,
			"usd_per_hour", i.PriceHourly)
	case i.phase == deleting:
		g.log.Warn("Droplet will be deleted", g.fields(i, now)...)
	case i.phase == gone:
		g.isGone(i, before, now)
	}
}

// isGone notes the end of an instance. It stays known by its id until the runner
// has been told. Called with mu held.
func (g *Group) isGone(i *instance, before phase, now time.Time) {
	if !i.own() {
		g.instances.ended[i.ID] = true // lists lag: it may be in another one
	}
	fields := g.fields(i, now)
	switch {
	case i.reason == keptReason:
		g.log.Warn("a person keeps a Droplet: the runner is told that it is gone; it is billed, and counts for max_instances", fields...)
		g.listing.keep(i.Droplet)
	case before == deleting:
		g.log.Info("Droplet is gone", fields...)
	case i.ID == 0:
		g.log.Warn("a Droplet was never created: it is reported to the runner as gone", fields...)
	default:
		g.instances.vanished = now
		g.log.Warn("a Droplet vanished: it is reported to the runner as gone", fields...)
	}
}

// lookUp asks for Droplets that should be in the lists and are not. A 404 is
// doubtful while others are missing too, or have vanished a moment ago.
func (g *Group) lookUp(ctx context.Context, ds []Droplet) record {
	all := concurrently(ds, func(d Droplet) answer {
		a := answer{Droplet: d, asked: time.Now(), err: ctx.Err()}
		if a.err == nil {
			a.found, a.err = g.cloud.Get(ctx, d.ID)
		}
		return a
	})
	return func(now time.Time) {
		missing, lately := 0, now.Sub(g.instances.vanished) < vanishTimeout
		for _, i := range g.instances.all {
			if i.phase < deleting && i.unresolved {
				missing++
			}
		}
		var failed []answer
		for _, a := range all {
			i := g.instances.byID[a.ID]
			switch {
			case i == nil, errors.Is(a.err, ErrRateLimited): // at its next turn
			case a.err == nil, errors.Is(a.err, ErrNotFound):
				g.apply(i, observation{byID: true, asked: a.asked, present: a.err == nil, droplet: a.found, doubtful: missing > 1 || lately}, now)
			default:
				if unsent(a.err) || ctx.Err() != nil { // there was no time: it is due at once
					i.checked = time.Time{}
				}
				failed = append(failed, a)
			}
		}
		g.warnAll("Droplets are missing from the list, and looking them up failed; they count as alive", failed, now)
	}
}

// assignBound is how long an Update may wait for the project, and noAssignFor the pause
// after it failed: neither jobs nor the bill depend on it.
const assignBound, noAssignFor = 5 * time.Second, time.Minute

// assignProject moves new Droplets to the project. A refusal stops nothing else.
func (g *Group) assignProject(ctx context.Context, ids []int64) record {
	if len(ids) == 0 {
		return func(time.Time) {}
	}
	ctx, cancel := context.WithTimeout(ctx, assignBound)
	defer cancel()
	err := g.cloud.AssignProject(ctx, g.Project, ids)
	return func(now time.Time) {
		if err != nil && (!definite(err) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrUnsent)) {
			g.instances.noAssign = now.Add(noAssignFor) // then it is tried again
			return
		}
		for _, id := range ids {
			if i := g.instances.byID[id]; i != nil {
				i.assigned = true
			}
		}
		if err != nil {
			g.warnFailed("Droplets could not be assigned to the project; they stay in the default one", err, len(ids), now, "project", g.Project)
		}
	}
}

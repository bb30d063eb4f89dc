package instancegroup

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// Update lists the group when that is due, acts on what it sees, and shows every
// instance to report: first what exists, then Deleted once for what is confirmed
// to be gone. Between lists, and for up to staleMost while DigitalOcean fails, it
// shows the last complete list with what happened since. If it returns an error
// it has shown nothing; deletes go on all the same.
//
// It returns within callBound, and begins no sooner than minUpdate after the last
// one ended.
//
// Invariant: an instance that Increase accepted is shown as creating (or as
// something later) before it is shown as Deleted, since only that tells the
// runner that its request was answered. (TestAcceptedIsAlwaysShown)
func (g *Group) Update(ctx context.Context, report func(id string, s State)) error {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	if err := g.turns.update.lock(ctx); err != nil {
		return err
	}
	defer g.turns.update.unlock()
	if err := g.turns.pace(ctx); err != nil {
		return err
	}
	defer g.turns.updated()

	seen, err := g.observe(ctx)
	if err != nil {
		return err
	}
	return g.reconcile(ctx, seen, report)
}

// reconcile decides by what was seen, acts, and reports.
func (g *Group) reconcile(ctx context.Context, seen sighting, report func(id string, s State)) error {
	final := report == nil // Shutdown's
	todo, err := g.decide(ctx, seen, final)
	answers := g.act(ctx, todo)
	if err == nil && errors.Is(ctx.Err(), context.Canceled) {
		err = ctx.Err() // nobody listens any more
	}
	var shown []line
	g.commit(final, func() {
		for _, record := range answers {
			record(time.Now())
		}
		g.listing.starved = errors.Is(ctx.Err(), context.DeadlineExceeded)
		switch {
		case err != nil, final:
		case g.closed:
			err = errClosed
		default:
			shown = g.instances.show()
		}
	})
	for _, l := range shown {
		report(l.name, l.state)
	}
	return err
}

// sighting is what a list shows of the whole group.
type sighting struct {
	asked    bool // for a list; otherwise the last one stands
	began    time.Time
	list     List
	err      error
	unsure   bool // one such list is not enough: an entry can have slipped between its pages
	doubtful bool // it proves nothing: it lacks all that live
}

// observe lists, if that is due.
func (g *Group) observe(ctx context.Context) (sighting, error) {
	g.mu.Lock()
	now := time.Now()
	due, closed := g.listing.due(now) && !g.emptying(now), g.closed
	g.mu.Unlock()
	switch {
	case closed:
		return sighting{}, errClosed
	case !due:
		return sighting{}, nil
	}
	return g.list(ctx), nil
}

// deletionTakes is how long a Droplet stays in lists after its DELETE was accepted:
// some seconds.
const deletionTakes = 3 * time.Second

// emptying reports whether a list would only show that deletes of a moment ago take
// their time, since nothing else is there. Called with mu held.
func (g *Group) emptying(now time.Time) bool {
	recent := false
	for i := range g.instances.all() {
		if i.phase < deleting {
			return false
		}
		recent = recent || now.Sub(i.deletion.accepted) < deletionTakes
	}
	return recent
}

// list asks for a list.
//
// Invariants: one that lacks all of the group's Droplets proves nothing before a
// list by CommonTag lacks them too: somebody may have deleted the group's tag. One
// that lacks all that live, two or more, is doubtful even then: DigitalOcean may
// answer wrongly. (TestGroupTagDeleted, TestEmptyListIsNotBelieved)
func (g *Group) list(ctx context.Context) sighting {
	ctx, cancel := context.WithTimeout(ctx, listBound)
	defer cancel()
	q := g.question()
	s := sighting{asked: true, began: time.Now()}
	s.list, s.err = g.cloud.List(ctx, q.tag, q.gpus)
	s.unsure = s.list.Requests > 1
	if s.err != nil || !lacksAll(s.list, q.had) {
		return s
	}
	if q.tag != CommonTag {
		more, err := g.cloud.List(ctx, CommonTag, q.gpus)
		if err != nil {
			s.doubtful = true
			return s
		}
		s.list, s.unsure = join(s.list, more), s.unsure || more.Requests > 1
	}
	s.doubtful = len(q.living) > 1 && lacksAll(s.list, q.living)
	return s
}

// question is what to ask a list for, and what to expect in it.
type question struct {
	tag         string
	gpus        bool
	had, living map[int64]bool // Droplets that lists had, and of these those that nobody deletes
}

func (g *Group) question() question {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := question{tag: GroupTag(g.Name), gpus: g.listing.gpus, had: map[int64]bool{}, living: map[int64]bool{}}
	if g.listing.untagged {
		q.tag = CommonTag
	}
	for id, i := range g.instances.byID {
		if i.listed && i.phase != gone {
			q.had[id] = true
		}
		if i.listed && i.phase < deleting {
			q.living[id] = true
		}
	}
	return q
}

// lacksAll reports whether a list has none of the Droplets that there were.
func lacksAll(l List, ids map[int64]bool) bool {
	return len(ids) > 0 && !slices.ContainsFunc(l.Droplets, func(d Droplet) bool { return ids[d.ID] })
}

// join adds to a list what another has besides.
func join(l, more List) List {
	has := map[int64]bool{}
	for _, d := range l.Droplets {
		has[d.ID] = true
	}
	for _, d := range more.Droplets {
		if !has[d.ID] {
			l.Droplets = append(l.Droplets, d)
		}
	}
	l.Requests += more.Requests
	l.Budget = more.Budget
	return l
}

// todo are the actions of one Update.
type todo struct {
	deletes batch
	lookUps []target
	assign  []int64 // to the project
}

// target is an instance that something is to be done about, while it may change.
type target struct {
	name string
	id   int64
}

// lookUpsAtOnce is how many instances are looked up in one Update: a list that
// wrongly lacks hundreds must not spend the minute's requests.
const lookUpsAtOnce = 20

// decide applies what was seen to every instance, and collects what is to be done.
// The error says that the group's state is not known well enough to be shown.
func (g *Group) decide(ctx context.Context, s sighting, final bool) (todo, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed && !final {
		return todo{}, errClosed
	}
	now := time.Now()
	switch {
	case !s.asked:
	case s.err != nil && errors.Is(ctx.Err(), context.Canceled): // nobody waits for it: that says nothing of DigitalOcean
	case s.err != nil:
		g.listFailed(s, now)
	default:
		g.listed(s, now)
	}
	var t todo
	var deletes, lookUps []*instance
	for i := range g.instances.all() {
		switch _, a := decide(*i, observation{}, now, g.CreateTimeout); a {
		case remove:
			deletes = append(deletes, i)
		case look:
			lookUps = append(lookUps, i)
		}
	}
	t.deletes = g.claim(deletes, now)
	// Longest unchecked first, so that every one has its turn.
	slices.SortFunc(lookUps, func(a, b *instance) int { return cmp.Or(a.checked.Compare(b.checked), cmp.Compare(a.id, b.id)) })
	for _, i := range lookUps[:min(len(lookUps), lookUpsAtOnce)] {
		i.checked = now
		t.lookUps = append(t.lookUps, target{i.name, i.id})
	}
	for i := range g.instances.all() {
		// Once lists show it: before that DigitalOcean may not know its URN.
		if i.assign > 0 && i.listed && i.phase < deleting && len(t.assign) < MaxAssign {
			t.assign = append(t.assign, i.id)
		}
	}
	return t, g.listing.stale(now)
}

// listed applies one complete list. Called with mu held.
func (g *Group) listed(s sighting, now time.Time) {
	if g.listing.failure != nil {
		g.log.Info("listing works again", "failed_for", now.Sub(g.listing.failingSince).Round(time.Second))
	}
	g.listing.noteClock(s.list, s.began)
	g.merge(s, now)
	if b := s.list.Budget; g.limit.due("budget", logEvery, now) {
		g.log.Debug("requests of the last hour", "creates_deletes_tags", b.Changes, "look_ups", b.LookUps, "lists", b.Lists,
			"others", b.Others, "left", b.Remaining, "of", b.Limit, "next_list_in", g.listing.interval())
	}
}

// merge applies a list: first which group each Droplet belongs to, then what that
// means for each instance. Called with mu held.
func (g *Group) merge(s sighting, now time.Time) {
	g.listing.succeeded(s)
	present := map[*instance]Droplet{}
	for _, d := range s.list.Droplets {
		if i := g.belongs(d, now); i != nil {
			present[i] = d
		}
	}
	untagged := false
	for i := range g.instances.all() {
		d, ok := present[i]
		g.apply(i, observation{source: list, present: ok, droplet: d, asked: s.began, unsure: s.unsure, doubtful: s.doubtful}, now)
		untagged = untagged || i.phase != gone && i.id != 0 && i.listed && !HasTag(i.droplet, GroupTag(g.Name))
	}
	if untagged && !g.listing.untagged {
		g.log.Warn("Droplets of the group have lost its tag: they are found by another tag meanwhile, and new ones get the tag again", "tag", GroupTag(g.Name))
	}
	g.listing.untagged = untagged
	g.warnHourly(now)
}

// apply lets decide decide about i, and does what follows from it without asking
// DigitalOcean. Called with mu held.
func (g *Group) apply(i *instance, o observation, now time.Time) {
	o.partial = o.present && i.own && !g.addressed(o.droplet)
	before := i.phase
	*i, _ = decide(*i, o, now, g.CreateTimeout)
	if i.phase == before {
		return
	}
	switch i.phase {
	case running:
		if !i.own {
			return
		}
		g.placements.worked(i.at, i.requested)
		if o.partial {
			g.log.Warn("a Droplet has not the kind of address that it was created with; the runner is told of it as it is",
				"name", i.name, "id", i.id, "public_networking", g.Template.PublicNetworking, "waited", now.Sub(i.active).Round(time.Second))
		}
		g.log.Info("Droplet is active", "name", i.name, "id", i.id,
			"after", now.Sub(i.requested).Round(time.Second), "external", i.droplet.External(), "internal", i.droplet.PrivateIPv4)
	case deleting:
		g.logDelete(i, now)
		if i.neverRan() {
			g.lost(i, now)
		}
	case gone:
		g.isGone(i, before, now)
	}
}

// isGone notes the end of an instance. It stays known by its id until the runner
// has been told. Called with mu held.
func (g *Group) isGone(i *instance, before phase, now time.Time) {
	g.instances.unsaved = true
	if !i.own {
		g.instances.ended[i.id] = true // lists lag: it may be in another one
	}
	if i.hidden {
		g.instances.forget(i)
	}
	fields := []any{"name", i.name, "id", i.id, "reason", i.reason, "age", g.age(i, now)}
	switch {
	case i.reason == keptReason:
		g.log.Warn("a person keeps a Droplet: it is left alone, and the runner is told that it is gone; it is billed, and counts",
			append(fields, "usd_per_hour", i.droplet.PriceHourly)...)
		g.listing.kept = append(g.listing.kept, i.droplet)
	case before == deleting:
		g.log.Info("Droplet is gone", fields...)
	case i.id == 0:
		g.log.Warn("a Droplet was never made; the runner is told that it is gone, and asks for another if it needs one", fields...)
		g.lost(i, now)
	default:
		g.log.Warn("a Droplet vanished; the runner is told that it is gone, and asks for another if it needs one", fields...)
		if i.neverRan() {
			g.lost(i, now)
		}
	}
}

// age is how old a Droplet is, by DigitalOcean's clock.
func (g *Group) age(i *instance, now time.Time) time.Duration {
	age := now.Sub(i.requested)
	if created := i.droplet.Created; !created.IsZero() {
		age = now.Add(g.listing.skew).Sub(created)
	}
	return max(0, age).Round(time.Second)
}

// answer records what DigitalOcean answered to an action. Called with mu held.
type answer func(now time.Time)

// act does what decide asked for, side by side. What fails, or finds no time, is
// due again in a later Update.
func (g *Group) act(ctx context.Context, t todo) []answer {
	var actions []func() answer
	if !t.deletes.empty() {
		actions = append(actions, func() answer { return g.send(ctx, t.deletes) })
	}
	if len(t.lookUps) > 0 {
		actions = append(actions, func() answer { return g.lookUp(ctx, t.lookUps) })
	}
	if len(t.assign) > 0 {
		actions = append(actions, func() answer { return g.assignProject(ctx, t.assign) })
	}
	return each(actions, func(act func() answer) answer { return act() })
}

// lookUp asks for Droplets that should be in the lists and are not. A 404 is
// doubtful while others are missing too.
func (g *Group) lookUp(ctx context.Context, ts []target) answer {
	type lookedUp struct {
		target
		asked   time.Time
		droplet Droplet
		err     error
	}
	all := each(ts, func(t target) lookedUp {
		l := lookedUp{target: t, asked: time.Now(), err: ctx.Err()}
		if l.err == nil {
			l.droplet, l.err = g.cloud.Get(ctx, t.id)
		}
		return l
	})
	return func(now time.Time) {
		var failed failures
		missing := 0
		for i := range g.instances.all() {
			if i.phase < deleting && (i.unresolved || !i.notFound.IsZero()) {
				missing++
			}
		}
		for _, l := range all {
			i := g.instances.byID[l.id]
			switch {
			case i == nil, errors.Is(l.err, ErrRateLimited): // at its next turn
			case l.err == nil:
				g.apply(i, observation{source: lookUp, asked: l.asked, present: true, droplet: l.droplet}, now)
			case errors.Is(l.err, ErrNotFound):
				g.apply(i, observation{source: lookUp, asked: l.asked, doubtful: missing > 1}, now)
			default:
				if !isCloud(l.err) { // not sent: it is due at once
					i.checked = time.Time{}
				}
				failed.add(l.name, l.err)
			}
		}
		g.logFailed("Droplets are missing from the list, and looking them up failed; they count as alive", failed, now)
	}
}

// assignTries is how often assigning a Droplet to the project is tried.
const assignTries = 3

// assignProject moves new Droplets to the project. Failing at it stops nothing.
func (g *Group) assignProject(ctx context.Context, ids []int64) answer {
	err := g.cloud.AssignProject(ctx, g.Project, ids)
	return func(time.Time) {
		if errors.Is(err, ErrRateLimited) {
			return // not tried
		}
		first := false
		for _, id := range ids {
			if i := g.instances.byID[id]; i != nil {
				first = first || i.assign == assignTries
				i.assign--
				if err == nil {
					i.assign = 0
				}
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
}

// line is what Update shows of one instance.
type line struct {
	name  string
	state State
}

// show returns what the runner is to be shown of every instance, in the order in
// which they appeared. What is gone is shown for the last time.
func (is *instances) show() []line {
	var lines []line
	for _, i := range slices.SortedFunc(maps.Values(is.byName), func(a, b *instance) int { return cmp.Compare(a.seq, b.seq) }) {
		if i.inFlight {
			continue
		}
		if i.phase == gone {
			if !i.shown {
				lines = append(lines, line{i.name, Creating})
			}
			is.forget(i)
		}
		i.shown = true
		lines = append(lines, line{i.name, i.phase.state()})
	}
	return lines
}

package instancegroup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	// lostTogether is how many Droplets lose the group's tag together by accident:
	// one can be meant. The first list without any of those that the last one had tells.
	lostTogether = 2

	// restoreFirst is the pause before the tag is asked for or put back again after a
	// failure, and restoreMost the one after one that time hardly heals: a missing scope.
	restoreFirst, restoreMost = lookupEvery, time.Minute

	// restoreEvery is how often Droplets without the tag are looked for, until
	// restoreFor after it was lost: lists lack what was made just before that.
	restoreEvery, restoreFor = 20 * time.Second, unprovedFor + 20*time.Second
)

// adrift tells whether a list may lack its Droplets only because the group's tag was
// taken off them: it has none of those that the last one had. present is what it has.
// Called with mu held, before the list is applied.
func (g *Group) adrift(present map[*member]Droplet, began time.Time) bool {
	had, lacks := 0, 0
	for m := range g.all() {
		if m.phase < deleting && m.listed && m.missing.IsZero() && !m.lookedUp {
			had++
			if _, ok := present[m]; !ok {
				lacks++
			}
		}
	}
	all := had > 0 && lacks == had
	if all && had >= lostTogether && g.tagLost.IsZero() {
		g.tagLost = began
	}
	return all || !g.tagLost.IsZero()
}

// sought tells whether the list by another tag would have had m by its name, which
// nothing else is known of yet. Called with mu held.
func (g *Group) sought(m *member) bool {
	return m.id == 0 && g.tagSought.Sub(m.born) >= unprovedFor
}

// tagInDoubt tells whether m may lack the group's tag because all do: then that is no
// reason to let it go. Called with mu held.
func (g *Group) tagInDoubt(m *member) bool {
	return !g.tagLost.IsZero() || m.untagged.After(g.tagThere)
}

// guardTag puts the group's tag back on the Droplets of the group if it is gone from
// all of them: somebody deleted it from the account, most likely. Lists would show
// none of them any more, nor would the next process find them. A tag that is taken
// off one Droplet, while the account has it, is meant: see judge.
//
// Invariant: no Droplet is let go before the account has said, after it was first
// seen without the tag, that there is such a tag. (TestGroupTagDeleted)
func (g *Group) guardTag(ctx context.Context) {
	g.mu.Lock()
	lost, inDoubt := !g.tagLost.IsZero(), false
	for m := range g.all() {
		inDoubt = inDoubt || m.phase < deleting && m.untagged.After(g.tagThere)
	}
	due := !time.Now().Before(g.holdTag)
	g.mu.Unlock()
	if !due || ctx.Err() != nil {
		return
	}
	if !lost && inDoubt {
		lost = g.askForTag(ctx)
	}
	if lost {
		g.putTagBack(ctx)
	}
}

// askForTag tells whether the group's tag is gone from the account.
func (g *Group) askForTag(ctx context.Context) (lost bool) {
	began := time.Now()
	there, err := g.cloud.HasTag(ctx, GroupTag(g.Name))
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil && (!there || g.tagMadeAgain()):
		g.tagLost = began
		return true
	case err == nil, errors.Is(err, ErrForbidden), errors.Is(err, ErrInvalid): // or it will never be told
		g.tagThere = began
	default:
		g.restoreFailed(err)
		if g.again(ctx) {
			g.holdTag = time.Time{}
		}
	}
	return false
}

// tagMadeAgain tells whether the account may have the group's tag only because of a
// create of ours, which makes the tags that it names: then that it is there says nothing
// of who took it off those that lack it. It does not tell so twice of one Droplet, nor
// where another kept the tag all the time. Called with mu held.
//
// Invariant: a create that is under way may have made it just now.
// (TestGroupTagMadeByACreateUnderWay)
func (g *Group) tagMadeAgain() bool {
	made := g.tagMade
	for m := range g.all() {
		if m.inFlight {
			made = time.Now()
		}
	}
	for m := range g.all() {
		if m.phase < deleting && m.untagged.After(g.tagThere) && !m.retagged && made.After(m.tagSeen) && !g.keptTag(m.tagSeen) {
			return true
		}
	}
	return false
}

// keptTag tells whether a Droplet had the tag then and has been seen with it since.
// Called with mu held.
func (g *Group) keptTag(then time.Time) bool {
	for w := range g.all() {
		if w.tagSeen.After(then) && !w.listedSince.After(then) {
			return true
		}
	}
	return false
}

// putTagBack puts the group's tag on those of its Droplets that lack it: on what a
// look-up has shown without it, and on what a list by CommonTag does, which all groups'
// Droplets carry; by their ids, and by the names whose create was not answered clearly.
// If it has found some it looks for more later.
func (g *Group) putTagBack(ctx context.Context) {
	g.noteTag()
	g.mu.Lock()
	gpus := g.gpus
	g.mu.Unlock()
	began := time.Now()
	l, err := g.cloud.List(ctx, CommonTag, gpus)
	var bare []int
	if err == nil {
		bare = g.withoutTag(l, began)
		for ids := range slices.Chunk(bare, MaxTagged) {
			if err = g.cloud.TagDroplets(ctx, GroupTag(g.Name), ids); err != nil {
				break
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.restoreFailed(err)
		if g.again(ctx) {
			g.holdTag = time.Time{}
		}
		return
	}
	g.tagRefused = false
	g.tagRestored = g.tagRestored || len(bare) > 0
	if g.holdTag = began.Add(restoreEvery); !g.tagRestored || began.Sub(g.tagLost) >= restoreFor {
		// What is missing is looked up now, and asked about after a pause: no list may ever have it.
		g.tagLost, g.holdTag, g.tagRestored = time.Time{}, began.Add(restoreFirst), false
	}
	var names []string
	for _, id := range bare {
		if m := g.byID[id]; m != nil {
			m.untagged, m.retagged = time.Time{}, true
			names = append(names, m.name)
		}
	}
	if len(names) > 0 {
		g.log.Warn("somebody deleted the group's tag, or took it off all Droplets at once: it was put back on them",
			"tag", GroupTag(g.Name), "droplets", len(names), "names", some(names))
	}
}

// withoutTag applies a list by CommonTag, as look-ups of what it has, and returns the
// ids of the group's Droplets that lack the group's tag, there or in an earlier look-up.
func (g *Group) withoutTag(l List, began time.Time) (ids []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tagSought = began
	now := time.Now()
	for _, d := range l.Droplets {
		m := g.byID[d.ID]
		if m == nil && strings.EqualFold(RunOf(d), g.Run) {
			if named := g.members[d.Name]; named != nil && named.id == 0 {
				g.identify(named, d.ID)
				m = named
			}
		}
		if m == nil || m.phase == gone {
			continue
		}
		s := sight{present: true, droplet: d, lookup: true, adrift: true, began: began}
		s.untagged = !l.TagsHidden && !hasTag(d, GroupTag(g.Name))
		if s.untagged || l.TagsHidden && !m.missing.IsZero() {
			ids = append(ids, d.ID)
		}
		m.checked = began
		g.apply(m, s, now)
	}
	for m := range g.all() {
		if m.id != 0 && m.phase < deleting && !m.untagged.IsZero() && !slices.Contains(ids, m.id) {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// restoreFailed lets the tag rest after a failure. Called with mu held.
func (g *Group) restoreFailed(err error) {
	now := time.Now()
	pause := restoreFirst
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrInvalid) {
		pause, g.tagRefused = restoreMost, true
	}
	g.holdTag = now.Add(max(pause, retryAfter(err)))
	if errors.Is(err, ErrSpent) {
		g.holdTag = now.Add(retryAfter(err)) // not sent
		return
	}
	if times, due := g.failedTag.note(err, 1, now); due {
		g.log.Error("the group's tag seems to be gone from its Droplets, and could not be put back; it is tried again, and they count as alive",
			"tag", GroupTag(g.Name), "next_in", g.holdTag.Sub(now).Round(time.Second), "times", times, "request_id", requestID(err), "err", err)
	}
}

package instancegroup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// seekBound is how long Start looks for Droplets without the group's tag. It can do
// without: Update looks again.
const seekBound = 5 * time.Second

// search is the state of seek.
type search struct {
	on    bool              // there is something to look for
	hold  time.Time         // not before then
	fails int               // in a row
	since map[int]time.Time // when those were first seen that lack the tag while the account has it
	lost  bool              // the tag was deleted
	there bool              // it was not: the account had it before this run created anything
	told  map[int]bool      // what is left alone, once it was said
}

// seek looks, after Start, for what earlier runs made and what no list of the group has
// since somebody deleted its tag from the account while no process looked, or while one
// that put it back was killed. That is taken over, and guardTag puts the tag back on it.
// While the account has the tag somebody took it off those Droplets, and means it: they
// are let go, once two looks have shown it.
//
// Invariant: only what a run made that is known to have ended is taken over so, and
// nothing that was let go before. (TestGroupTagDeletedWhileNobodyLooked, TestAdriftLeftAlone)
func (g *Group) seek(ctx context.Context) {
	began := time.Now()
	l, err := g.firstList(ctx, CommonTag)
	adrift, known, asks := g.adriftIn(l, began)
	there, never := false, false
	if err == nil && !known && asks {
		there, err = g.cloud.HasTag(ctx, GroupTag(g.Name))
		if errors.Is(err, ErrForbidden) || errors.Is(err, ErrInvalid) { // it will not be told
			there, known, never, err = true, true, true, nil
		}
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.seekFailed(ctx, err)
		return
	}
	g.search.fails = 0
	switch {
	case known || !asks:
	case there && !g.madeTag():
		g.search.there = true
	case !there:
		g.search.lost = true
	}
	pending := map[int]time.Time{}
	for _, d := range adrift {
		first, again := g.search.since[d.ID]
		switch {
		case g.byID[d.ID] != nil: // it was taken over meanwhile
			continue
		case g.search.lost:
			g.takeIn(d, began)
			if g.tagLost.IsZero() {
				g.tagLost, g.holdTag = began, time.Time{}
			}
			continue
		case !again:
			pending[d.ID] = began
		case began.Sub(first) < untaggedTwice:
			pending[d.ID] = first
		case g.search.there:
			g.letGo(d)
		default:
			g.tellAdrift(d)
			if !never { // the account has the tag by now, which the next run would take for an answer
				g.letGoNew, g.kept[d.ID] = true, true
			}
		}
		g.carried[RunOf(d)] = true
	}
	g.search.since, g.search.on, g.search.hold = pending, len(pending) > 0, began.Add(untaggedTwice)
	if lag := g.Before.lag(g.tookOver, began); lag > 0 {
		g.search.on, g.search.hold = true, began.Add(min(lag, restoreEvery))
	}
}

// seekBeforeCreate looks again if Start could not: after a create the account has the
// group's tag, and tells nothing of those that lack it.
func (g *Group) seekBeforeCreate(ctx context.Context) {
	g.mu.Lock()
	again := g.search.on && g.search.fails == 1
	g.mu.Unlock()
	if again {
		ctx, cancel := context.WithTimeout(ctx, seekBound)
		defer cancel()
		g.seek(ctx)
		g.noteTag()
	}
}

// seekDue tells whether seek is to look now.
func (g *Group) seekDue(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.search.on && !now.Before(g.search.hold)
}

// adriftIn returns what of l may be taken over, whether it is known what became of the
// group's tag, and whether that matters: it does if more may come.
func (g *Group) adriftIn(l List, now time.Time) (adrift []Droplet, known, matters bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range l.Droplets {
		switch {
		case AdriftFrom(d) != g.Name || !g.deadRuns[RunOf(d)] || g.byID[d.ID] != nil || g.ended[d.ID]:
		case g.kept[d.ID]:
			g.carried[RunOf(d)] = true
			g.sayLetGo(d)
		default:
			adrift = append(adrift, d)
		}
	}
	return adrift, g.search.lost || g.search.there, len(adrift) > 0 || g.Before.lag(g.tookOver, now) > 0
}

// madeTag tells whether the account may have the group's tag only because of a create of
// this run. Called with mu held.
func (g *Group) madeTag() bool {
	for m := range g.all() {
		if m.inFlight {
			return true
		}
	}
	return !g.tagMade.IsZero()
}

// seekFailed lets the search rest. Called with mu held.
func (g *Group) seekFailed(ctx context.Context, err error) {
	now := time.Now()
	g.search.fails++
	g.search.hold = now.Add(max(backoff(restoreFirst, restoreMost, g.search.fails), retryAfter(err)))
	if g.again(ctx) {
		g.search.hold = time.Time{}
	}
	if times, due := g.failedSeek.note(err, 1, now); due && !errors.Is(err, ErrSpent) {
		g.log.Warn("what earlier runs made and what lost the group's tag could not be looked for; it is tried again",
			"tag", GroupTag(g.Name), "next_in", max(0, g.search.hold.Sub(now)).Round(time.Second), "times", times, "request_id", requestID(err), "err", err)
	}
}

// tellAdrift says once of a Droplet that nobody can tell whether it is to be let go.
// Called with mu held.
func (g *Group) tellAdrift(d Droplet) {
	if !g.search.told[d.ID] {
		g.search.told[d.ID] = true
		g.log.Error("a Droplet of an earlier run lacks the group's tag, and nobody can tell whether that is meant: it is left alone, AND IT IS STILL BILLED",
			"name", d.Name, "id", d.ID, "usd_per_hour", d.PriceHourly, "hint", "fleeting-plugin-digitalocean rm --group "+g.Name+" "+d.Name+" destroys it")
	}
}

// letGo leaves d to whoever took the group's tag off it. Called with mu held.
func (g *Group) letGo(d Droplet) {
	g.released[d.ID], g.kept[d.ID], g.letGoNew = true, true, true
	if run := RunOf(d); run != "" {
		g.carried[run] = true
	}
	g.sayLetGo(d)
}

// sayLetGo says once, and once after each start, that d is nobody's. Called with mu held.
func (g *Group) sayLetGo(d Droplet) {
	if !g.search.told[d.ID] {
		g.search.told[d.ID] = true
		g.log.Error("the group's tag was taken off a Droplet by hand: it is left alone from now on, AND IT IS STILL BILLED",
			"name", d.Name, "id", d.ID, "usd_per_hour", d.PriceHourly)
	}
}

// noteTag notes beside the process what the next one has to know should this one be
// killed: what was let go, and that the group's tag is being put back.
//
// Invariant: before the tag is put back on the first Droplet it is noted that it was
// gone: after that the account has it again, and those that still lack it look as if that
// was meant. (TestKilledWhileTagIsPutBack)
func (g *Group) noteTag() {
	g.noting.Lock()
	defer g.noting.Unlock()
	g.mu.Lock()
	letGo, ids := g.letGoNew, slices.Sorted(maps.Keys(g.kept)) // ids grow: the latest are last
	lost := !g.tagLost.IsZero() || g.search.lost && g.search.on
	turned := lost != g.lostNoted
	g.letGoNew, g.lostNoted = false, lost
	g.mu.Unlock()
	if letGo && g.NoteLetGo != nil {
		g.NoteLetGo(ids)
	}
	if turned && g.NoteTagLost != nil {
		g.NoteTagLost(lost)
	}
}

package instancegroup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// seekBound is how long Start asks for Droplets without the group's tag. It can do
// without: Update asks again.
const seekBound = 5 * time.Second

// AdriftFrom returns the group that made d, by its name and by the other tags of a
// create, if no group's tag is on d: somebody took it off, or deleted it from the
// account. No list of the group has d then. It returns "" of any other Droplet.
//
// The tag of its run is mostly gone too once it was let go and that run has ended: then a
// digit in the name has to do, which tells it from a word.
func AdriftFrom(d Droplet) (group string) {
	i := len(d.Name) - len("-") - suffixLen
	if d.TagsHidden || i <= 0 || d.Name[i] != '-' || !IsSuffix(d.Name[i+1:]) || !hasTag(d, CommonTag) || slices.ContainsFunc(d.Tags, isGroupTag) {
		return ""
	}
	if run := RunOf(d); !IsSuffix(run) && (run != "" || !hasDigit(d.Name[i+1:])) {
		return ""
	}
	return d.Name[:i]
}

func isGroupTag(tag string) bool {
	return len(tag) > len(groupTagPrefix) && strings.EqualFold(tag[:len(groupTagPrefix)], groupTagPrefix)
}

// seek takes over what earlier runs made if somebody has deleted the group's tag from
// the account while no process looked: then Start's list has none of it. guardTag puts
// the tag back on it. While the account has the tag, whoever took it off Droplets meant
// these.
//
// Invariant: only what a run made that is known to have ended is taken over so, and
// nothing that was let go before. (TestGroupTagDeletedWhileNobodyLooked)
func (g *Group) seek(ctx context.Context) {
	began := time.Now()
	there, err := g.cloud.HasTag(ctx, GroupTag(g.Name))
	var l List
	if err == nil && !there {
		l, err = g.firstList(ctx, CommonTag)
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrInvalid) { // these it will always be told
		g.seeks++
		g.holdTag = time.Now().Add(max(backoff(restoreFirst, restoreMost, g.seeks), retryAfter(err)))
		if times, due := g.failedTag.note(err, 1, time.Now()); due && !errors.Is(err, ErrSpent) {
			g.log.Warn("the group has no Droplet, and whether that is because somebody deleted its tag could not be asked; it is asked again",
				"tag", GroupTag(g.Name), "times", times, "request_id", requestID(err), "err", err)
		}
		return
	}
	g.seeking = false
	for _, d := range l.Droplets {
		if AdriftFrom(d) == g.Name && g.deadRuns[RunOf(d)] && !slices.Contains(g.LetGo, d.ID) && g.byID[d.ID] == nil {
			g.takeIn(d, began)
			g.tagLost, g.holdTag = began, time.Time{}
		}
	}
}

// letGo is the verdict release: m lives on, and is nobody's any more. Called with mu held.
func (g *Group) letGo(m *member) {
	g.released[m.id], g.releasedNew = true, true
	g.log.Error("the group's tag was taken off a Droplet by hand: it is left alone from now on, AND IT IS STILL BILLED",
		"name", m.name, "id", m.id, "usd_per_hour", m.droplet.PriceHourly)
	m.phase = gone
	delete(g.unplaced, m.id)
}

// noteLetGo tells NoteLetGo what was let go, if that has changed.
func (g *Group) noteLetGo() {
	if g.NoteLetGo == nil {
		return
	}
	g.noting.Lock()
	defer g.noting.Unlock()
	g.mu.Lock()
	changed := g.releasedNew
	g.releasedNew = false
	ids := slices.Clone(g.LetGo)
	for id := range g.released {
		ids = append(ids, id)
	}
	g.mu.Unlock()
	if changed {
		slices.Sort(ids) // Droplets' ids grow: the latest are last
		g.NoteLetGo(slices.Compact(ids))
	}
}

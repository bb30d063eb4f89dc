package instancegroup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// bulkFrom is how many Droplets are destroyed by one tag rather than each by a
	// request of its own. Fewer go by id: that takes a single round trip too, since
	// so many are sent at once. When requests are scarce the tag's two are worth
	// it sooner.
	bulkFrom, bulkFromScarce = concurrency + 1, 3

	// gatherDeletesFor is how long deletes wait for others when requests are
	// scarce: Droplets are billed by the second, so that costs next to nothing.
	gatherDeletesFor = 15 * time.Second

	// bulkBound leaves Decrease the time to send by id what could not be
	// destroyed by tag.
	bulkBound = 5 * time.Second

	// bulkRest is how long no tag is tried after an unclear failure, and bulkOff
	// after a definite one: a token that lacks the scope mostly stays so.
	bulkRest, bulkOff = time.Minute, time.Hour
)

// destroyMany destroys those of ms that are due by a tag of this run that is put
// on nothing else: a request to tag each 100 of them, and one to destroy what
// carries the tag. It returns what may have to go by id: few Droplets, those for
// which DigitalOcean had accepted that and not done it, and all if this fails.
//
// Invariant: the tag is put only on what destroy would destroy. (TestBulk)
func (g *Group) destroyMany(ctx context.Context, ms []*member) []*member {
	claimed, ids, first := g.claimMany(ctx, ms)
	if len(claimed) == 0 {
		return ms
	}
	ctx, cancel := context.WithTimeout(ctx, bulkBound)
	defer cancel()
	tag := BulkTag(g.Run)
	var mu sync.Mutex // guards tagged and err
	tagged := map[int]bool{}
	var err error
	send := func(ids []int) {
		terr := g.cloud.TagDroplets(ctx, tag, ids)
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			tagged[id] = terr == nil
		}
		if terr != nil {
			err = terr
		}
	}
	chunks := slices.Collect(slices.Chunk(ids, MaxTagged))
	if first {
		send(chunks[0]) // it makes the tag, for all
		chunks = chunks[1:]
	}
	each(chunks, send)
	var request string
	if slices.Contains(slices.Collect(maps.Values(tagged)), true) {
		var derr error
		if request, derr = g.cloud.DeleteTagged(ctx, tag); derr != nil {
			clear(tagged)
			err = derr
		}
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for i, m := range claimed {
		if tagged[ids[i]] {
			g.accepted(m, request, now)
		} else {
			m.removal.next = now // by id
		}
	}
	if err == nil {
		return ms
	}
	switch {
	case errors.Is(err, ErrThrottled), errors.Is(err, ErrSpent):
		g.holdDeletes = now.Add(max(refusedFirst, retryAfter(err)))
		for i, m := range claimed {
			m.removal.waits = !tagged[ids[i]] && errors.Is(err, ErrSpent)
		}
	case definite(err):
		g.holdBulk = now.Add(bulkOff)
	default:
		g.holdBulk = now.Add(bulkRest)
	}
	if times, due := g.refusedBulk.note(err, 1, now); due {
		g.log.Warn("many Droplets could not be destroyed by one tag; each is destroyed by its id", "tag", tag,
			"droplets", len(claimed), "times", times, "request_id", requestID(err), "err", err)
	}
	return ms
}

// claimMany picks what is to be destroyed together, and keeps others from
// destroying it meanwhile. first says that this run has not tagged anything yet.
func (g *Group) claimMany(ctx context.Context, ms []*member) (claimed []*member, ids []int, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Before(g.holdBulk) || now.Before(g.holdDeletes) || ctx.Err() != nil {
		return nil, nil, false
	}
	for _, m := range ms {
		if g.byID[m.id] == m && m.due(now) && m.removal.accepts == 0 {
			claimed, ids = append(claimed, m), append(ids, m.id)
		}
	}
	from := bulkFrom
	if g.list.Budget.scarce() {
		from = bulkFromScarce
	}
	if len(claimed) < from {
		return nil, nil, false
	}
	for _, m := range claimed {
		m.removal.next = now.Add(callBound)
	}
	first = !g.bulk
	g.bulk, g.bulkUsed = true, now
	return claimed, ids, first
}

// gatherDeletes returns which of ms are to be destroyed now. If requests are
// scarce, those that nobody has tried to destroy yet wait for others, so that they
// leave by one tag; the one that makes them as many as one request takes is not
// waited for any longer. Called with mu held.
func (g *Group) gatherDeletes(ms []*member, now time.Time) []*member {
	if !g.list.Budget.scarce() || now.Before(g.holdBulk) || now.Before(g.holdDeletes) {
		return ms
	}
	if !now.Before(g.departure) {
		g.departure = now.Add(gatherDeletesFor)
		g.departing = time.AfterFunc(gatherDeletesFor, g.depart)
	}
	for _, m := range ms {
		if m.removal == (removal{}) && m.id != 0 {
			m.removal.next, m.removal.waits = g.departure, true
		}
	}
	waiting := g.waiting()
	if len(waiting) < MaxTagged {
		return ms // of which those are not due
	}
	g.departing.Stop()
	g.departure = now
	for _, m := range waiting {
		m.removal.next = now
	}
	return append(waiting, slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return m.removal.waits })...)
}

// waiting returns the members whose DELETE is not sent yet, for others or for the
// token's sake. Called with mu held.
func (g *Group) waiting() []*member {
	var ms []*member
	for _, m := range g.members {
		if m.removal.waits {
			ms = append(ms, m)
		}
	}
	return ms
}

// depart destroys what has gathered. departing calls it, in a goroutine that
// Shutdown waits for.
func (g *Group) depart() {
	ctx, cancel := context.WithTimeout(g.life, callBound)
	defer cancel()
	if g.departs.lock(ctx) != nil {
		return // the next Update does it
	}
	defer g.departs.unlock()
	g.mu.Lock()
	waiting, closed := g.waiting(), g.closed
	g.mu.Unlock()
	if !closed { // Shutdown sends them itself
		g.destroy(ctx, waiting)
	}
}

package instancegroup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// bulkFrom is how many Droplets are destroyed by one tag rather than each by a
// request of its own. Fewer go by id: that takes a single round trip too, since
// so many are sent at once.
const bulkFrom = concurrency + 1

const (
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
	claimed, ids := g.claimMany(ctx, ms)
	if len(claimed) == 0 {
		return ms
	}
	ctx, cancel := context.WithTimeout(ctx, bulkBound)
	defer cancel()
	tag := BulkTag(g.Run)
	var mu sync.Mutex // guards tagged and err
	tagged := map[int]bool{}
	var err error
	each(slices.Collect(slices.Chunk(ids, MaxTagged)), func(ids []int) {
		terr := g.cloud.TagDroplets(ctx, tag, ids)
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			tagged[id] = terr == nil
		}
		if terr != nil {
			err = terr
		}
	})
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
// destroying it meanwhile.
func (g *Group) claimMany(ctx context.Context, ms []*member) (claimed []*member, ids []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Before(g.holdBulk) || now.Before(g.holdDeletes) || ctx.Err() != nil {
		return nil, nil
	}
	for _, m := range ms {
		if g.byID[m.id] == m && m.due(now) && m.removal.accepts == 0 {
			claimed, ids = append(claimed, m), append(ids, m.id)
		}
	}
	if len(claimed) < bulkFrom {
		return nil, nil
	}
	for _, m := range claimed {
		m.removal.next = now.Add(callBound)
	}
	g.bulk = true
	return claimed, ids
}

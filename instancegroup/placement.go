package instancegroup

import (
	"fmt"
	"slices"
	"time"
)

// Placement is where a Droplet is created: a size in a region.
type Placement struct {
	Size   string
	Region string
}

func (p Placement) String() string { return p.Size + " in " + p.Region }

// placements are where to create next. Guarded by Group.mu.
//
// Invariant: what is learned later about a create, that its Droplet never ran,
// counts as a refusal does: a placement that accepts and loses does not get every
// create. (TestPlacementThatLosesCoolsDown)
type placements struct {
	order   []Placement           // of preference
	cooling map[Placement]backoff // those that failed, until a Droplet of theirs runs
	backoff backoff               // of the whole group, which is asked every second or two for ever
	sent    time.Time             // when creates were let through last
}

// next returns the first placement that is not tried yet; those that cool down come
// last, the one that is over first before the others.
func (p *placements) next(now time.Time, tried map[Placement]bool) (Placement, bool) {
	var first Placement
	var until time.Time
	for _, at := range p.order {
		switch c := p.cooling[at]; {
		case tried[at]:
		case !now.Before(c.until):
			return at, true
		case until.IsZero() || c.until.Before(until):
			first, until = at, c.until
		}
	}
	return first, !until.IsZero()
}

// failed lets a placement cool down, and returns for how long. What was sent no later
// than the last failure tells nothing new, and is not counted: 0.
func (p *placements) failed(at Placement, err error, sent, now time.Time) time.Duration {
	c := p.cooling[at]
	if c.failures > 0 && !sent.After(c.failed) {
		return 0
	}
	c.fail(err, coolFirst, coolMost, now)
	p.cooling[at] = c
	return c.until.Sub(now)
}

// anyFree reports whether a placement does not cool down.
func (p *placements) anyFree(now time.Time) bool {
	return slices.ContainsFunc(p.order, func(at Placement) bool { return !now.Before(p.cooling[at].until) })
}

// worked forgets a placement's failures, unless the last was learned after the create that
// worked was sent.
func (p *placements) worked(at Placement, sent time.Time) {
	if !sent.Before(p.cooling[at].failed) {
		delete(p.cooling, at)
		p.backoff = backoff{}
	}
}

// coolDown lets a placement cool down for what was sent then, and reports whether that is
// new. Called with mu held.
func (g *Group) coolDown(at Placement, sent, now time.Time, why string, err error) bool {
	pause := g.placements.failed(at, err, sent, now)
	if pause == 0 {
		return false
	}
	g.log.Warn("a placement cools down", "why", why, "size", at.Size, "region", at.Region,
		"cooldown", pause, "request_id", requestID(err), "err", err)
	return true
}

// lost notes that a Droplet never ran. If no placement is left the group backs off. Called
// with mu held.
func (g *Group) lost(i *instance, now time.Time) {
	err := fmt.Errorf("%s: %s never ran: %s", i.at, i.Name, i.reason)
	if g.coolDown(i.at, i.requested, now, "what it accepted never ran", err) && !g.placements.anyFree(now) {
		g.placements.backoff.fail(err, backoffFirst, backoffMost, now)
	}
}

// backoff is the pause after failures in a row.
type backoff struct {
	failures      int
	failed, until time.Time
	last          error
}

const (
	// A placement cools down this long: capacity comes back in minutes at the soonest.
	coolFirst, coolMost = time.Minute, 15 * time.Minute

	// A group that is refused pauses this long.
	backoffFirst, backoffMost = 5 * time.Second, 60 * time.Second
)

// check returns the last failure while the group backs off from it.
func (b *backoff) check(now time.Time) error {
	if left := b.until.Sub(now); left > 0 {
		return fmt.Errorf("%w; next attempt in %s", b.last, left.Round(time.Second))
	}
	return nil
}

func (b *backoff) fail(err error, first, most time.Duration, now time.Time) {
	b.failures++
	b.failed, b.last = now, err
	b.until = now.Add(max(double(first, most, b.failures), retryAfter(err)))
}

// double doubles from first to most; n counts from 1.
func double(first, most time.Duration, n int) time.Duration {
	return min(most, first<<min(n-1, 10)) // without an overflow
}

package instancegroup

import (
	"fmt"
	"time"
)

// Placement is one place to create a Droplet: a size in a region.
type Placement struct {
	Size   string
	Region string
}

func (p Placement) String() string { return p.Size + " in " + p.Region }

// placements knows the places in the order of preference, and which of them
// rest because DigitalOcean had no capacity there, or gave no clear answer.
// Guarded by Group.mu.
type placements struct {
	order   []Placement
	rests   map[Placement]rest
	changed bool // rests is not as it was noted last
}

type rest struct {
	refusals int // in a row
	until    time.Time
}

// A place that refused rests for a minute, doubling to a quarter of an hour:
// capacity comes back in minutes at the soonest, and every attempt is a request. So
// does one that does not answer clearly, until a list shows that it created: every
// attempt there may cost its jobs a minute, in which lists settle the names.
const restFirst, restMost = time.Minute, 15 * time.Minute

// next returns the first place that is neither tried nor resting. When all
// untried places rest it returns the one that has rested longest, but only as
// the first attempt of a call: a group whose only place is short of capacity
// still asks, at the pace of its throttle.
func (p *placements) next(now time.Time, tried map[Placement]bool) (Placement, bool) {
	var waited Placement
	var until time.Time
	for _, at := range p.order {
		r, resting := p.rests[at]
		switch {
		case tried[at]:
		case !resting || !now.Before(r.until):
			return at, true
		case until.IsZero() || r.until.Before(until):
			waited, until = at, r.until
		}
	}
	return waited, len(tried) == 0 && !until.IsZero()
}

// refused lets a place rest and returns for how long.
func (p *placements) refused(at Placement, now time.Time) time.Duration {
	r := p.rests[at]
	r.refusals++
	pause := backoff(restFirst, restMost, r.refusals)
	r.until = now.Add(pause)
	p.rests[at], p.changed = r, true
	return pause
}

// worked ends a place's rest, if it had one.
func (p *placements) worked(at Placement) {
	if _, rested := p.rests[at]; rested {
		delete(p.rests, at)
		p.changed = true
	}
}

// resting returns until when places rest.
func (p *placements) resting() map[Placement]time.Time {
	until := map[Placement]time.Time{}
	for at, r := range p.rests {
		until[at] = r.until
	}
	return until
}

// nextPlacement is placements.next; none if Shutdown has begun.
func (g *Group) nextPlacement(tried map[Placement]bool) (Placement, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return Placement{}, false
	}
	return g.places.next(time.Now(), tried)
}

func (g *Group) placeWorked(at Placement) {
	g.mu.Lock()
	g.places.worked(at)
	g.mu.Unlock()
	g.noteRests()
}

// placeRests lets a place rest. It returns for how long, and what that leads to.
func (g *Group) placeRests(at Placement) (rests time.Duration, then string) {
	g.mu.Lock()
	now := time.Now()
	rests = g.places.refused(at, now)
	then = "the next place is tried"
	if _, ok := g.places.next(now, map[Placement]bool{at: true}); !ok {
		then = "no other place is left"
	}
	g.mu.Unlock()
	g.noteRests()
	return rests, then
}

// noteRests tells NoteRests which places rest, if that has changed.
func (g *Group) noteRests() {
	if g.NoteRests == nil {
		return
	}
	g.noting.Lock()
	defer g.noting.Unlock()
	g.mu.Lock()
	changed, resting := g.places.changed, g.places.resting()
	g.places.changed = false
	g.mu.Unlock()
	if changed {
		g.NoteRests(resting)
	}
}

// throttle keeps a group that is refused from asking again at the pace of the
// runner's loop, which asks every second or two for ever. Guarded by Group.mu.
type throttle struct {
	refusals int // in a row
	until    time.Time
	last     error
}

const throttleFirst, throttleMost = 5 * time.Second, 60 * time.Second

// check returns the last refusal while the group rests from it.
func (t *throttle) check(now time.Time) error {
	if left := t.until.Sub(now); left > 0 {
		return fmt.Errorf("%w; next attempt in %s", t.last, left.Round(time.Second))
	}
	return nil
}

func (t *throttle) refused(err error, now time.Time) {
	t.refusals++
	t.last = err
	t.until = now.Add(max(backoff(throttleFirst, throttleMost, t.refusals), retryAfter(err)))
}

func (t *throttle) worked() { *t = throttle{} }

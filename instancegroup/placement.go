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
// rest because DigitalOcean had no capacity there. Guarded by Group.mu.
type placements struct {
	order []Placement
	rests map[Placement]rest
}

type rest struct {
	refusals int // in a row
	until    time.Time
}

// A place that refused rests for a minute, doubling to a quarter of an hour:
// capacity comes back in minutes at the soonest, and every attempt is a request.
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
	p.rests[at] = r
	return pause
}

// worked ends a place's rest.
func (p *placements) worked(at Placement) { delete(p.rests, at) }

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

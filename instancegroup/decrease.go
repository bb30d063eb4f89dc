package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Decrease destroys instances and returns those whose removal DigitalOcean has
// accepted, or that do not exist, or whose DELETE waits for others or for the
// token's next request: nobody refused these, and they are sent without being
// asked for again. It does not wait until they are gone. Whatever it could not
// send stays marked and is sent by a later Update: an instance that the runner
// gave up is destroyed even if the runner forgets it. An error means that there
// is none to return. It returns within callBound.
//
// Asked again for an instance that is being deleted it sends nothing before the
// pause is over that its last DELETE began.
func (g *Group) Decrease(ctx context.Context, names []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()

	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, errClosed
	}
	var marked []*member
	for _, name := range names {
		m := g.members[name]
		if m == nil || m.phase == gone {
			continue
		}
		if m.phase != deleting {
			m.phase, m.reason = deleting, "the runner asked for it"
		}
		marked = append(marked, m)
	}
	due := g.gatherDeletes(marked, time.Now())
	g.mu.Unlock()

	g.destroy(ctx, due)

	g.mu.Lock()
	defer g.mu.Unlock()
	var succeeded []string
	var waiting int
	for _, name := range names {
		m := g.members[name]
		// An unproved create has nothing to delete yet: it is, once it appears.
		if m == nil || m.phase == gone || m.id == 0 || !m.removal.accepted.IsZero() || m.removal.waits {
			succeeded = append(succeeded, name)
		} else {
			waiting++
		}
	}
	if len(succeeded) == 0 && waiting > 0 {
		return nil, fmt.Errorf("destroy %d Droplets: DigitalOcean accepted none yet; the plugin goes on trying "+
			"(each failure is in the log)", waiting)
	}
	return succeeded, nil
}

// destroy sends one DELETE for each of ms that is due, and notes what came of it.
//
// Invariant: no DELETE for a Droplet that is not ours. What is in byID was made
// by this run, or carried the group's tag and a minted name when it was taken
// over; ids are never used twice. (TestOwnership)
func (g *Group) destroy(ctx context.Context, ms []*member) {
	var failed failures
	each(g.destroyMany(ctx, ms), func(m *member) {
		g.mu.Lock()
		now := time.Now()
		ours := g.byID[m.id] == m && m.due(now) && !now.Before(g.holdDeletes) && ctx.Err() == nil
		if ours {
			m.removal.next = now.Add(callBound) // claimed: nobody else sends it meanwhile
		}
		id := m.id
		g.mu.Unlock()
		if !ours {
			return
		}
		request, err := g.cloud.Delete(ctx, id)
		g.mu.Lock()
		defer g.mu.Unlock()
		now = time.Now()
		if errors.Is(err, ErrSpent) {
			g.holdDeletes = now.Add(retryAfter(err))
			m.removal.next, m.removal.waits = g.holdDeletes, true
			return
		}
		// Not found is as good as accepted: lists will prove it.
		if err == nil || errors.Is(err, ErrNotFound) {
			g.accepted(m, request, now)
			return
		}
		m.removal = m.removal.sent(false, retryAfter(err), now)
		if !errors.Is(ctx.Err(), context.Canceled) { // else nobody waits for it any more: it says nothing of DigitalOcean
			failed.add(m.name, err)
		}
		if errors.Is(err, ErrThrottled) {
			g.holdDeletes = now.Add(max(refusedFirst, retryAfter(err)))
		}
	})
	g.tell(&g.refusedDeletes, failed, "DigitalOcean did not destroy Droplets; each is tried again until it does")
}

// accepted notes that DigitalOcean accepted m's destruction. Called with mu held.
func (g *Group) accepted(m *member, request string, now time.Time) {
	m.removal = m.removal.sent(true, 0, now)
	if m.removal.accepts == 1 {
		g.log.Info("Droplet is being destroyed", "name", m.name, "id", m.id, "reason", m.reason, "request_id", request)
		return
	}
	g.log.Warn("DigitalOcean had accepted to destroy a Droplet and has not done it; it was asked again",
		"name", m.name, "id", m.id, "try", m.removal.accepts, "next_in", m.removal.next.Sub(now).Round(time.Second),
		"usd_per_hour", m.droplet.PriceHourly, "request_id", request)
}

// removal is the state of a member's destruction.
type removal struct {
	accepts  int       // DELETE requests that DigitalOcean accepted
	refusals int       // and that it did not, since the last that it did
	accepted time.Time // when it last accepted one; zero = never
	next     time.Time // none is sent before then
	waits    bool      // it is not sent yet, for others or for the token's sake: nobody refused it
}

const (
	// An accepted DELETE that is not carried out is repeated after a minute,
	// then two, up to ten: hammering got accounts blocked. And not before it was
	// seen that long after it: lists lag, and are far between when requests are scarce.
	acceptedFirst, acceptedMost = 60 * time.Second, 10 * time.Minute
	ignoredAfter                = 30 * time.Second
	// A refused one is tried again sooner, since nothing has been asked yet.
	refusedFirst, refusedMost = 5 * time.Second, 5 * time.Minute
)

// due tells whether a DELETE of m is to be sent now.
func (m *member) due(now time.Time) bool {
	if r := m.removal; r.accepts > 0 && r.refusals == 0 && m.seen.Sub(r.accepted) < ignoredAfter {
		return false
	}
	return m.phase == deleting && m.id != 0 && !now.Before(m.removal.next)
}

// sent returns the removal after one more DELETE, which was accepted or not.
// wait is how long DigitalOcean asked to wait, or 0.
func (r removal) sent(accepted bool, wait time.Duration, now time.Time) removal {
	r.waits = false
	var pause time.Duration
	if accepted {
		r.accepts, r.refusals, r.accepted = r.accepts+1, 0, now
		pause = backoff(acceptedFirst, acceptedMost, r.accepts)
	} else {
		r.refusals++
		pause = backoff(refusedFirst, refusedMost, r.refusals)
	}
	r.next = now.Add(max(pause, wait))
	return r
}

// backoff doubles from first to most; n counts from 1.
func backoff(first, most time.Duration, n int) time.Duration {
	for range n - 1 {
		if first >= most/2 {
			return most
		}
		first *= 2
	}
	return min(first, most)
}

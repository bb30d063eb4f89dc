package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Decrease destroys instances and returns those whose removal DigitalOcean has
// accepted, or that do not exist. It does not wait until they are gone. Whatever
// it could not send stays marked and is sent by a later Update: an instance that
// the runner gave up is destroyed even if the runner forgets it. An error means
// that none was accepted.
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
	now := time.Now()
	var due []*member
	for _, name := range names {
		m := g.members[name]
		if m == nil || m.phase == gone {
			continue
		}
		if m.phase != deleting {
			m.phase, m.reason = deleting, "the runner asked for it"
		}
		if m.due(now) {
			due = append(due, m)
		}
	}
	g.mu.Unlock()

	g.destroy(ctx, due)

	g.mu.Lock()
	defer g.mu.Unlock()
	var succeeded []string
	var waiting int
	for _, name := range names {
		m := g.members[name]
		// An unproved create has nothing to delete yet: it is, once it appears.
		if m == nil || m.phase == gone || m.id == 0 || !m.removal.accepted.IsZero() {
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

// destroy sends one DELETE for each of ms, and notes what came of it.
//
// Invariant: no DELETE for a Droplet that is not ours. What is in byID was made
// by this run, or carried the group's tag and a minted name when it was taken
// over; ids are never used twice. (TestOwnership)
func (g *Group) destroy(ctx context.Context, ms []*member) {
	each(ms, func(m *member) {
		g.mu.Lock()
		// Claimed: nobody else sends it meanwhile.
		ours := g.byID[m.id] == m && m.due(time.Now()) && ctx.Err() == nil
		if ours {
			m.removal.next = time.Now().Add(callBound)
		}
		id := m.id
		g.mu.Unlock()
		if !ours {
			return
		}
		request, err := g.cloud.Delete(ctx, id)
		now := time.Now()
		g.mu.Lock()
		defer g.mu.Unlock()
		// Not found is as good as accepted: lists will prove it.
		accepted := err == nil || errors.Is(err, ErrNotFound)
		m.removal = m.removal.sent(accepted, retryAfter(err), now)
		if accepted {
			g.log.Info("Droplet destroyed", "group", g.Name, "name", m.name, "id", id, "reason", m.reason,
				"try", m.removal.tries, "request_id", request)
			return
		}
		g.log.Warn("DigitalOcean did not destroy a Droplet; it is tried again", "group", g.Name, "name", m.name, "id", id,
			"try", m.removal.tries, "next_in", m.removal.next.Sub(now).Round(time.Second),
			"request_id", requestID(err), "err", err)
	})
}

package dosim

import "time"

// action is an event in a Droplet's life; a create's answer links to it.
type action struct {
	id      int
	kind    string // create or destroy
	m       *machine
	started time.Time
}

type actionLink struct {
	ID   int    `json:"id"`
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

type actionJSON struct {
	ID           int        `json:"id"`
	Status       string     `json:"status"`
	Type         string     `json:"type"`
	StartedAt    string     `json:"started_at"`
	CompletedAt  *string    `json:"completed_at"`
	ResourceID   int        `json:"resource_id"`
	ResourceType string     `json:"resource_type"`
	Region       regionJSON `json:"region"`
	RegionSlug   string     `json:"region_slug"`
}

// firstActionID is where action ids begin.
const firstActionID = 1_600_000_001

// act records an event. Callers hold s.mu.
func (s *Sim) act(kind string, m *machine, now time.Time) *action {
	a := &action{firstActionID + len(s.actions), kind, m, now}
	s.actions = append(s.actions, a)
	return a
}

// listActions is GET /v2/actions, newest first.
func (s *Sim) listActions(c *call) reply {
	p, rep, ok := c.paging()
	if !ok {
		return rep
	}
	from, to := p.bounds(len(s.actions))
	items := make([][]byte, 0, to-from)
	for i := from; i < to; i++ {
		items = append(items, jsonReply(0, s.actionJSON(s.actions[len(s.actions)-1-i], c.now)).body)
	}
	return c.page("actions", items, len(s.actions), p)
}

func (s *Sim) actionJSON(a *action, now time.Time) actionJSON {
	j := actionJSON{
		ID: a.id, Status: "in-progress", Type: a.kind, StartedAt: stamp(a.started), ResourceID: a.m.id,
		ResourceType: "droplet", Region: s.regionJSON(a.m.region), RegionSlug: a.m.region.Slug,
	}
	end := func(status string, at time.Time) {
		if !at.IsZero() && !now.Before(at) {
			text := stamp(at)
			j.Status, j.CompletedAt = status, &text
		}
	}
	switch {
	case a.kind == "destroy":
		end("completed", a.m.gone)
	case a.m.phantom:
		end("errored", a.started)
	case a.m.failed:
		end("errored", a.m.gone)
	default:
		end("completed", a.m.ready)
	}
	return j
}

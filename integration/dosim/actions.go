package dosim

import "slices"

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

// firstActionID is where action ids begin. Actions are the creations of Droplets: no client looks at others.
const firstActionID = 1_600_000_001

func (s *Sim) createAction(m *machine) int { return firstActionID + m.id - s.opt.FirstDropletID }

// listActions is GET /v2/actions, newest first.
func (s *Sim) listActions(c *call) reply {
	var all []actionJSON
	for _, m := range slices.Backward(s.machines) {
		j := actionJSON{
			ID: s.createAction(m), Status: "in-progress", Type: "create", StartedAt: stamp(m.created), ResourceID: m.id,
			ResourceType: "droplet", Region: s.regionJSON(m.region), RegionSlug: m.region.Slug,
		}
		if m.status(c.now) != "new" {
			done := stamp(m.ready)
			j.Status, j.CompletedAt = "completed", &done
		}
		all = append(all, j)
	}
	return list(c, "actions", all)
}

package dosim

type actionLink struct {
	ID   int    `json:"id"`
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// firstActionID is where action ids begin: of the creations of Droplets, one each.
const firstActionID = 1_600_000_001

func (s *Sim) createAction(m *machine) int { return firstActionID + m.id - s.opt.FirstDropletID }

// listActions is GET /v2/actions: none, since clients ask only whether they may ask.
func (s *Sim) listActions(c *call) reply { return list[struct{}](c, "actions", nil) }

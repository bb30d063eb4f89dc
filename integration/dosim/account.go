package dosim

import (
	"net/http"
	"slices"
	"strings"
)

// Account is what GET /v2/account says of the account, its limit apart.
type Account struct {
	Status             string // active, warning or locked
	StatusMessage      string
	EmailVerified      bool
	TeamUUID, TeamName string
}

// Accounts are several accounts behind one http.Handler: the bearer token says which one answers. A token that is
// nobody's gets the first one's 401.
type Accounts []*Sim

// ServeHTTP answers one API request.
func (a Accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	owner := a[0]
	for _, s := range a {
		s.mu.Lock()
		if s.bears(r) {
			owner = s
		}
		s.mu.Unlock()
	}
	owner.ServeHTTP(w, r)
}

// getAccount is GET /v2/account. It has the limit, and, as at DigitalOcean, not how much of it is used.
func (s *Sim) getAccount(c *call) reply {
	return jsonReply(http.StatusOK, map[string]any{"account": map[string]any{
		"droplet_limit":     s.limit,
		"floating_ip_limit": 3,
		"email":             "sammy@example.com",
		"name":              "Sammy the Shark",
		"uuid":              fakeUUID("acc0", 1),
		"email_verified":    s.account.EmailVerified,
		"status":            s.account.Status,
		"status_message":    s.account.StatusMessage,
		"team":              map[string]any{"uuid": s.account.TeamUUID, "name": s.account.TeamName},
	}})
}

type resourceJSON struct {
	URN        string            `json:"urn"`
	AssignedAt string            `json:"assigned_at"`
	Links      map[string]string `json:"links"`
	Status     string            `json:"status"`
}

// assignResources is POST /v2/projects/{id}/resources. Resources other than Droplets, and Droplets that are not there,
// come back as not_found.
func (s *Sim) assignResources(c *call) reply {
	project := c.PathValue("id")
	if !slices.Contains(s.projects, project) {
		return c.notFound()
	}
	var req struct {
		Resources []string `json:"resources"`
	}
	if rep, ok := c.decode(&req); !ok {
		return rep
	}
	answers := []resourceJSON{}
	for _, urn := range req.Resources {
		id := strings.TrimPrefix(urn, "do:droplet:")
		answer := resourceJSON{urn, stamp(c.now), map[string]string{"self": c.base() + "/v2/droplets/" + id}, "not_found"}
		if m := s.visible(id, c.now); m != nil {
			answer.Status = "assigned"
			if m.Project == project {
				answer.Status = "already_assigned"
			}
			m.Project = project
		}
		answers = append(answers, answer)
	}
	return jsonReply(http.StatusOK, map[string]any{"resources": answers})
}

// listActions is GET /v2/actions: none, since clients ask only whether they may ask.
func (s *Sim) listActions(c *call) reply { return list[struct{}](c, "actions", nil) }

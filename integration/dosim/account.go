package dosim

import (
	"net/http"
	"slices"
	"strconv"
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

// listImages is GET /v2/images with private and tag_name.
func (s *Sim) listImages(c *call) reply {
	private, tag := c.query.Get("private") == "true", c.query.Get("tag_name")
	var all []imageJSON
	for _, i := range s.images {
		if (!private || !i.Public) && (tag == "" || slices.Contains(i.Tags, tag)) {
			all = append(all, i.json())
		}
	}
	return list(c, "images", all)
}

// getImage is GET /v2/images/{id or slug}.
func (s *Sim) getImage(c *call) reply {
	i := s.image(c.PathValue("id"))
	if i == nil {
		return c.notFound()
	}
	return jsonReply(http.StatusOK, map[string]imageJSON{"image": i.json()})
}

// listSizes is GET /v2/sizes. It has no sizes by contract.
func (s *Sim) listSizes(c *call) reply {
	var all []sizeJSON
	for _, z := range s.sizes {
		if !strings.HasSuffix(z.Slug, contracted) {
			all = append(all, z.json())
		}
	}
	return list(c, "sizes", all)
}

// listRegions is GET /v2/regions.
func (s *Sim) listRegions(c *call) reply {
	var all []regionJSON
	for _, r := range s.regions {
		all = append(all, s.regionJSON(r))
	}
	return list(c, "regions", all)
}

// vpc is a private network; its json form is its only use beyond the region.
type vpc struct {
	ID          string `json:"id"`
	URN         string `json:"urn"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Region      string `json:"region"`
	IPRange     string `json:"ip_range"`
	Default     bool   `json:"default"`
	CreatedAt   string `json:"created_at"`
}

func (s *Sim) vpc(id string) *vpc {
	return find(s.vpcs, func(v *vpc) bool { return v.ID == id })
}

func (s *Sim) defaultVPC(region string) string {
	if v := find(s.vpcs, func(v *vpc) bool { return v.Region == region && v.Default }); v != nil {
		return v.ID
	}
	return ""
}

// listVPCs is GET /v2/vpcs.
func (s *Sim) listVPCs(c *call) reply { return list(c, "vpcs", s.vpcs) }

// getVPC is GET /v2/vpcs/{id}.
func (s *Sim) getVPC(c *call) reply {
	v := s.vpc(c.PathValue("id"))
	if v == nil {
		return c.notFound()
	}
	return jsonReply(http.StatusOK, map[string]*vpc{"vpc": v})
}

type resourceJSON struct {
	URN        string            `json:"urn"`
	AssignedAt string            `json:"assigned_at"`
	Links      map[string]string `json:"links"`
	Status     string            `json:"status"`
}

func (c *call) resource(m *machine, status string) resourceJSON {
	id := strconv.Itoa(m.id)
	return resourceJSON{"do:droplet:" + id, stamp(m.created), map[string]string{"self": c.base() + "/v2/droplets/" + id}, status}
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
		id, err := strconv.Atoi(strings.TrimPrefix(urn, "do:droplet:"))
		m := s.byID[id]
		if err != nil || m == nil || !m.visible(c.now) {
			answers = append(answers, resourceJSON{urn, stamp(c.now), map[string]string{"self": c.base() + "/v2/droplets/" + strconv.Itoa(id)}, "not_found"})
			continue
		}
		status := "assigned"
		if m.project == project {
			status = "already_assigned"
		}
		m.project = project
		answers = append(answers, c.resource(m, status))
	}
	return jsonReply(http.StatusOK, map[string]any{"resources": answers})
}

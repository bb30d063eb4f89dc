package dosim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
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
		s.locked(func() {
			if s.bears(r) {
				owner = s
			}
		})
	}
	owner.ServeHTTP(w, r)
}

// getAccount is GET /v2/account. It has the limit, and, as at DigitalOcean, not how much of it is used.
func (s *Sim) getAccount(*call) reply {
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
	answers := []any{}
	for _, urn := range req.Resources {
		id, status := strings.TrimPrefix(urn, "do:droplet:"), "not_found"
		if m := s.visible(id, c.now); m != nil {
			status = "assigned"
			if m.Project == project {
				status = "already_assigned"
			}
			m.Project = project
		}
		links := map[string]string{"self": c.base() + "/v2/droplets/" + id}
		answers = append(answers, map[string]any{"urn": urn, "assigned_at": stamp(c.now), "links": links, "status": status})
	}
	return jsonReply(http.StatusOK, map[string]any{"resources": answers})
}

// listActions is GET /v2/actions: none, since clients ask only whether they may ask.
func (s *Sim) listActions(c *call) reply { return list[struct{}](c, "actions", nil) }

// Key is an SSH key of the account.
type Key struct {
	ID          int    `json:"id"`
	Fingerprint string `json:"fingerprint"` // MD5, with colons
	PublicKey   string `json:"public_key"`  // OpenSSH
	Name        string `json:"name"`

	usable time.Time // creates with it are refused before
	byHand bool
}

// makeKey puts a key on the account, or says what DigitalOcean finds wrong.
func (s *Sim) makeKey(name, pub string, now time.Time) (key *Key, wrong string) {
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pub))
	if err != nil || name == "" {
		return nil, "Key invalid, key should be of the format `type key comment`"
	}
	fingerprint := ssh.FingerprintLegacyMD5(parsed)
	if s.key(fingerprint) != nil {
		return nil, "SSH Key is already in use on your account"
	}
	s.keySerial++
	key = &Key{46_000_000 + s.keySerial, fingerprint, strings.TrimSpace(pub), name, now, false}
	s.keys = append(s.keys, key)
	return key, ""
}

// key finds a key by id or fingerprint.
func (s *Sim) key(ref string) *Key {
	return find(s.keys, func(k *Key) bool { return k.Fingerprint == ref || strconv.Itoa(k.ID) == ref })
}

func (s *Sim) listKeys(c *call) reply { return list(c, "ssh_keys", s.keys) }

// createKey is POST /v2/account/keys.
func (s *Sim) createKey(c *call) reply {
	var req struct {
		Name      string `json:"name"`
		PublicKey string `json:"public_key"`
	}
	if rep, ok := c.decode(&req); !ok {
		return rep
	}
	key, wrong := s.makeKey(req.Name, req.PublicKey, c.now)
	if wrong != "" {
		return c.unprocessable(wrong)
	}
	if f, late := c.behaviour(KeyLate); late {
		key.usable = c.now.Add(f.For)
	}
	return jsonReply(http.StatusCreated, map[string]*Key{"ssh_key": key})
}

func (s *Sim) getKey(c *call) reply { return found(c, "ssh_key", s.key(c.PathValue("id"))) }

// deleteKey is DELETE /v2/account/keys/{id or fingerprint}. Droplets keep the keys that they were created with.
func (s *Sim) deleteKey(c *call) reply {
	key := s.key(c.PathValue("id"))
	if key == nil {
		return c.notFound()
	}
	if key.byHand {
		s.accuse(c.now, "deleted the SSH key %d (%s), which a person had put on the account", key.ID, key.Name)
	}
	s.keys = slices.DeleteFunc(s.keys, func(k *Key) bool { return k == key })
	return noContent()
}

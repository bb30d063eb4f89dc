package dosim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Key is an SSH key of the account.
type Key struct {
	ID          int    `json:"id"`
	Fingerprint string `json:"fingerprint"` // MD5, with colons
	PublicKey   string `json:"public_key"`  // OpenSSH
	Name        string `json:"name"`

	usable time.Time // creates with it are refused before
	byHand bool
}

// firstKeyID is where key ids begin.
const firstKeyID = 46_000_001

// makeKey puts a key on the account, or says what DigitalOcean finds wrong. Callers hold s.mu.
func (s *Sim) makeKey(name, pub string, now time.Time) (key *Key, wrong string) {
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pub))
	if err != nil || name == "" {
		return nil, MessageInvalidKey
	}
	fingerprint := ssh.FingerprintLegacyMD5(parsed)
	if s.key(fingerprint) != nil {
		return nil, MessageKeyInUse
	}
	s.keySerial++
	key = &Key{firstKeyID - 1 + s.keySerial, fingerprint, strings.TrimSpace(pub), name, now, false}
	s.keys = append(s.keys, key)
	return key, ""
}

// key finds a key by id or fingerprint.
func (s *Sim) key(ref string) *Key {
	return find(s.keys, func(k *Key) bool { return k.Fingerprint == ref || strconv.Itoa(k.ID) == ref })
}

// listKeys is GET /v2/account/keys.
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

// getKey is GET /v2/account/keys/{id or fingerprint}.
func (s *Sim) getKey(c *call) reply {
	return found(c, "ssh_key", s.key(c.PathValue("id")))
}

// deleteKey is DELETE /v2/account/keys/{id or fingerprint}. Droplets keep the keys that they were created with.
func (s *Sim) deleteKey(c *call) reply {
	key := s.key(c.PathValue("id"))
	if key == nil {
		return c.notFound()
	}
	s.policeDeleteKey(c.now, key)
	s.keys = slices.DeleteFunc(s.keys, func(k *Key) bool { return k == key })
	return noContent()
}

package dosim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// police remembers what the client has done that it must never do. Sim.mu owns it.
type police struct {
	violations []string
	retryAfter time.Time // of the last 429
	ignored    int       // requests since then that came too early
}

// Violations lists, in order, what the client did that a well-behaved fleet manager never does, whatever goes wrong:
//
//   - asked for a Droplet under a name that a living Droplet of the same group has: a create was sent twice, and two
//     machines are paid for one;
//   - created Droplets without SSH keys: DigitalOcean mails a root password for each, and nobody can log in;
//   - deleted one Droplet more than 10 times in a minute: accounts were banned for it;
//   - deleted a Droplet that is not tagged "fleeting": it is somebody else's;
//   - deleted by a tag other than "fleeting-delete:<run>", or by one that such a Droplet carries: a tag of that form is
//     put on what is to die and on nothing else;
//   - deleted an SSH key that a person had put on the account;
//   - kept sending, more than 20 requests, before a 429's retry-after was over: that many are not in flight.
//
// Requests that a rate limit, a wrong token or a fault kept from being carried out are not looked at (the last rule
// excepted), and neither is what the methods that act by hand do.
func (s *Sim) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.police.violations)
}

const (
	tagFleeting = "fleeting"
	tagGroup    = "fleeting-group:"
	tagDelete   = "fleeting-delete:"
)

func (s *Sim) accuse(now time.Time, format string, args ...any) {
	s.police.violations = append(s.police.violations, stamp(now)+" "+fmt.Sprintf(format, args...))
}

func (s *Sim) policeCreate(now time.Time, names []string, model machine) {
	if len(model.AuthorizedKeys) == 0 {
		s.accuse(now, "created %s without SSH keys", strings.Join(names, ", "))
	}
	group := slices.IndexFunc(model.Tags, func(tag string) bool { return strings.HasPrefix(tag, tagGroup) })
	if group < 0 {
		return
	}
	taken := map[string]bool{}
	for _, m := range s.machines {
		if m.exists(now) && m.tagged(model.Tags[group]) {
			taken[m.Name] = true
		}
	}
	for _, name := range names {
		if taken[name] {
			s.accuse(now, "created %s in %s, where a living Droplet has that name", name, model.Tags[group])
		}
		taken[name] = true
	}
}

func (s *Sim) policeDelete(now time.Time, m *machine) {
	if !m.tagged(tagFleeting) {
		s.accuse(now, "deleted Droplet %d (%s), which is not tagged %q", m.ID, m.Name, tagFleeting)
	}
	m.deletes = slices.DeleteFunc(m.deletes, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	m.deletes = append(m.deletes, now)
	if len(m.deletes) == 11 {
		s.accuse(now, "deleted Droplet %d (%s) more than 10 times in a minute", m.ID, m.Name)
	}
}

func (s *Sim) policeDeleteByTag(now time.Time, tag string) {
	if !strings.HasPrefix(tag, tagDelete) {
		s.accuse(now, "deleted by the tag %q, which does not begin with %q", tag, tagDelete)
	}
	for _, m := range s.machines {
		if m.exists(now) && m.tagged(tag) && !m.tagged(tagFleeting) {
			s.accuse(now, "deleted Droplet %d (%s) by the tag %q, and it is not tagged %q", m.ID, m.Name, tag, tagFleeting)
		}
	}
}

// policeThrottle hears of every request that the rate limits let pass, or told to wait.
func (s *Sim) policeThrottle(now time.Time, wait time.Duration, passed bool) {
	p := &s.police
	if now.Before(p.retryAfter) {
		if p.ignored++; p.ignored == 21 {
			s.accuse(now, "sent more than 20 requests before retry-after was over")
		}
		return
	}
	if !passed && wait > 0 {
		p.retryAfter, p.ignored = now.Add(wait), 0
	}
}

package dosim

import (
	"net/netip"
	"slices"
	"time"
)

// Droplet is what the simulator knows of one Droplet, as a copy.
type Droplet struct {
	ID      int
	Name    string
	Region  string // slug
	Size    string // slug
	Image   string // slug, or the id in digits of an image without one
	Status  string // new, active or off
	Locked  bool   // by an administrator
	Tags    []string
	VPC     string // uuid
	Project string // uuid

	PublicIPv4  netip.Addr // invalid when public_networking was false
	PrivateIPv4 netip.Addr
	PublicIPv6  netip.Addr // invalid unless ipv6 was true

	AuthorizedKeys []string // OpenSSH public keys, resolved from ssh_keys
	UserData       string
	Features       []string // backups, droplet_agent, ipv6, monitoring, private_networking

	Created time.Time
	ReadyAt time.Time // when it becomes active; zero: never
	Gone    time.Time // when it ceases (or ceased) to exist; zero: not in sight

	PriceHourly float64 // US dollars
}

// machine is a Droplet and what only the simulator knows of it. Sim.mu owns it.
type machine struct {
	Droplet // but for its Status, which the clock tells
	region  *region
	size    *size
	image   *Image
	tagLog  []tagChange // for a tag filter that is behind

	seen    time.Time // GET by id answers 404 until then
	listed  time.Time // lists miss it until then
	phantom bool      // accepted, and never made
	failed  bool      // accepted, and given up by DigitalOcean: not billed
	off     bool

	deletes   []time.Time   // DELETEs by id, for the police
	announced chan struct{} // closed when Hooks.Created has returned

	wire   []byte     // its JSON as last shown
	wireOf appearance // which is right as long as it looks like this
}

// tagChange says that the Droplet did or did not carry the tag from a moment on.
type tagChange struct {
	at  time.Time
	tag string
	on  bool
}

// exists reports whether the Droplet is there and billed at t.
func (m *machine) exists(t time.Time) bool {
	return !m.phantom && !t.Before(m.Created) && (m.Gone.IsZero() || t.Before(m.Gone))
}

// visible reports whether GET by id finds it.
func (m *machine) visible(now time.Time) bool { return m.exists(now) && !now.Before(m.seen) }

// inList reports whether a list that lags behind by lag shows it.
func (m *machine) inList(now time.Time, lag time.Duration) bool {
	return m.exists(now.Add(-lag)) && !now.Before(m.seen) && !now.Before(m.listed)
}

func (m *machine) status(now time.Time) string {
	switch {
	case m.ReadyAt.IsZero() || now.Before(m.ReadyAt):
		return "new"
	case m.off:
		return "off"
	}
	return "active"
}

// leaving reports whether a DELETE was accepted, so that it will be gone.
func (m *machine) leaving() bool { return !m.Gone.IsZero() && !m.failed }

func (m *machine) tagged(tag string) bool { return slices.Contains(m.Tags, tag) }

// taggedAt answers from the past: whether it carried the tag at t.
func (m *machine) taggedAt(tag string, t time.Time) bool {
	on := false
	for _, change := range m.tagLog {
		if change.tag == tag && !change.at.After(t) {
			on = change.on
		}
	}
	return on
}

// tag puts a tag on the Droplet, which is made if it is new.
func (s *Sim) tag(m *machine, tag string, at time.Time) {
	s.tags[tag] = true
	if !m.tagged(tag) {
		m.Tags = append(m.Tags, tag)
		m.tagLog = append(m.tagLog, tagChange{at, tag, true})
	}
}

func (m *machine) untag(tag string, now time.Time) {
	if i := slices.Index(m.Tags, tag); i >= 0 {
		m.Tags = slices.Delete(m.Tags, i, i+1)
		m.tagLog = append(m.tagLog, tagChange{now, tag, false})
	}
}

func (m *machine) view(now time.Time) Droplet {
	d := m.Droplet
	d.Status, d.Tags = m.status(now), slices.Clone(m.Tags)
	return d
}

// Droplets is the ground truth: every Droplet that exists and is billed now, by ascending id, whatever lists say.
func (s *Sim) Droplets() []Droplet {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var all []Droplet
	for _, m := range s.machines {
		if m.exists(now) {
			all = append(all, m.view(now))
		}
	}
	return all
}

// announce returns the call of the Created hook, which is made without the lock.
func (s *Sim) announce(m *machine, now time.Time) func() {
	view := m.view(now)
	return func() {
		if s.opt.Hooks.Created != nil && !m.phantom {
			s.opt.Hooks.Created(view)
		}
		close(m.announced)
	}
}

// end has the Droplet be gone at a moment, unless it is on its way out already, and the Gone hook be called then.
func (s *Sim) end(m *machine, at time.Time) {
	if !m.Gone.IsZero() {
		return
	}
	m.Gone = at
	if s.opt.Hooks.Gone == nil || s.closing.Err() != nil {
		return
	}
	wait := at.Sub(s.now())
	s.timers.Go(func() {
		if s.sleep(s.closing, wait); s.closing.Err() != nil {
			return
		}
		<-m.announced
		s.mu.Lock()
		view := m.view(s.now())
		s.mu.Unlock()
		s.opt.Hooks.Gone(view)
	})
}

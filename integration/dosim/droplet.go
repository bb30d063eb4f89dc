package dosim

import (
	"context"
	"errors"
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

// machine is the simulator's own record of a Droplet. Sim.mu owns it.
type machine struct {
	id      int
	name    string
	region  *region
	size    *size
	image   *Image
	tags    []string    // in the order in which they were put on
	tagLog  []tagChange // for a tag filter that is behind
	vpc     string
	project string

	public, private, v6 netip.Addr
	keys                []string
	userData            string
	features            []string

	created time.Time
	ready   time.Time // zero: never
	gone    time.Time // zero: not in sight
	seen    time.Time // GET by id answers 404 until then
	listed  time.Time // lists miss it until then
	phantom bool      // accepted, and never made
	failed  bool      // accepted, and given up by DigitalOcean: not billed
	off     bool
	locked  bool

	deletes []time.Time // DELETEs by id, for the police

	announced bool       // Hooks.Created has returned
	farewell  bool       // Hooks.Gone has been scheduled
	wire      []byte     // its JSON as last shown
	wireOf    appearance // which is right as long as it looks like this
}

// tagChange says that the Droplet did or did not carry the tag from a moment on.
type tagChange struct {
	at  time.Time
	tag string
	on  bool
}

// exists reports whether the Droplet is there and billed at t.
func (m *machine) exists(t time.Time) bool {
	return !m.phantom && !t.Before(m.created) && (m.gone.IsZero() || t.Before(m.gone))
}

// visible reports whether GET by id finds it.
func (m *machine) visible(now time.Time) bool { return m.exists(now) && !now.Before(m.seen) }

// inList reports whether a list that lags behind by lag shows it.
func (m *machine) inList(now time.Time, lag time.Duration) bool {
	return m.exists(now.Add(-lag)) && !now.Before(m.seen) && !now.Before(m.listed)
}

func (m *machine) status(now time.Time) string {
	switch {
	case m.ready.IsZero() || now.Before(m.ready):
		return "new"
	case m.off:
		return "off"
	}
	return "active"
}

// leaving reports whether a DELETE was accepted (or the creation is known to fail), so that it will be gone.
func (m *machine) leaving() bool { return !m.gone.IsZero() && !m.failed }

// addressed reports whether its addresses are known yet: they come up about a third into the boot.
func (m *machine) addressed(now time.Time, boot time.Duration) bool {
	return !now.Before(m.created.Add(boot / 3))
}

func (m *machine) tagged(tag string) bool { return slices.Contains(m.tags, tag) }

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

func (m *machine) tag(tag string, now time.Time) {
	if !m.tagged(tag) {
		m.tags = append(m.tags, tag)
		m.tagLog = append(m.tagLog, tagChange{now, tag, true})
	}
}

func (m *machine) untag(tag string, now time.Time) {
	if i := slices.Index(m.tags, tag); i >= 0 {
		m.tags = slices.Delete(m.tags, i, i+1)
		m.tagLog = append(m.tagLog, tagChange{now, tag, false})
	}
}

func (m *machine) view(now time.Time) Droplet {
	return Droplet{
		ID: m.id, Name: m.name, Region: m.region.Slug, Size: m.size.Slug, Image: m.image.ref(),
		Status: m.status(now), Locked: m.locked, Tags: slices.Clone(m.tags), VPC: m.vpc, Project: m.project,
		PublicIPv4: m.public, PrivateIPv4: m.private, PublicIPv6: m.v6,
		AuthorizedKeys: slices.Clone(m.keys), UserData: m.userData, Features: slices.Clone(m.features),
		Created: m.created, ReadyAt: m.ready, Gone: m.gone, PriceHourly: m.size.PriceHourly,
	}
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

// welcome returns what is to be done, without the lock, about a Droplet that came to be. Callers hold s.mu.
func (s *Sim) welcome(m *machine, now time.Time) func() {
	if m.phantom {
		return func() {}
	}
	view := m.view(now)
	view.Gone = time.Time{} // a creation that will fail does not look like one
	return func() {
		if s.opt.Hooks.Created != nil {
			s.opt.Hooks.Created(view)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		m.announced = true
		s.farewell(m)
	}
}

// farewell starts the goroutine that calls the Gone hook, once it is known when the Droplet will be gone. Callers
// hold s.mu.
func (s *Sim) farewell(m *machine) {
	if s.opt.Hooks.Gone == nil || m.gone.IsZero() || !m.announced || m.farewell || s.closing.Err() != nil {
		return
	}
	m.farewell = true
	wait := m.gone.Sub(s.now())
	s.timers.Go(func() {
		if s.sleep(s.closing, wait) != nil {
			return
		}
		s.mu.Lock()
		view := m.view(s.now())
		s.mu.Unlock()
		s.opt.Hooks.Gone(view)
	})
}

// sleep waits for d; the end of ctx and Close cut it short with an error.
func (s *Sim) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing.Done():
		return errClosed
	}
}

var errClosed = errors.New("dosim: the simulator was closed")

package dosim

import (
	"cmp"
	"slices"
	"time"
)

// The methods below act by hand: as a person in DigitalOcean's web console, or as DigitalOcean itself, changes the
// account behind a client's back. What names something that is not there does nothing. None of them is policed.

// PowerOff switches the Droplet off. It stays billed.
func (s *Sim) PowerOff(id int) { s.touch(id, func(m *machine, _ time.Time) { m.off = true }) }

// PowerOn switches it on again.
func (s *Sim) PowerOn(id int) { s.touch(id, func(m *machine, _ time.Time) { m.off = false }) }

// Lock is an administrator's lock: nobody can delete the Droplet until it is unlocked.
func (s *Sim) Lock(id int, locked bool) {
	s.touch(id, func(m *machine, _ time.Time) { m.locked = locked })
}

// Rename gives it another name.
func (s *Sim) Rename(id int, name string) {
	s.touch(id, func(m *machine, _ time.Time) { m.name = name })
}

// Tag puts a tag on it, which is made if it is new.
func (s *Sim) Tag(id int, tag string) {
	s.touch(id, func(m *machine, now time.Time) { s.makeTag(tag, now); m.tag(tag, now) })
}

// Untag takes a tag off it; the tag itself remains.
func (s *Sim) Untag(id int, tag string) {
	s.touch(id, func(m *machine, now time.Time) { m.untag(tag, now) })
}

// Destroy ends it at once. One that is already on its way out goes when it would have gone.
func (s *Sim) Destroy(id int) {
	s.touch(id, func(m *machine, now time.Time) {
		if m.gone.IsZero() {
			m.gone = now
			s.farewell(m)
		}
	})
}

func (s *Sim) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *Sim) touch(id int, change func(*machine, time.Time)) {
	s.locked(func() {
		now := s.now()
		if m := s.byID[id]; m != nil && m.exists(now) {
			change(m, now)
		}
	})
}

// AddDroplet makes a Droplet that no request asked for and returns its id. It is active at once unless ReadyAt is in
// the future. ID, Status, Locked, Gone, PriceHourly, Features and Project are ignored; Region ("nyc3"), Size
// ("s-1vcpu-1gb"), Image ("ubuntu-24-04-x64"), VPC (the region's default), addresses and Created (now) have defaults.
// It panics on a region, size or image that the catalog does not have. Quota and validation do not apply.
func (s *Sim) AddDroplet(d Droplet) int {
	s.mu.Lock()
	now := s.now()
	spec := launch{
		region: s.region(cmp.Or(d.Region, "nyc3")),
		size:   s.size(cmp.Or(d.Size, "s-1vcpu-1gb")),
		image:  s.image(cmp.Or(d.Image, "ubuntu-24-04-x64")),
		keys:   d.AuthorizedKeys, tags: d.Tags, userData: d.UserData, vpc: d.VPC, public: true, ipv6: d.PublicIPv6.IsValid(),
	}
	if spec.region == nil || spec.size == nil || spec.image == nil {
		s.mu.Unlock()
		panic("dosim.AddDroplet: no such region, size or image in the catalog")
	}
	if spec.vpc == "" {
		spec.vpc = s.defaultVPC(spec.region.Slug)
	}
	m := s.launch(d.Name, spec, now)
	m.ready = now
	if !d.ReadyAt.IsZero() {
		m.ready = d.ReadyAt
	}
	if !d.Created.IsZero() {
		m.created = d.Created
		m.seen, m.listed = m.created, m.created
		for i := range m.tagLog {
			m.tagLog[i].at = m.created
		}
	}
	if d.PublicIPv4.IsValid() {
		m.public = d.PublicIPv4
	}
	if d.PrivateIPv4.IsValid() {
		m.private = d.PrivateIPv4
	}
	announce := s.welcome(m, now)
	s.mu.Unlock()
	announce()
	return m.id
}

// AddKey puts a public key, in OpenSSH's format, on the account. It panics on one that cannot be parsed.
func (s *Sim) AddKey(name, pub string) Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.makeKey(name, pub, s.now())
	if err != nil {
		panic("dosim.AddKey: " + err.Error())
	}
	key.byHand = true
	return *key
}

// AddTag makes a tag that nothing carries, unless it is there.
func (s *Sim) AddTag(name string) { s.locked(func() { s.makeTag(name, s.now()) }) }

// DeleteTag deletes a tag: whatever carried it no longer does.
func (s *Sim) DeleteTag(name string) { s.locked(func() { s.dropTag(name, s.now()) }) }

// DeleteKey takes a key off the account. Droplets keep the keys that they were created with.
func (s *Sim) DeleteKey(id int) {
	s.locked(func() { s.keys = slices.DeleteFunc(s.keys, func(k *Key) bool { return k.ID == id }) })
}

// AddImage puts an image, usually a new golden snapshot, into the catalog and returns its id. A nil Regions means
// every region.
func (s *Sim) AddImage(image Image) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if image.ID == 0 {
		image.ID = s.images[len(s.images)-1].ID + 1
	}
	if image.Regions == nil {
		image.Regions = slices.Clone(everywhere)
	}
	if image.Created.IsZero() {
		image.Created = now
	}
	if image.Distribution == "" {
		image.Distribution = "Ubuntu"
	}
	for _, tag := range image.Tags {
		s.makeTag(tag, now)
	}
	s.images = append(s.images, &image)
	return image.ID
}

// SetAccount changes what the account says of itself.
func (s *Sim) SetAccount(change func(*Account)) { s.locked(func() { change(&s.account) }) }

// SetDropletLimit changes the account's quota.
func (s *Sim) SetDropletLimit(n int) { s.locked(func() { s.limit = n }) }

// SetToken replaces the only bearer token that is accepted, as when it is rotated or revoked.
func (s *Sim) SetToken(token string) { s.locked(func() { s.token = token }) }

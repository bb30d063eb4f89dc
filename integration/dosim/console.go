package dosim

import (
	"cmp"
	"slices"
	"time"
)

// The methods below act by hand: as a person in DigitalOcean's web console, or as DigitalOcean itself, changes the
// account behind a client's back. What names something that is not there does nothing. None of them is policed.

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

// PowerOff switches the Droplet off. It stays billed.
func (s *Sim) PowerOff(id int) { s.touch(id, func(m *machine, _ time.Time) { m.off = true }) }

// PowerOn switches it on again.
func (s *Sim) PowerOn(id int) { s.touch(id, func(m *machine, _ time.Time) { m.off = false }) }

// Lock is an administrator's lock: nobody can delete the Droplet until it is unlocked.
func (s *Sim) Lock(id int, locked bool) {
	s.touch(id, func(m *machine, _ time.Time) { m.Locked = locked })
}

// Rename gives it another name.
func (s *Sim) Rename(id int, name string) {
	s.touch(id, func(m *machine, _ time.Time) { m.Name = name })
}

// Tag puts a tag on it, which is made if it is new.
func (s *Sim) Tag(id int, tag string) {
	s.touch(id, func(m *machine, now time.Time) { s.tag(m, tag, now) })
}

// Untag takes a tag off it; the tag itself remains.
func (s *Sim) Untag(id int, tag string) {
	s.touch(id, func(m *machine, now time.Time) { m.untag(tag, now) })
}

// Destroy ends it at once. One that is already on its way out goes when it would have gone.
func (s *Sim) Destroy(id int) { s.touch(id, s.end) }

// AddDroplet makes a Droplet that no request asked for and returns its id. It is active at once unless ReadyAt is in
// the future. ID, Status, Locked, Gone, PriceHourly, Features and Project are ignored; Region ("nyc3"), Size
// ("s-1vcpu-1gb"), Image ("ubuntu-24-04-x64"), VPC (the region's default), addresses and Created (now) have defaults.
// It panics on a region, size or image that the catalog does not have. Quota and validation do not apply.
func (s *Sim) AddDroplet(d Droplet) (id int) {
	var announce func()
	s.locked(func() {
		now := s.now()
		model := machine{
			region: s.region(cmp.Or(d.Region, "nyc3")),
			size:   s.size(cmp.Or(d.Size, "s-1vcpu-1gb")),
			image:  s.image(cmp.Or(d.Image, "ubuntu-24-04-x64")),
		}
		model.AuthorizedKeys, model.UserData = d.AuthorizedKeys, d.UserData
		model.VPC = cmp.Or(d.VPC, s.defaultVPC(model.region.Slug).ID)
		m := s.launch(d.Name, model, now)
		m.ReadyAt = now
		if !d.ReadyAt.IsZero() {
			m.ReadyAt = d.ReadyAt
		}
		if !d.Created.IsZero() {
			m.Created, m.seen, m.listed = d.Created, d.Created, d.Created
		}
		for _, tag := range d.Tags {
			s.tag(m, tag, m.Created)
		}
		m.PublicIPv4, m.PrivateIPv4 = cmp.Or(d.PublicIPv4, m.PublicIPv4), cmp.Or(d.PrivateIPv4, m.PrivateIPv4)
		id, announce = m.ID, s.announce(m, now)
	})
	announce()
	return id
}

// AddKey puts a public key, in OpenSSH's format, on the account. It panics on one that DigitalOcean would refuse.
func (s *Sim) AddKey(name, pub string) (key Key) {
	s.locked(func() {
		made, wrong := s.makeKey(name, pub, s.now())
		if wrong != "" {
			panic("dosim.AddKey: " + wrong)
		}
		made.byHand = true
		key = *made
	})
	return key
}

// AddTag makes a tag that nothing carries, unless it is there.
func (s *Sim) AddTag(name string) { s.locked(func() { s.tags[name] = true }) }

// DeleteTag deletes a tag: whatever carried it no longer does.
func (s *Sim) DeleteTag(name string) { s.locked(func() { s.dropTag(name, s.now()) }) }

// DeleteKey takes a key off the account. Droplets keep the keys that they were created with.
func (s *Sim) DeleteKey(id int) {
	s.locked(func() { s.keys = slices.DeleteFunc(s.keys, func(k *Key) bool { return k.ID == id }) })
}

// AddImage puts an image, usually a new golden snapshot, into the catalog and returns its id.
func (s *Sim) AddImage(image Image) (id int) {
	s.locked(func() { id = s.addImage(image, s.now()) })
	return id
}

// SetAccount changes what the account says of itself.
func (s *Sim) SetAccount(change func(*Account)) { s.locked(func() { change(&s.account) }) }

// SetDropletLimit changes the account's quota.
func (s *Sim) SetDropletLimit(n int) { s.locked(func() { s.limit = n }) }

// SetToken replaces the only bearer token that is accepted, as when it is rotated or revoked.
func (s *Sim) SetToken(token string) { s.locked(func() { s.token = token }) }

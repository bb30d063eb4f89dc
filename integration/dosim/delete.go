package dosim

// deleteDroplet is DELETE /v2/droplets/{id}. While a Droplet that was deleted is still on its way out, another DELETE
// finds a pending event [?].
func (s *Sim) deleteDroplet(c *call) reply {
	m := s.visible(c.PathValue("id"), c.now)
	if m == nil {
		return c.notFound()
	}
	s.policeDelete(c.now, m)
	if m.Locked {
		return c.unprocessable(MessageLocked)
	}
	if m.leaving() {
		return c.unprocessable(MessagePendingEvent)
	}
	if !s.spared(c, m, 0) {
		s.end(m, c.now.Add(s.opt.DeleteTime))
	}
	return noContent()
}

// deleteByTag is DELETE /v2/droplets?tag_name=: all that carry the tag, whatever lists say, and are not locked [?].
func (s *Sim) deleteByTag(c *call) reply {
	tag := c.query.Get("tag_name")
	if tag == "" {
		return c.unprocessable(MessageMissingTagName)
	}
	if _, known := s.tags[tag]; !known {
		return c.notFound()
	}
	s.policeDeleteByTag(c.now, tag)
	i := 0
	for _, m := range s.machines {
		if !m.exists(c.now) || !m.tagged(tag) || m.leaving() || m.Locked {
			continue
		}
		if !s.spared(c, m, i) {
			s.end(m, c.now.Add(s.opt.DeleteTime))
		}
		i++
	}
	return noContent()
}

// spared reports whether a fault keeps the i-th Droplet of a DELETE alive.
func (s *Sim) spared(c *call, m *machine, i int) bool {
	for _, f := range c.behaviours {
		if f.touches(i) && (f.Behaviour == DeleteIgnored || f.Behaviour == DeleteNewIgnored && m.status(c.now) == "new") {
			return true
		}
	}
	return false
}

package catalog

import "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"

// limit sets the most Droplets of the group: none if it cannot be managed.
func (s *survey) limit() {
	p, refused := &s.plan, len(s.refused)
	s.limitNumber()
	s.limitCost()
	if s.tagRead.err != nil { // all Droplets of the group would seem to be gone
		s.refuse("the plugin finds its Droplets by their tags, which it may not read: %s", s.tagRead.err)
	}
	if len(s.refused) > refused {
		p.MaxInstances, p.LimitedBy = 0, ""
	}
}

// limitNumber takes the number as configured, or else the account's limit.
func (s *survey) limitNumber() {
	const key = "plugin_config.max_instances"
	p, configured := &s.plan, s.config.MaxInstances
	limit, err := s.account.value.DropletLimit, s.account.err
	if err != nil {
		s.log.Warn("the account could not be read, so its status and its Droplet limit are not checked", "err", err)
	}
	switch {
	case s.faults.Has("max_instances"):
	case configured > 0:
		p.MaxInstances, p.LimitedBy = configured, "max_instances"
		if limit > 0 && configured > limit {
			s.warn("max_instances", "lower it, or ask DigitalOcean for a higher limit (Settings, Team)",
				"max_instances is %d, and the account's Droplet limit %d: creates beyond that will be refused", configured, limit)
		}
	case err != nil:
		s.refuse("%s: must be set, since the account's Droplet limit could not be read: %s", key, err)
	case limit <= 0:
		s.refuse("%s: must be set, since the account's Droplet limit reads %d", key, limit)
	default:
		p.MaxInstances, p.LimitedBy = limit, "droplet_limit"
	}
}

// limitCost lowers the number to what max_hourly_cost allows by the dearest size: at run
// time a create cannot be refused for its price, since the runner then takes jobs all the
// same, and fails them.
//
// A limit that cannot be kept is a fault, never a guess. That is so of a size without a
// known price too, such as a contract size.
func (s *survey) limitCost() {
	const key = "plugin_config.max_hourly_cost"
	p, most := &s.plan, s.config.MaxHourlyCost
	dearest, unpriced := s.dearest()
	p.Dearest = dearest
	_, listed := p.Sizes[unpriced]
	switch {
	case most == 0:
	case s.sizes.err != nil:
		s.refuse("%s: DigitalOcean's prices could not be read, so it cannot be kept; "+
			"give the token the scope sizes:read, or remove the key and limit max_instances", key)
	case unpriced != "" && (p.Unread || listed || s.contracted(unpriced)):
		s.refuse("%s: DigitalOcean tells no price of size %s, so it cannot be kept; "+
			"take the size out of plugin_config.size, or remove the key and limit max_instances", key, unpriced)
	case dearest == nil: // a size has a fault
	case dearest.PriceHourly > most:
		s.refuse("%s: %g USD an hour is less than one Droplet of size %s costs, %g", key, most, dearest.Slug, dearest.PriceHourly)
	default:
		// 0.3/0.1 is a little less than 3.
		if affordable := int(most/dearest.PriceHourly + 1e-9); affordable < p.MaxInstances {
			p.MaxInstances, p.LimitedBy = affordable, "max_hourly_cost"
		}
	}
}

// dearest returns the dearest of the configured sizes, or one whose price is not known.
func (s *survey) dearest() (most *digitalocean.Size, unpriced string) {
	for _, slug := range s.config.Sizes {
		size := s.plan.Sizes[slug]
		if size.PriceHourly <= 0 {
			return nil, slug
		}
		if most == nil || size.PriceHourly > most.PriceHourly {
			most = &size
		}
	}
	return most, ""
}

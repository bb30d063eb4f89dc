package catalog

import (
	"fmt"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// limit sets the most Droplets of the group: as configured, or else the account's limit.
func (o *offer) limit(c config.Config, faults config.Faults, p *Plan) error {
	const key = "plugin_config.max_instances"
	limit, err := o.account.value.DropletLimit, o.account.err
	if err != nil {
		p.note("the account could not be read, so its status and its Droplet limit are not checked", "err", explain(err, c))
	}
	switch {
	case faults.Has("max_instances"):
	case c.MaxInstances > 0:
		p.MaxInstances, p.LimitedBy = c.MaxInstances, "max_instances"
		if limit > 0 && c.MaxInstances > limit {
			p.Warnings = append(p.Warnings, Warning{"max_instances",
				fmt.Sprintf("max_instances is %d, and the account's Droplet limit %d: creates beyond that will be refused", c.MaxInstances, limit),
				"lower it, or ask DigitalOcean for a higher limit (Settings, Team)"})
		}
	case err != nil:
		return fmt.Errorf("%s: must be set, since the account's Droplet limit could not be read: %s", key, explain(err, c))
	case limit <= 0:
		return fmt.Errorf("%s: must be set, since the account's Droplet limit reads %d", key, limit)
	default:
		p.MaxInstances, p.LimitedBy = limit, "droplet_limit"
	}
	return nil
}

// guard lowers the most Droplets of the group to what max_hourly_cost allows. It is a
// limit on their number, by the dearest size: at run time a create cannot be refused for
// its price, since the runner then takes jobs all the same, and fails them.
//
// A guard that cannot be kept is a fault, never a guess. That is so of a size without a
// known price too, such as a contract size.
func (o *offer) guard(c config.Config, p *Plan) error {
	if c.MaxHourlyCost == 0 {
		return nil
	}
	const key = "plugin_config.max_hourly_cost"
	if o.sizes.err != nil {
		return fmt.Errorf("%s: DigitalOcean's prices could not be read, so it cannot be kept; "+
			"give the token the scope sizes:read, or remove the key and limit max_instances", key)
	}
	for _, slug := range c.Sizes {
		if p.Sizes[slug].PriceHourly <= 0 && (p.Unread || o.size(slug) != nil || o.contracted(slug)) {
			return fmt.Errorf("%s: DigitalOcean tells no price of size %s, so it cannot be kept; "+
				"take the size out of plugin_config.size, or remove the key and limit max_instances", key, slug)
		}
	}
	size := p.Dearest
	if size == nil {
		return nil // a size has a fault
	}
	// 0.3/0.1 is a little less than 3.
	affordable := int(c.MaxHourlyCost/size.PriceHourly + 1e-9)
	if affordable == 0 {
		return fmt.Errorf("%s: %g USD an hour is less than one Droplet of size %s costs, %g",
			key, c.MaxHourlyCost, size.Slug, size.PriceHourly)
	}
	if affordable < p.MaxInstances {
		p.MaxInstances, p.LimitedBy = affordable, "max_hourly_cost"
	}
	return nil
}

// dearest returns the dearest of the configured sizes, or nil where a price is not known.
func (p *Plan) dearest(c config.Config) *digitalocean.Size {
	var dearest *digitalocean.Size
	for _, slug := range c.Sizes {
		size := p.Sizes[slug]
		if size.PriceHourly <= 0 {
			return nil
		}
		if dearest == nil || size.PriceHourly > dearest.PriceHourly {
			dearest = &size
		}
	}
	return dearest
}

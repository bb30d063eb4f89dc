package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// MaxInstances returns the most Droplets of the group: as configured, or else
// the account's limit.
func MaxInstances(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) (int, error) {
	a, err := api.Account(ctx)
	limit := a.DropletLimit
	switch {
	case errors.Is(err, instancegroup.ErrUnauthorized):
		return 0, err
	case c.MaxInstances > 0 && err != nil:
		log.Warn("the account's Droplet limit could not be read", "err", err)
	case c.MaxInstances > limit && limit > 0:
		log.Warn("max_instances is more than the account may have; creates beyond that will be refused",
			"max_instances", c.MaxInstances, "droplet_limit", limit)
	case c.MaxInstances == 0 && err != nil && !errors.Is(err, instancegroup.ErrForbidden):
		return 0, fmt.Errorf("read the account's Droplet limit, which counts where plugin_config.max_instances is not set: %w", err)
	case c.MaxInstances == 0 && err != nil:
		return 0, fmt.Errorf("plugin_config.max_instances: must be set, since the account's Droplet limit could not be read: %w", err)
	case c.MaxInstances == 0 && limit <= 0:
		return 0, fmt.Errorf("plugin_config.max_instances: must be set, since the account's Droplet limit reads %d", limit)
	case c.MaxInstances == 0:
		return limit, nil
	}
	return c.MaxInstances, nil
}

// Guard lowers the most Droplets of the group to what max_hourly_cost allows, and
// says so. It is a limit on their number, by the dearest size: at run time a create
// cannot be refused for its price, since the runner then takes jobs all the same,
// and fails them.
//
// A guard that cannot be kept is an error, never a guess.
func (p Plan) Guard(log hclog.Logger, c config.Config, most int) (int, error) {
	if c.MaxHourlyCost == 0 {
		return most, nil
	}
	const key = "plugin_config.max_hourly_cost"
	if p.Dearest == nil || p.Dearest.PriceHourly <= 0 {
		return 0, fmt.Errorf("%s: DigitalOcean's prices could not be read, so it cannot be kept; "+
			"give the token the scope sizes:read, or remove the key and limit max_instances", key)
	}
	size := p.Dearest
	// The sum of prices is a little more than it should be: 20 * 0.00893 > 0.1786.
	affordable := int(c.MaxHourlyCost/size.PriceHourly + 1e-9)
	if affordable == 0 {
		return 0, fmt.Errorf("%s: %g USD an hour is less than one Droplet of size %s costs, %g",
			key, c.MaxHourlyCost, size.Slug, size.PriceHourly)
	}
	by := "max_instances"
	if affordable < most {
		most, by = affordable, "max_hourly_cost"
	}
	log.Info("max_hourly_cost is in force; max_instances in [runners.autoscaler] must not be more than its max_instances",
		"max_hourly_cost", c.MaxHourlyCost, "dearest_size", size.Slug, "usd_per_hour", size.PriceHourly,
		"max_instances", most, "limited_by", by)
	return most, nil
}

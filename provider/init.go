package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Init checks the configuration against the account, takes over the Droplets of
// earlier runs, and makes ready to create more. It creates at most an SSH key,
// and that last of all: when Init fails the runner kills the plugin without
// Shutdown, so whatever a failed Init made would be litter.
func (g *InstanceGroup) Init(ctx context.Context, log hclog.Logger, settings provider.Settings) (provider.ProviderInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, initBound)
	defer cancel()
	if !g.configured {
		if err := g.UnmarshalJSON(nil); err != nil {
			return provider.ProviderInfo{}, err
		}
	}
	if g.running.Load() != nil {
		return provider.ProviderInfo{}, errors.New("Init was called twice in one process")
	}
	log = lines{log.With("group", g.config.Name)}

	// What needs nobody else comes first: these faults are told at once.
	connector, err := connectorConfig(settings.ConnectorConfig)
	if err != nil {
		return provider.ProviderInfo{}, err
	}
	if file := g.config.Token.File; file != "" {
		warnIfReadable(log, file)
	}
	keys, err := loadCredentials(log, g.config, connector)
	if err != nil {
		return provider.ProviderInfo{}, err
	}
	lock, err := lockGroup(ctx, log, g.config.APIURL, g.config.Name)
	if err != nil {
		return provider.ProviderInfo{}, err
	}

	// The runner starts a plugin whose Init failed again every second.
	if err := lock.waitAfterRefusal(ctx, log); err != nil {
		lock.release()
		return provider.ProviderInfo{}, err
	}
	asked := time.Now()
	r, maxSize, err := g.open(ctx, log, keys, lock)
	if err != nil {
		lock.noteRefusal(log, asked)
		lock.release()
		return provider.ProviderInfo{}, g.explain(err)
	}
	lock.clearRefusal()
	r.connector = connector
	g.running.Store(r)
	return provider.ProviderInfo{
		ID:        "digitalocean/" + g.config.Name,
		MaxSize:   maxSize,
		Version:   Version.String(),
		BuildInfo: Version.BuildInfo(),
	}, nil
}

// open does the part of Init that asks DigitalOcean.
func (g *InstanceGroup) open(ctx context.Context, log hclog.Logger, keys *credentials, lock *hostLock) (_ *running, maxSize int, err error) {
	api, err := digitalocean.New(digitalocean.Options{
		URL:       g.config.APIURL,
		UserAgent: "fleeting-plugin-digitalocean/" + Version.Version,
		Token: func() (string, error) {
			t, err := g.config.Token.Read()
			return t.Reveal(), err
		},
		Transport: g.transport,
	})
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			api.Close()
		}
	}()
	if maxSize, err = maxInstances(ctx, log, api, g.config); err != nil {
		return nil, 0, err
	}
	plan, err := survey(ctx, log, api, g.config)
	if err != nil {
		return nil, 0, err
	}
	run := instancegroup.NewSuffix()
	group := instancegroup.New(instancegroup.Settings{
		Name:       g.config.Name,
		Run:        run,
		DeadRuns:   lock.deadRuns(),
		Before:     lock.before(),
		Note:       func(c instancegroup.Census) { lock.note(log, c) },
		Placements: plan.placements,
		Image:      instancegroup.Image(g.config.Image),
		ImageTag:   g.config.ImageTag,
		VPC:        g.config.VPC,
		Tags:       g.config.Tags,
		Project:    g.config.ProjectID,
		Template: instancegroup.Template{
			PublicNetworking: g.config.PublicNetworking,
			IPv6:             g.config.IPv6,
			Monitoring:       g.config.Monitoring,
			Backups:          g.config.Backups,
			WithDropletAgent: g.config.WithDropletAgent,
			UserData:         g.config.UserData,
		},
		GPUs:          plan.gpus,
		MaxInstances:  maxSize,
		MaxCreating:   g.config.MaxCreating,
		CreateTimeout: g.config.CreateTimeout,
		Keys:          keys.ids,
	}, api, log)
	if err := group.Start(ctx); err != nil {
		return nil, 0, err
	}
	if plan.fault != nil {
		if group.Count() == 0 {
			return nil, 0, plan.fault
		}
		// A refusal would leave them to nobody, and billed.
		log.Error("no Droplet can be created as configured; the plugin starts all the same, for those that the group has",
			"droplets", group.Count(), "err", plan.fault)
	}
	if err := lock.begin(run); err != nil {
		log.Warn("could not note this run beside the lock", "err", err)
	}
	if err := keys.open(ctx, api, run, group.Count() == 0); err != nil {
		return nil, 0, err
	}
	log.Info("group is ready", "run", run, "droplets", group.Count(),
		"max_instances", maxSize, "places", plan.String(), "ssh_key", keys.String())
	return &running{keys: keys, api: api, group: group, lock: lock}, maxSize, nil
}

// maxInstances returns the most Droplets of the group: as configured, or else
// the account's limit.
func maxInstances(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) (int, error) {
	limit, err := api.DropletLimit(ctx)
	switch {
	case errors.Is(err, instancegroup.ErrUnauthorized):
		return 0, err
	case c.MaxInstances > 0 && err != nil:
		log.Warn("the account's Droplet limit could not be read", "err", err)
	case c.MaxInstances > limit && limit > 0:
		log.Warn("max_instances is more than the account may have; creates beyond that will be refused",
			"max_instances", c.MaxInstances, "droplet_limit", limit)
	case c.MaxInstances == 0 && err != nil:
		return 0, fmt.Errorf("plugin_config.max_instances: must be set, since the account's Droplet limit could not be read: %w", err)
	case c.MaxInstances == 0 && limit <= 0:
		return 0, fmt.Errorf("plugin_config.max_instances: must be set, since the account's Droplet limit reads %d", limit)
	case c.MaxInstances == 0:
		return limit, nil
	}
	return c.MaxInstances, nil
}

// connectorConfig fills in what every Droplet has in common, and refuses what
// none can be.
func connectorConfig(c provider.ConnectorConfig) (provider.ConnectorConfig, error) {
	var faults []error
	if c.OS == "" {
		c.OS = "linux"
	} else if c.OS != "linux" {
		faults = append(faults, fmt.Errorf(`connector_config.os: Droplets run linux, not %q`, c.OS))
	}
	if c.Arch == "" {
		c.Arch = "amd64"
	}
	if c.Protocol == "" {
		c.Protocol = provider.ProtocolSSH
	} else if c.Protocol != provider.ProtocolSSH {
		faults = append(faults, fmt.Errorf(`connector_config.protocol: Droplets are reached by ssh, not %q`, c.Protocol))
	}
	if c.ProtocolPort == 0 {
		c.ProtocolPort = provider.DefaultProtocolPorts[provider.ProtocolSSH]
	} else if !provider.IsValidPort(c.ProtocolPort) {
		faults = append(faults, fmt.Errorf("connector_config.protocol_port: must be 1 to 65535, not %d", c.ProtocolPort))
	}
	if c.Username == "" {
		c.Username = "root"
	}
	// Newer runners fill these in themselves. Without them the connector gives
	// up at once, and its keepalive never pauses.
	if c.Keepalive == 0 {
		c.Keepalive = 30 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Minute
	}
	return c, errors.Join(faults...)
}

// Package provider is the plugin as GitLab Runner sees it: fleeting's
// InstanceGroup over a group of DigitalOcean Droplets. It speaks; what is to be
// done is decided in package instancegroup.
package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// InstanceGroup implements provider.InstanceGroup. The runner makes one per
// process: json.Unmarshal gives it plugin_config, Init comes first, the other
// methods follow in any order and from several goroutines, Shutdown is last.
type InstanceGroup struct {
	config     config.Config
	configured bool // UnmarshalJSON has been called

	// Set by Init, and not changed afterwards.
	log       hclog.Logger
	connector provider.ConnectorConfig
	keys      *credentials
	group     *instancegroup.Group
	lock      *hostLock

	shutdown    sync.Once
	shutdownErr error // written once, inside shutdown
}

var _ provider.InstanceGroup = (*InstanceGroup)(nil)

// The bounds of the calls that ask DigitalOcean anything. The runner gives Init
// and the first Updates a minute together; the first Update asks nothing.
const (
	initBound     = 36 * time.Second
	connectBound  = 9 * time.Second
	shutdownBound = 18 * time.Second
)

// UnmarshalJSON takes plugin_config, strictly: the default decoder would drop
// misspelt keys without a word.
func (g *InstanceGroup) UnmarshalJSON(data []byte) error {
	c, err := config.Parse(data, config.ThisHost())
	if err != nil {
		return err
	}
	g.config, g.configured = c, true
	return nil
}

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
	if g.group != nil {
		return provider.ProviderInfo{}, errors.New("Init was called twice in one process")
	}

	// What needs nobody else comes first: these faults are told at once.
	connector, err := connectorConfig(settings.ConnectorConfig)
	if err != nil {
		return provider.ProviderInfo{}, err
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
	group, maxSize, err := g.open(ctx, log, keys, lock)
	if err != nil {
		lock.noteRefusal(log)
		lock.release()
		return provider.ProviderInfo{}, g.explain(err)
	}
	lock.clearRefusal()
	g.log, g.connector, g.keys, g.group, g.lock = log, connector, keys, group, lock
	return provider.ProviderInfo{
		ID:        "digitalocean/" + g.config.Name,
		MaxSize:   maxSize,
		Version:   Version.String(),
		BuildInfo: Version.BuildInfo(),
	}, nil
}

// open does the part of Init that asks DigitalOcean.
func (g *InstanceGroup) open(ctx context.Context, log hclog.Logger, keys *credentials, lock *hostLock) (*instancegroup.Group, int, error) {
	api, err := digitalocean.New(digitalocean.Options{
		URL:       g.config.APIURL,
		UserAgent: "fleeting-plugin-digitalocean/" + Version.Version,
		Token: func() (string, error) {
			t, err := g.config.Token.Read()
			return t.Reveal(), err
		},
	})
	if err != nil {
		return nil, 0, err
	}
	maxSize, err := maxInstances(ctx, log, api, g.config)
	if err != nil {
		return nil, 0, err
	}
	offer, err := readCatalog(ctx, log, api, g.config)
	if err != nil {
		return nil, 0, err
	}
	plan, err := offer.plan(g.config)
	if err != nil {
		return nil, 0, err
	}
	for _, w := range plan.warnings {
		log.Warn(w, "group", g.config.Name)
	}
	if err := checkVPCs(ctx, log, api, g.config); err != nil {
		return nil, 0, err
	}

	run := instancegroup.NewSuffix()
	group := instancegroup.New(instancegroup.Settings{
		Name:       g.config.Name,
		Run:        run,
		DeadRuns:   lock.deadRuns(),
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
	if err := lock.begin(run); err != nil {
		log.Warn("could not note this run beside the lock", "group", g.config.Name, "err", err)
	}
	if err := keys.open(ctx, api, run, group.Count() == 0); err != nil {
		return nil, 0, err
	}
	log.Info("group is ready", "group", g.config.Name, "run", run, "droplets", group.Count(),
		"max_instances", maxSize, "places", plan.String(), "ssh_key", keys.String())
	return group, maxSize, nil
}

// maxInstances returns the most Droplets of the group: as configured, or else
// the account's limit.
func maxInstances(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) (int, error) {
	limit, err := api.DropletLimit(ctx)
	switch {
	case errors.Is(err, instancegroup.ErrUnauthorized):
		return 0, err
	case c.MaxInstances > 0 && err != nil:
		log.Warn("the account's Droplet limit could not be read", "group", c.Name, "err", err)
	case c.MaxInstances > limit && limit > 0:
		log.Warn("max_instances is more than the account may have; creates beyond that will be refused",
			"group", c.Name, "max_instances", c.MaxInstances, "droplet_limit", limit)
	case c.MaxInstances == 0 && err != nil:
		return 0, fmt.Errorf("plugin_config.max_instances: must be set, since the account's Droplet limit could not be read: %w", err)
	case c.MaxInstances == 0 && limit <= 0:
		return 0, fmt.Errorf("plugin_config.max_instances: must be set, since the account's Droplet limit reads %d", limit)
	case c.MaxInstances == 0:
		return limit, nil
	}
	return c.MaxInstances, nil
}

// explain adds to an error of DigitalOcean what its reader needs to mend it.
func (g *InstanceGroup) explain(err error) error {
	e, ok := errors.AsType[*instancegroup.CloudError](err)
	if ok && e.Class == instancegroup.ErrUnauthorized {
		return fmt.Errorf("DigitalOcean refused the token (%d %s) at %s. It came from %s: put a valid one there",
			e.Status, e.Message, e.Op, g.config.Token.Source)
	}
	if ok && e.Class == instancegroup.ErrForbidden {
		return fmt.Errorf("%w: the token from %s lacks a scope that this needs", err, g.config.Token.Source)
	}
	return err
}

// Update shows the runner every instance of the group.
func (g *InstanceGroup) Update(ctx context.Context, fn func(instance string, state provider.State)) error {
	if g.group == nil {
		return errNotInitialized
	}
	return g.group.Update(ctx, func(id string, s instancegroup.State) { fn(id, provider.State(s)) })
}

// Increase requests n more Droplets and returns how many were accepted. If any
// were, the error is nil: gRPC drops the count that comes with an error, and the
// runner would ask for them again.
func (g *InstanceGroup) Increase(ctx context.Context, n int) (int, error) {
	if g.group == nil {
		return 0, errNotInitialized
	}
	accepted, err := g.group.Increase(ctx, n)
	return accepted, g.explainNotNil(err)
}

// Decrease destroys instances and returns those that are on their way out.
func (g *InstanceGroup) Decrease(ctx context.Context, instances []string) ([]string, error) {
	if g.group == nil {
		return nil, errNotInitialized
	}
	succeeded, err := g.group.Decrease(ctx, instances)
	return succeeded, g.explainNotNil(err)
}

func (g *InstanceGroup) explainNotNil(err error) error {
	if err == nil {
		return nil
	}
	return g.explain(err)
}

// ConnectInfo tells how to reach an instance. It asks DigitalOcean nothing if a
// list has had the addresses, which is so for every instance shown as running.
func (g *InstanceGroup) ConnectInfo(ctx context.Context, instance string) (provider.ConnectInfo, error) {
	if g.group == nil {
		return provider.ConnectInfo{}, errNotInitialized
	}
	ctx, cancel := context.WithTimeout(ctx, connectBound)
	defer cancel()
	d, err := g.group.Droplet(ctx, instance)
	if err != nil {
		return provider.ConnectInfo{}, g.explain(err)
	}
	info := provider.ConnectInfo{
		ConnectorConfig: g.connector,
		ID:              instance,
		ExternalAddr:    d.External(),
		InternalAddr:    d.PrivateIPv4,
	}
	info.Key = g.keys.privateKey()
	return info, nil
}

// Heartbeat fails for an instance that is off, being destroyed or gone, by what
// the last list told. It asks nobody.
func (g *InstanceGroup) Heartbeat(_ context.Context, instance string) error {
	if g.group == nil {
		return errNotInitialized
	}
	if err := g.group.Health(instance); err != nil {
		return fmt.Errorf("%w: %w", provider.ErrInstanceUnhealthy, err)
	}
	return nil
}

// Suspend is not supported: a powered-off Droplet is billed in full.
func (g *InstanceGroup) Suspend(context.Context, []string) ([]string, error) {
	return nil, provider.ErrSuspendResumeNotSupported
}

// Resume is not supported either.
func (g *InstanceGroup) Resume(context.Context, []string) ([]string, error) {
	return nil, provider.ErrSuspendResumeNotSupported
}

// Shutdown sends what is owed to DigitalOcean: deletes, the key that Init made,
// the run's tag. It is safe to call more than once, and before Init.
func (g *InstanceGroup) Shutdown(ctx context.Context) error {
	if g.group == nil {
		return nil
	}
	g.shutdown.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, shutdownBound)
		defer cancel()
		clean := g.group.Shutdown(ctx)
		g.shutdownErr = g.keys.close(ctx)
		g.lock.close(clean)
	})
	return g.shutdownErr
}

var errNotInitialized = errors.New("the plugin has not been initialized")

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

package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/hostlock"
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
	lock, err := hostlock.Take(ctx, log, g.config.APIURL, g.config.Name)
	if err != nil {
		return provider.ProviderInfo{}, err
	}

	// The runner starts a plugin whose Init failed again every second.
	if err := lock.WaitAfterRefusal(ctx, log); err != nil {
		lock.Release()
		return provider.ProviderInfo{}, err
	}
	asked := time.Now()
	r, maxSize, err := g.open(ctx, log, keys, lock)
	if err != nil {
		if ctx.Err() == nil {
			lock.NoteRefusal(log, asked)
		} else {
			lock.ClearRefusal() // nobody refused: there was not enough time, of which a rest would take more
		}
		lock.Release()
		return provider.ProviderInfo{}, g.explain(err)
	}
	lock.ClearRefusal()
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
func (g *InstanceGroup) open(ctx context.Context, log hclog.Logger, keys *credentials, lock *hostlock.Lock) (_ *running, maxSize int, err error) {
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
	// Side by side: Init has half a minute, and each answer may take seconds.
	var plan catalog.Plan
	var surveyed error
	var survey sync.WaitGroup
	survey.Go(func() { plan, surveyed = catalog.Survey(ctx, log, api, g.config) })
	maxSize, err = catalog.MaxInstances(ctx, log, api, g.config)
	survey.Wait()
	if err = cmp.Or(err, surveyed); err != nil {
		return nil, 0, err
	}
	if maxSize, err = plan.Guard(log, g.config, maxSize); err != nil {
		return nil, 0, err
	}
	run := instancegroup.NewSuffix()
	group := instancegroup.New(instancegroup.Settings{
		Name:        g.config.Name,
		Run:         run,
		DeadRuns:    lock.DeadRuns(),
		Before:      lock.Before(),
		Note:        func(c instancegroup.Census) { lock.Note(log, c) },
		LetGo:       lock.LetGo(),
		NoteLetGo:   func(ids []int) { lock.NoteLetGo(log, ids) },
		TagLost:     lock.TagLost(),
		NoteTagLost: func(lost bool) { lock.NoteTagLost(log, lost) },
		NoteRests:   func(until map[instancegroup.Placement]time.Time) { lock.NoteRests(log, until) },
		Placements:  plan.Placements,
		Image:       instancegroup.Image(g.config.Image),
		ImageTag:    g.config.ImageTag,
		VPC:         g.config.VPC,
		Tags:        g.config.Tags,
		Project:     g.config.ProjectID,
		Template: instancegroup.Template{
			PublicNetworking: g.config.PublicNetworking,
			IPv6:             g.config.IPv6,
			Monitoring:       g.config.Monitoring,
			Backups:          g.config.Backups,
			WithDropletAgent: g.config.WithDropletAgent,
			UserData:         g.config.UserData,
		},
		GPUs:          plan.GPUs,
		MaxInstances:  maxSize,
		MaxCreating:   g.config.MaxCreating,
		CreateTimeout: g.config.CreateTimeout,
		Keys:          keys.ids,
	}, api, log)
	if err := group.Start(ctx); err != nil {
		return nil, 0, err
	}
	if plan.Fault != nil {
		if group.Count() == 0 {
			return nil, 0, plan.Fault
		}
		// A refusal would leave them to nobody, and billed.
		log.Error("no Droplet can be created as configured; the plugin starts all the same, for those that the group has",
			"droplets", group.Count(), "err", plan.Fault)
	}
	if err := lock.Begin(run); err != nil {
		log.Warn("could not note this run beside the lock", "err", err)
	}
	if err := keys.open(ctx, api, run, group.Count() == 0); err != nil {
		return nil, 0, err
	}
	log.Info("group is ready", "run", run, "droplets", group.Count(), "usd_per_hour", group.Hourly(),
		"leftover_keys_swept", keys.swept, "max_instances", maxSize, "places", plan.String(), "ssh_key", keys.String())
	return &running{keys: keys, api: api, group: group, lock: lock}, maxSize, nil
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

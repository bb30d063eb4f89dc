package provider

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// Init checks the configuration against the account, takes over the Droplets of earlier runs, and makes ready to create more.
// It makes at most an SSH key, and that last: no Shutdown follows an Init that failed.
func (g *InstanceGroup) Init(ctx context.Context, log hclog.Logger, settings provider.Settings) (provider.ProviderInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, initBound)
	defer cancel()
	if g.digest == "" {
		_ = g.UnmarshalJSON(nil) // whose faults come below
	}
	log = lines{log.With("group", g.config.Name)}

	connector, connectorErr := ConnectorConfig(settings.ConnectorConfig)
	keys, keyErr := loadCredentials(log, g.config, connector)
	faults := errors.Join(connectorErr, keyErr)
	if g.faults != nil {
		faults = errors.Join(faults, g.faults)
	}
	if g.faults.Has("token", "token_file", "api_url") {
		return provider.ProviderInfo{}, faults // nobody can be asked for more
	}
	warnIfReadable(log, g.config.Token.File) // "" = there is none
	// A name with a fault is "", which no group has.
	st, err := state.Open(ctx, log, g.config.APIURL, g.config.Name)
	if err != nil {
		return provider.ProviderInfo{}, errors.Join(faults, err)
	}
	r, err := g.start(ctx, log, keys, st, faults)
	if err != nil {
		st.Drop()
		return provider.ProviderInfo{}, err
	}
	if !connector.UseStaticCredentials || connector.Password == "" { // the runner prefers a key to a password
		connector.Key = keys.private
	}
	r.connector = connector
	g.running.Store(r)
	return provider.ProviderInfo{
		ID:        "digitalocean/" + g.config.Name,
		MaxSize:   r.group.MaxInstances,
		Version:   Version.String(),
		BuildInfo: Version.BuildInfo(),
	}, nil
}

// start is open, unless that was refused a moment ago: the runner starts a refused plugin every few seconds, under one mutex
// for all its runners.
func (g *InstanceGroup) start(ctx context.Context, log hclog.Logger, keys *credentials, st *state.State, faults error) (*running, error) {
	// With what a person may correct elsewhere than in plugin_config.
	token, _ := g.config.Token.Read()
	digest := fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, g.digest, token.Reveal(), faults)))[:16]
	if err := st.Refused(digest); err != nil {
		return nil, err
	}
	r, err := g.open(ctx, log, keys, st, faults)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // which says nothing of DigitalOcean
		st.Refuse(digest, err.Error(), faults != nil || !keys.unconfirmed)
	}
	return r, err
}

// open asks DigitalOcean everything at once, and then sees to the SSH key. What only DigitalOcean knows is told with faults of
// the configuration, or why it could not be found out.
func (g *InstanceGroup) open(ctx context.Context, log hclog.Logger, keys *credentials, st *state.State, faults error) (*running, error) {
	api, err := Client(g.config.APIURL, g.config.Token, g.transport)
	if err != nil {
		return nil, err
	}
	var (
		plan      catalog.Plan
		found     instancegroup.Found
		stale     []digitalocean.Key
		surveyErr error
		findErr   error
		wg        sync.WaitGroup
	)
	wg.Go(func() { plan, surveyErr = new(catalog.Reader).Survey(ctx, log, api, g.config, g.faults) })
	if faults == nil {
		gpus := slices.ContainsFunc(g.config.Sizes, instancegroup.GPUSize)
		wg.Go(func() { found, findErr = instancegroup.Find(ctx, api, log, g.config.Name, gpus, st.Droplets()) })
		wg.Go(func() { stale = keys.stale(ctx, api, st.DeadRuns()) })
	}
	wg.Wait()
	if faults != nil {
		return nil, errors.Join(faults, plan.Fault, surveyErr)
	}
	if err := cmp.Or(surveyErr, findErr); err != nil {
		return nil, err
	}
	if plan.MaxInstances == 0 {
		return nil, plan.Fault
	}
	if elsewhere := st.Elsewhere(plan.Account.UUID); len(elsewhere) > 0 {
		log.Error("the token is another account's than before: Droplets of this group stay on the other account, and are billed there",
			"droplets", len(elsewhere), "names", strings.Join(slices.Sorted(maps.Keys(elsewhere)), " "))
		found.Forget()
	} else if left := st.Droplets(); len(left) > 0 && !found.Remembers() && !st.On(plan.Account.UUID) {
		log.Warn("none of the Droplets that the last plugin process left is there: if the token is another account's than before, they stay "+
			"on the other account, and are billed there; with the scope account:read the plugin would know",
			"droplets", len(left), "names", strings.Join(slices.Sorted(maps.Keys(left)), " "))
	}
	run := instancegroup.NewRun()
	group := instancegroup.Start(instancegroup.Settings{
		Name:       g.config.Name,
		Run:        run,
		DeadRuns:   st.DeadRuns(),
		Save:       st.Save,
		Placements: plan.Placements,
		VPC:        g.config.VPC,
		Subnet:     g.config.Subnet,
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
		GPUs:          plan.GPUs,
		MaxInstances:  plan.MaxInstances,
		MaxCreating:   g.config.MaxCreating,
		CreateTimeout: g.config.CreateTimeout,
		Images:        images(log, api, g.config, plan.Images),
		Keys:          keys.ids,
	}, api, log, found)
	if plan.Fault != nil {
		if group.Count() == 0 {
			return nil, plan.Fault
		}
		// A refusal would leave them to nobody, and billed.
		log.Error("no Droplet can be created as configured; the plugin starts anyway, for the Droplets that the group has",
			"droplets", group.Count(), "err", plan.Fault)
	}
	st.Begin(run, plan.Account.UUID)
	if err := keys.open(ctx, api, run, stale); err != nil {
		return nil, err
	}
	log.Info("group is ready", "run", run, "droplets", group.Count(), "max_instances", plan.MaxInstances,
		"placements", plan.String(), "ssh_key", keys.String())
	return &running{keys: keys, api: api, group: group, state: st}, nil
}

// Client returns a client of the account that a token is of; a nil transport is the default. Its Close is the caller's to call.
func Client(url string, token config.Token, transport http.RoundTripper) (*digitalocean.Client, error) {
	return digitalocean.New(digitalocean.Options{
		URL:       url,
		UserAgent: "fleeting-plugin-digitalocean/" + Version.Version,
		Token: func() (string, error) {
			t, err := token.Read()
			return t.Reveal(), err
		},
		Source:    token.Source,
		Transport: transport,
	})
}

// ConnectorConfig fills in what every Droplet has in common, and refuses what
// none can be.
func ConnectorConfig(c provider.ConnectorConfig) (provider.ConnectorConfig, error) {
	c.OS = cmp.Or(c.OS, "linux")
	c.Arch = cmp.Or(c.Arch, "amd64")
	c.Protocol = cmp.Or(c.Protocol, provider.ProtocolSSH)
	c.ProtocolPort = cmp.Or(c.ProtocolPort, provider.DefaultProtocolPorts[provider.ProtocolSSH])
	c.Username = cmp.Or(c.Username, "root")
	// Newer runners set both. Without, the connector gives up at once, and its keepalive never pauses.
	c.Keepalive = cmp.Or(c.Keepalive, 30*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Minute)
	var faults []error
	if c.OS != "linux" {
		faults = append(faults, fmt.Errorf(`connector_config.os: Droplets run linux, not %q`, c.OS))
	}
	if c.Protocol != provider.ProtocolSSH {
		faults = append(faults, fmt.Errorf(`connector_config.protocol: Droplets are reached by ssh, not %q`, c.Protocol))
	}
	if !provider.IsValidPort(c.ProtocolPort) {
		faults = append(faults, fmt.Errorf("connector_config.protocol_port: must be 1 to 65535, not %d", c.ProtocolPort))
	}
	return c, errors.Join(faults...)
}

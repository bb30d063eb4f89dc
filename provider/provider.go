// Package provider is fleeting's InstanceGroup over a group of Droplets, as GitLab Runner
// sees it. What is to be done is decided in package instancegroup.
package provider

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// InstanceGroup implements provider.InstanceGroup. The runner makes one per
// process: json.Unmarshal gives it plugin_config, Init comes first, the other
// methods follow in any order and from several goroutines, Shutdown is last.
type InstanceGroup struct {
	config config.Config
	faults config.Faults // of plugin_config; Init tells of them, with those that only DigitalOcean knows
	digest string        // of plugin_config: a remembered refusal is of this one; "" before UnmarshalJSON

	transport http.RoundTripper // of tests; nil = the network

	running     atomic.Pointer[running] // nil before a successful Init
	shutdown    sync.Once
	shutdownErr error // written once, inside shutdown
}

// running is what Init makes. It is not changed afterwards.
type running struct {
	connector provider.ConnectorConfig
	keys      *credentials
	api       *digitalocean.Client
	group     *instancegroup.Group
	state     *state.State
}

var _ provider.InstanceGroup = (*InstanceGroup)(nil)

// The bounds of what asks DigitalOcean anything; the rest bounds itself. The runner gives
// Init and up to five first Updates a minute; the first of these takes at most 13 s.
// (TestSlowStart)
const (
	initBound     = 35 * time.Second
	shutdownBound = 18 * time.Second
)

// UnmarshalJSON takes plugin_config, strictly: the default decoder would drop
// misspelt keys without a word. Its faults are Init's to tell.
func (g *InstanceGroup) UnmarshalJSON(data []byte) error {
	c, err := config.Parse(data, config.ThisHost())
	g.faults, _ = errors.AsType[config.Faults](err)
	g.config = c
	g.digest = fmt.Sprintf("%x", sha256.Sum256(data))[:16]
	return nil
}

// Boot makes g, which has taken a plugin_config, the group of doctor --boot for it: of one
// Droplet, and with a key of its own, which is taken off the account again.
func (g *InstanceGroup) Boot() {
	g.config.Name = config.BootGroup(g.config.Name)
	g.config.MaxInstances, g.config.SSHKeyFile = 1, ""
}

// Update shows the runner every instance of the group.
func (g *InstanceGroup) Update(ctx context.Context, fn func(instance string, state provider.State)) error {
	r := g.running.Load()
	if r == nil {
		return errNotInitialized
	}
	return r.group.Update(ctx, func(id string, s instancegroup.State) { fn(id, provider.State(s)) })
}

// Increase requests n more Droplets and returns how many were accepted, with a nil error
// if any were: gRPC drops a count that comes with an error.
func (g *InstanceGroup) Increase(ctx context.Context, n int) (int, error) {
	r := g.running.Load()
	if r == nil {
		return 0, errNotInitialized
	}
	return r.group.Increase(ctx, n)
}

// Decrease deletes instances and returns those that are on their way out.
func (g *InstanceGroup) Decrease(ctx context.Context, instances []string) ([]string, error) {
	r := g.running.Load()
	if r == nil {
		return nil, errNotInitialized
	}
	return r.group.Decrease(ctx, instances)
}

// ConnectInfo returns how to reach an instance that is shown as running. It asks nobody.
func (g *InstanceGroup) ConnectInfo(_ context.Context, instance string) (provider.ConnectInfo, error) {
	r := g.running.Load()
	if r == nil {
		return provider.ConnectInfo{}, errNotInitialized
	}
	d, err := r.group.Droplet(instance)
	if err != nil {
		return provider.ConnectInfo{}, err
	}
	return provider.ConnectInfo{
		ConnectorConfig: r.connector,
		ID:              instance,
		ExternalAddr:    d.External(),
		InternalAddr:    d.PrivateIPv4,
	}, nil
}

// Heartbeat fails for an instance that is off, being deleted or gone, by what
// the last list showed. It asks nobody.
func (g *InstanceGroup) Heartbeat(_ context.Context, instance string) error {
	r := g.running.Load()
	if r == nil {
		return errNotInitialized
	}
	if err := r.group.Health(instance); err != nil {
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

// Shutdown sends the deletes that are owed, and deletes the key that Init made. It may be
// called more than once, at any time.
func (g *InstanceGroup) Shutdown(ctx context.Context) error {
	r := g.running.Load()
	if r == nil {
		return nil
	}
	g.shutdown.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, shutdownBound)
		defer cancel()
		// At once: Droplets whose deletes hang must not keep the key.
		var key sync.WaitGroup
		key.Go(func() { g.shutdownErr = r.keys.close(ctx) })
		r.group.Shutdown(ctx)
		key.Wait()
		r.api.Close()
		r.state.Drop()
	})
	return g.shutdownErr
}

var errNotInitialized = errors.New("the plugin has not been initialized")

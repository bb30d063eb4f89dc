// Package catalog says what can be created where and for how much: in which
// placements Droplets can be made, how many there may be, and what of a configuration
// DigitalOcean would refuse. Init and doctor go by this one list of checks.
package catalog

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Plan is what a configuration comes to on an account.
type Plan struct {
	Placements   []instancegroup.Placement // in the order in which they are tried
	GPUs         bool                      // a size of theirs is a GPU size
	MaxInstances int                       // the most Droplets of the group; 0 = with this Fault not even those that it has can be managed
	LimitedBy    string                    // what sets MaxInstances: "max_instances", "droplet_limit" or "max_hourly_cost"
	Dearest      *digitalocean.Size        // of the configured ones; nil = a price is not known
	Unfit        []Unfit                   // single placements
	Warnings     []Warning                 // of what does not keep the group from working
	Account      digitalocean.Account      // zero if it may not be read

	// Fault is everything that DigitalOcean would refuse, or that cannot be kept: joined
	// errors, each a text that stands alone and begins with its key where it is about one.
	Fault error

	Unread bool // the token may not read all that is on offer: sizes, regions and images were not checked

	Sizes  map[string]digitalocean.Size  // by slug
	Images map[string]digitalocean.Image // what Droplets boot, by configured region

	regions map[string]digitalocean.Region // by slug
}

// Unfit is a placement in which no Droplet can be made: never, or only not now.
type Unfit struct {
	instancegroup.Placement
	Never bool
	Why   string
}

// Warning is what may well make DigitalOcean refuse creates.
type Warning struct {
	Key  string // of plugin_config; "" = it is about the account
	What string
	Hint string // what to do
}

func (p Plan) String() string {
	s := make([]string, len(p.Placements))
	for i, at := range p.Placements {
		s[i] = at.String()
	}
	return strings.Join(s, ", ")
}

// Reader surveys the configurations of one account. It asks only once for what is the
// same for all of them. The zero value has asked nothing. Not for concurrent use.
type Reader struct {
	sizes   answer[[]digitalocean.Size]
	regions answer[[]digitalocean.Region]
	account answer[digitalocean.Account]
	tagRead answer[struct{}]
}

// answer is what a question was answered with.
type answer[T any] struct {
	value T
	err   error
	asked bool
}

// ask asks once: what failed would fail again.
func (a *answer[T]) ask(ctx context.Context, wg *sync.WaitGroup, question func(context.Context) (T, error)) {
	if a.asked {
		return
	}
	a.asked = true
	wg.Go(func() { a.value, a.err = question(ctx) })
}

// Account returns the account.
func (r *Reader) Account(ctx context.Context, api *digitalocean.Client) (digitalocean.Account, error) {
	var wg sync.WaitGroup
	r.account.ask(ctx, &wg, api.Account)
	wg.Wait()
	return r.account.value, r.account.err
}

// Survey asks DigitalOcean whether a configuration can work there, everything at once.
// What faults are about is not checked again. The error says that this could not be
// found out; that the configuration cannot work is the Plan's Fault.
func (r *Reader) Survey(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config, faults config.Faults) (Plan, error) {
	s := survey{Reader: r, log: log, config: c, faults: faults}
	s.ask(ctx, api)
	if err := s.unanswered(); err != nil {
		return Plan{}, err
	}
	s.check()
	s.logPlan()
	return s.plan, nil
}

// survey is about one configuration: what DigitalOcean answered, and what comes of it.
type survey struct {
	*Reader
	images answer[images]
	vpcs   []answer[string] // the region of the VPC, for each configured region
	keys   []error          // for each of ssh_keys

	log     hclog.Logger
	config  config.Config
	faults  config.Faults
	plan    Plan
	refused []error
}

type images struct {
	found []digitalocean.Image // the configured one, or those with the configured tag
	slugs []string             // of public images, if there is none by the configured slug
}

// ask asks all that a Plan needs, side by side.
func (s *survey) ask(ctx context.Context, api *digitalocean.Client) {
	c := s.config
	s.vpcs, s.keys = make([]answer[string], len(c.Regions)), make([]error, len(c.SSHKeys))
	var wg sync.WaitGroup // each writes what is its own
	s.sizes.ask(ctx, &wg, api.Sizes)
	s.regions.ask(ctx, &wg, api.Regions)
	s.account.ask(ctx, &wg, api.Account)
	s.tagRead.ask(ctx, &wg, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, api.CheckTagRead(ctx, instancegroup.CommonTag)
	})
	if !s.faults.Has("image", "image_tag") {
		s.images.ask(ctx, &wg, func(ctx context.Context) (images, error) { return findImages(ctx, api, c) })
	}
	for i, region := range c.Regions {
		if uuid := c.VPC[region]; uuid != "" {
			s.vpcs[i].ask(ctx, &wg, func(ctx context.Context) (string, error) { return api.VPCRegion(ctx, uuid) })
		}
	}
	for i, key := range c.SSHKeys {
		wg.Go(func() { s.keys[i] = api.HasKey(ctx, key) })
	}
	wg.Wait()
}

func findImages(ctx context.Context, api *digitalocean.Client, c config.Config) (images, error) {
	if c.ImageTag != "" {
		found, err := api.ImagesWithTag(ctx, c.ImageTag)
		return images{found: found}, err
	}
	image, err := api.Image(ctx, instancegroup.Image(c.Image).String())
	switch {
	case err == nil:
		return images{found: []digitalocean.Image{image}}, nil
	case !errors.Is(err, instancegroup.ErrNotFound):
		return images{}, err
	case c.Image.Slug == "":
		return images{}, nil
	}
	slugs, _ := api.PublicSlugs(ctx) // a help, worth one more request
	return images{slugs: slugs}, nil
}

// unanswered returns why it could not be found out whether the configuration can work.
// A missing scope is an answer. The account is asked for whatever max_instances says:
// without it nothing but Droplets would tell whether a later token is of the same one.
func (s *survey) unanswered() error {
	for _, err := range []error{s.sizes.err, s.regions.err, s.images.err, s.tagRead.err, s.account.err} {
		if err != nil && !errors.Is(err, instancegroup.ErrForbidden) {
			return err
		}
	}
	return nil
}

// Package catalog says what can be created where and for how much: in which placements Droplets can be made, how many there
// may be, and what of a configuration DigitalOcean would refuse. Init and doctor go by this one list of checks.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

	// Fault is everything that DigitalOcean would refuse, or that cannot be kept: joined errors, each a text that stands alone
	// and begins with its key where it is about one.
	Fault error

	Sizes  map[string]digitalocean.Size  // by slug
	Images map[string]digitalocean.Image // what Droplets boot, by configured region
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
	var s []string
	for _, at := range p.Placements {
		s = append(s, at.String())
	}
	return strings.Join(s, ", ")
}

// Reader surveys the configurations of one account. It asks only once for what is the same for all of them. The zero value
// has asked nothing. Not for concurrent use.
type Reader struct {
	sizes   Answer[[]digitalocean.Size]
	regions Answer[[]digitalocean.Region]
	account Answer[digitalocean.Account]
	tagRead Answer[struct{}]
}

// Answer is what a question was answered with. It is asked once: what failed would fail again.
type Answer[T any] struct {
	value T
	err   error
	asked bool
}

// Get returns the answer. The first asks for it.
func (a *Answer[T]) Get(ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	if !a.asked {
		a.asked = true
		a.value, a.err = question(ctx)
	}
	return a.value, a.err
}

// Account returns the account.
func (r *Reader) Account(ctx context.Context, api *digitalocean.Client) (digitalocean.Account, error) {
	return r.account.Get(ctx, api.Account)
}

// Survey asks DigitalOcean whether a configuration can work there, everything at once. What faults are about is not checked
// again. The error says that this could not be found out; that the configuration cannot work is the Plan's Fault.
func (r *Reader) Survey(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config, faults config.Faults) (Plan, error) {
	s := survey{Reader: r, log: log, config: c, faults: faults}
	s.ask(ctx, api)
	if err := s.unanswered(); err != nil {
		return Plan{}, err
	}
	s.check()
	s.logPlan()
	return s.Plan, nil
}

// survey is about one configuration: what DigitalOcean answered, and what comes of it.
type survey struct {
	*Reader
	images   []digitalocean.Image // the configured one, or those with the configured tag
	imageErr error
	slugs    []string // of public images, if there is none by the configured slug
	lookUps  []*lookUp

	log    hclog.Logger
	config config.Config
	faults config.Faults
	Plan
	listed  map[string]digitalocean.Region // by slug
	refused []error
}

// lookUp is of a VPC or an SSH key.
type lookUp struct {
	key, what string // vpc_uuid, VPC 5a49...
	wrong     string // "" = it is as it has to be
	err       error
}

// ask asks all that a Plan needs, side by side.
func (s *survey) ask(ctx context.Context, api *digitalocean.Client) {
	c := s.config
	var wg sync.WaitGroup // each writes what is its own
	wg.Go(func() { _, _ = s.sizes.Get(ctx, api.Sizes) })
	wg.Go(func() { _, _ = s.regions.Get(ctx, api.Regions) })
	wg.Go(func() { _, _ = s.account.Get(ctx, api.Account) })
	wg.Go(func() {
		_, _ = s.tagRead.Get(ctx, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, api.CheckTagRead(ctx, instancegroup.CommonTag)
		})
	})
	if !s.faults.Has("image", "image_tag") {
		wg.Go(func() { s.images, s.imageErr = s.findImages(ctx, api) })
	}
	for _, region := range c.Regions {
		if uuid := c.VPC[region]; uuid != "" {
			l := &lookUp{key: "vpc_uuid", what: "VPC " + uuid}
			s.lookUps = append(s.lookUps, l)
			wg.Go(func() {
				var at string
				if at, l.err = api.VPCRegion(ctx, uuid); at != region {
					l.wrong = fmt.Sprintf("it is in %s, not in %s", at, region)
				}
			})
		}
	}
	for _, key := range c.SSHKeys {
		l := &lookUp{key: "ssh_keys", what: "key " + key}
		s.lookUps = append(s.lookUps, l)
		wg.Go(func() { l.err = api.HasKey(ctx, key) })
	}
	wg.Wait()
}

func (s *survey) findImages(ctx context.Context, api *digitalocean.Client) ([]digitalocean.Image, error) {
	if s.config.ImageTag != "" {
		return api.ImagesWithTag(ctx, s.config.ImageTag)
	}
	image, err := api.Image(ctx, instancegroup.Image(s.config.Image).String())
	if errors.Is(err, instancegroup.ErrNotFound) {
		if s.config.Image.Slug != "" {
			s.slugs, _ = api.PublicSlugs(ctx) // a help, worth one more request
		}
		return nil, nil
	}
	return []digitalocean.Image{image}, err
}

// unanswered returns why the survey is incomplete. A 403 of tags or the account is an answer. The account is always needed: by
// it a later token is known to be of the same one.
func (s *survey) unanswered() error {
	err := cmp.Or(s.sizes.err, s.regions.err, s.imageErr)
	for _, optional := range []error{s.tagRead.err, s.account.err} {
		if !errors.Is(optional, instancegroup.ErrForbidden) {
			err = cmp.Or(err, optional)
		}
	}
	return err
}

// Package catalog says what can be created where and for how much: in which
// placements Droplets can be made, how many there may be, and what of a configuration
// DigitalOcean would refuse. Init and doctor go by this one list of checks.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Reader surveys the configurations of one account. It asks only once for what is the
// same for all of them. The zero value has asked nothing. Not for concurrent use.
type Reader struct{ common }

// common are the answers that are the same for all configurations of an account.
type common struct {
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
	o := r.ask(ctx, api, c, faults)
	if err := o.unanswered(c, faults); err != nil {
		return Plan{}, err
	}
	p := o.plan(c, faults)
	p.log(log, c)
	return p, nil
}

// offer is what DigitalOcean answered about one configuration.
type offer struct {
	common
	images answer[images]
	vpcs   []answer[string]   // the region of the VPC, for each configured region
	keys   []answer[struct{}] // for each of ssh_keys
}

type images struct {
	found []digitalocean.Image // the configured one, or those with the configured tag
	slugs []string             // of public images, if the configured one cannot be used
}

// ask asks all that a Plan needs, side by side.
func (r *Reader) ask(ctx context.Context, api *digitalocean.Client, c config.Config, faults config.Faults) offer {
	o := offer{vpcs: make([]answer[string], len(c.Regions)), keys: make([]answer[struct{}], len(c.SSHKeys))}
	var wg sync.WaitGroup // each writes what is its own
	r.sizes.ask(ctx, &wg, api.Sizes)
	r.regions.ask(ctx, &wg, api.Regions)
	r.account.ask(ctx, &wg, api.Account)
	r.tagRead.ask(ctx, &wg, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, api.CheckTagRead(ctx, instancegroup.CommonTag)
	})
	if !faults.Has("image", "image_tag") {
		o.images.ask(ctx, &wg, func(ctx context.Context) (images, error) { return findImages(ctx, api, c) })
	}
	for i, region := range c.Regions {
		if uuid := c.VPC[region]; uuid != "" {
			o.vpcs[i].ask(ctx, &wg, func(ctx context.Context) (string, error) { return api.VPCRegion(ctx, uuid) })
		}
	}
	for i, key := range c.SSHKeys {
		o.keys[i].ask(ctx, &wg, func(ctx context.Context) (struct{}, error) { return struct{}{}, api.HasKey(ctx, key) })
	}
	wg.Wait()
	o.common = r.common
	return o
}

func findImages(ctx context.Context, api *digitalocean.Client, c config.Config) (images, error) {
	if c.ImageTag != "" {
		found, err := api.ImagesWithTag(ctx, c.ImageTag)
		return images{found: found}, err
	}
	var out images
	image, err := api.Image(ctx, instancegroup.Image(c.Image).String())
	switch {
	case err == nil:
		out.found = []digitalocean.Image{image}
	case !errors.Is(err, instancegroup.ErrNotFound):
		return images{}, err
	}
	if c.Image.Slug != "" && (err != nil || withdrawn(image)) {
		out.slugs, _ = api.PublicSlugs(ctx) // a help, worth one more request
	}
	return out, nil
}

// unanswered returns why it could not be found out whether the configuration can work.
// A missing scope is an answer.
func (o *offer) unanswered(c config.Config, faults config.Faults) error {
	unless := func(err error, also bool) error {
		refused := errors.Is(err, instancegroup.ErrUnauthorized) || errors.Is(err, instancegroup.ErrOtherAccount)
		if !refused && (also || errors.Is(err, instancegroup.ErrForbidden)) {
			return nil
		}
		return err
	}
	err := unless(o.account.err, c.MaxInstances > 0 || faults.Has("max_instances"))
	if err != nil {
		err = fmt.Errorf("read the account, whose Droplet limit counts where plugin_config.max_instances is not set: %w", err)
	}
	return cmp.Or(unless(o.sizes.err, false), unless(o.regions.err, false), unless(o.images.err, false), unless(o.tagRead.err, false), err)
}

// catalogErr returns why the token may not read all of sizes, regions and images: then
// none of them is checked.
func (o *offer) catalogErr() error { return cmp.Or(o.sizes.err, o.regions.err, o.images.err) }

// size finds a size by its slug, or returns nil.
func (o *offer) size(slug string) *digitalocean.Size {
	for i := range o.sizes.value {
		if o.sizes.value[i].Slug == slug {
			return &o.sizes.value[i]
		}
	}
	return nil
}

// region finds a region by its slug, or returns nil.
func (o *offer) region(slug string) *digitalocean.Region {
	for i := range o.regions.value {
		if o.regions.value[i].Slug == slug {
			return &o.regions.value[i]
		}
	}
	return nil
}

// image returns the newest image that is in a region, or nil.
func (o *offer) image(region string) *digitalocean.Image {
	var newest *digitalocean.Image
	for i := range o.images.value.found {
		image := &o.images.value.found[i]
		if !slices.Contains(image.Regions, region) {
			continue
		}
		if newest == nil || cmp.Or(newest.Created.Compare(image.Created), cmp.Compare(newest.ID, image.ID)) < 0 {
			newest = image
		}
	}
	return newest
}

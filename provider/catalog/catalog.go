// Package catalog is what DigitalOcean offers a configuration: places to create
// Droplets in, their prices, and how many there may be.
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

// Reader makes several surveys, and reads only once what is the same for all: sizes and
// regions. The zero value has read nothing. Not for concurrent use.
type Reader struct {
	sizes   []digitalocean.Size
	regions []digitalocean.Region
	errs    [2]error
	read    bool
}

// Survey is the function of that name.
func (r *Reader) Survey(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config, _ config.Faults) (Plan, error) {
	var most int
	var mostErr error
	var wg sync.WaitGroup
	wg.Go(func() { most, mostErr = MaxInstances(ctx, log, api, c) })
	o, err := r.readCatalog(ctx, log, api, c)
	wg.Wait()
	if err := cmp.Or(err, mostErr); err != nil {
		return Plan{}, err
	}
	p := o.plan(c)
	for _, u := range p.Unfit {
		if p.Fault != nil {
			break // it tells of all of them
		}
		if u.Never {
			log.Warn("a place can never work and is left out", "size", u.Size, "region", u.Region, "why", u.Why)
		} else {
			log.Warn("a place cannot be had now; it is tried at its turn", "size", u.Size, "region", u.Region, "why", u.Why)
		}
	}
	p.Fault = errors.Join(p.Fault, checkVPCs(ctx, log, api, c), checkKeys(ctx, log, api, c))
	if p.MaxInstances, err = p.Guard(log, c, most); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// offer is what DigitalOcean offers the group at Init.
type offer struct {
	unread  bool // the token may not read it: nothing can be checked
	sizes   []digitalocean.Size
	regions []digitalocean.Region
	images  []digitalocean.Image // the configured one, or those with the configured tag
	slugs   []string             // of public images, if there is none of the configured name
}

// readCatalog reads what plan needs.
func (r *Reader) readCatalog(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) (offer, error) {
	var images offer
	var failed error
	var wg sync.WaitGroup // each writes what is its own
	if !r.read {
		r.read = true
		wg.Go(func() { r.sizes, r.errs[0] = api.Sizes(ctx) })
		wg.Go(func() { r.regions, r.errs[1] = api.Regions(ctx) })
	}
	wg.Go(func() { failed = images.readImages(ctx, api, c) })
	wg.Wait()
	if errors.Is(failed, instancegroup.ErrForbidden) && c.ImageTag != "" {
		return offer{}, failed // without the look-up there is nothing to boot
	}
	o := offer{sizes: r.sizes, regions: r.regions, images: images.images, slugs: images.slugs}
	err := cmp.Or(r.errs[0], r.errs[1], failed)
	if errors.Is(err, instancegroup.ErrForbidden) {
		// Creating Droplets needs these scopes too, so it may well fail; but
		// that is for DigitalOcean to say.
		log.Warn("the token may not read what DigitalOcean offers, so size, region and image are not checked", "err", err)
		return offer{unread: true}, nil
	}
	return o, err
}

func (o *offer) readImages(ctx context.Context, api *digitalocean.Client, c config.Config) (err error) {
	if c.ImageTag != "" {
		o.images, err = api.ImagesWithTag(ctx, c.ImageTag)
		return err
	}
	image, err := api.Image(ctx, instancegroup.Image(c.Image).String())
	switch {
	case err == nil:
		o.images = []digitalocean.Image{image}
	case !errors.Is(err, instancegroup.ErrNotFound):
		return err
	case c.Image.Slug != "":
		o.slugs, _ = api.PublicSlugs(ctx) // a help, worth one more request
	}
	return nil
}

// size finds a size by its slug, or returns nil.
func (o *offer) size(slug string) *digitalocean.Size {
	for i := range o.sizes {
		if o.sizes[i].Slug == slug {
			return &o.sizes[i]
		}
	}
	return nil
}

// region finds a region by its slug, or returns nil.
func (o *offer) region(slug string) *digitalocean.Region {
	for i := range o.regions {
		if o.regions[i].Slug == slug {
			return &o.regions[i]
		}
	}
	return nil
}

// image returns the newest image that is in a region, or nil.
func (o *offer) image(region string) *digitalocean.Image {
	var newest *digitalocean.Image
	for i := range o.images {
		image := &o.images[i]
		if !slices.Contains(image.Regions, region) {
			continue
		}
		if newest == nil || cmp.Or(newest.Created.Compare(image.Created), cmp.Compare(newest.ID, image.ID)) < 0 {
			newest = image
		}
	}
	return newest
}

// checkVPCs tells about VPCs that creates would be refused for.
func checkVPCs(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) error {
	var faults []error
	for _, region := range c.Regions {
		uuid := c.VPC[region]
		if uuid == "" {
			continue
		}
		in, err := api.VPCRegion(ctx, uuid)
		switch {
		case errors.Is(err, instancegroup.ErrNotFound):
			faults = append(faults, fmt.Errorf("plugin_config.vpc_uuid: the account has no VPC %s", uuid))
		case err != nil:
			log.Warn("could not look up the VPC", "vpc_uuid", uuid, "err", err)
		case in != region:
			faults = append(faults, fmt.Errorf("plugin_config.vpc_uuid: VPC %s is in %s, not in %s", uuid, in, region))
		}
	}
	return errors.Join(faults...)
}

// checkKeys tells about extra SSH keys that creates would be refused for.
func checkKeys(ctx context.Context, log hclog.Logger, api *digitalocean.Client, c config.Config) error {
	var faults []error
	for _, key := range c.SSHKeys {
		err := api.HasKey(ctx, key)
		switch {
		case errors.Is(err, instancegroup.ErrNotFound):
			faults = append(faults, fmt.Errorf("plugin_config.ssh_keys: the account has no key %s", key))
		case err != nil:
			log.Warn("could not look up an SSH key", "key", key, "err", err)
		}
	}
	return errors.Join(faults...)
}

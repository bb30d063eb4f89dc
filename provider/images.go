package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

const (
	// imagesEvery is how often the newest tagged image is looked up, so that a new
	// golden image rolls out without a restart.
	imagesEvery = 10 * time.Minute

	// imagesBound is how long that may take: the creates after it need time too.
	imagesBound = 4 * time.Second
)

// images are what Droplets boot: the configured image, or in each region the newest
// that has the tag image_tag. Not for concurrent use.
type images struct {
	log      hclog.Logger
	api      *digitalocean.Client
	config   config.Config
	byRegion map[string]instancegroup.Image
	at       time.Time // when they were looked up
}

// newImages goes by what Init saw.
func newImages(log hclog.Logger, api *digitalocean.Client, c config.Config, seen map[string]digitalocean.Image) *images {
	i := &images{log: log, api: api, config: c, byRegion: map[string]instancegroup.Image{}}
	for _, region := range c.Regions {
		i.byRegion[region] = instancegroup.Image(c.Image)
	}
	if c.ImageTag != "" {
		i.take(seen)
	}
	return i
}

func (i *images) take(newest map[string]digitalocean.Image) {
	i.at, i.byRegion = time.Now(), map[string]instancegroup.Image{}
	for region, image := range newest {
		i.byRegion[region] = instancegroup.Image{ID: image.ID}
	}
}

// get implements instancegroup.Settings.Images. That the newest cannot be looked up is
// an error only if there are none to go on with. (TestImageTag)
func (i *images) get(ctx context.Context, refused bool) (map[string]instancegroup.Image, error) {
	tag := i.config.ImageTag
	if tag == "" || time.Since(i.at) < imagesEvery && !refused {
		return i.byRegion, nil
	}
	ctx, cancel := context.WithTimeout(ctx, imagesBound)
	defer cancel()
	found, err := i.api.ImagesWithTag(ctx, tag)
	newest := catalog.Newest(found, i.config.Regions)
	if err == nil && len(newest) == 0 {
		err = fmt.Errorf("no private image with the tag %s is in a region of the group", tag)
	}
	switch {
	case err == nil:
		i.take(newest)
	case len(i.byRegion) == 0:
		return nil, fmt.Errorf("find the newest with the tag %s: %w", tag, err)
	default:
		i.log.Warn("could not look up the newest image; going on with the last", "tag", tag, "err", err)
		i.at = time.Now()
	}
	return i.byRegion, nil
}

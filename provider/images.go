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
	imagesEvery = 10 * time.Minute // a new golden image rolls out without a restart
	imagesBound = 4 * time.Second  // of the look-up: the creates after it need time too
)

// images returns Settings.Images: the configured image, or in each region the newest with image_tag. If it cannot be looked
// up the last one stands. (TestImageTag)
func images(log hclog.Logger, api *digitalocean.Client, c config.Config, newest map[string]digitalocean.Image,
) func(ctx context.Context, refused bool) (map[string]instancegroup.Image, error) {
	at := time.Now() // of the last look-up
	return func(ctx context.Context, refused bool) (map[string]instancegroup.Image, error) {
		byRegion := map[string]instancegroup.Image{}
		if c.ImageTag == "" {
			for _, region := range c.Regions {
				byRegion[region] = instancegroup.Image(c.Image)
			}
			return byRegion, nil
		}
		if refused || time.Since(at) >= imagesEvery {
			ctx, cancel := context.WithTimeout(ctx, imagesBound)
			defer cancel()
			found, err := api.ImagesWithTag(ctx, c.ImageTag)
			now := catalog.Newest(found, c.Regions)
			if err == nil && len(now) == 0 {
				err = fmt.Errorf("no private image with the tag %s is in a region of the group", c.ImageTag)
			}
			switch {
			case err == nil:
				newest = now
			case len(newest) == 0:
				return nil, fmt.Errorf("find the newest with the tag %s: %w", c.ImageTag, err)
			default:
				log.Warn("could not look up the newest image; going on with the last", "tag", c.ImageTag, "err", err)
			}
			at = time.Now()
		}
		for region, image := range newest {
			byRegion[region] = instancegroup.Image{ID: image.ID}
		}
		return byRegion, nil
	}
}

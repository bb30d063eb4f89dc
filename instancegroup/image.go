package instancegroup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// imagesEvery is how often the newest tagged image is looked up, so that a new
// golden image rolls out without a restart.
const imagesEvery = 10 * time.Minute

// imagesBound is how long that may take: the creates after it need time too.
const imagesBound = 4 * time.Second

// refreshImages looks up the newest images with ImageTag when that is due. A
// look-up that fails is an error only if there is no earlier one to go on with.
func (g *Group) refreshImages(ctx context.Context) error {
	if g.ImageTag == "" {
		return nil
	}
	g.mu.Lock()
	fresh := g.images != nil && time.Since(g.imagesAt) < imagesEvery
	g.mu.Unlock()
	if fresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, imagesBound)
	defer cancel()
	found, err := g.cloud.TaggedImages(ctx, g.ImageTag)
	var newest map[string]Image
	if err == nil {
		if newest = Newest(found, g.Placements); len(newest) == 0 {
			err = fmt.Errorf("no private image with the tag %s is in a region of the group", g.ImageTag)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		if g.images == nil {
			return err
		}
		g.imagesAt = time.Now()
		g.log.Warn("could not look up the newest image; going on with the last",
			"tag", g.ImageTag, "request_id", requestID(err), "err", err)
		return nil
	}
	for region, image := range newest {
		if g.images[region] != image {
			g.log.Info("image for new Droplets", "tag", g.ImageTag, "region", region, "image", image)
		}
	}
	g.images, g.imagesAt = newest, time.Now()
	return nil
}

// imageFor returns what a Droplet in region boots; the zero Image if the
// region has none.
func (g *Group) imageFor(region string) Image {
	if g.ImageTag == "" {
		return g.Image
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.images[region]
}

// Newest returns, for each region of the places, the newest of the images that
// are there.
func Newest(images []TaggedImage, places []Placement) map[string]Image {
	newest := map[string]Image{}
	byAge := slices.SortedFunc(slices.Values(images), func(a, b TaggedImage) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	for _, i := range byAge {
		for _, p := range places {
			if slices.Contains(i.Regions, p.Region) {
				newest[p.Region] = Image{ID: i.ID}
			}
		}
	}
	return newest
}

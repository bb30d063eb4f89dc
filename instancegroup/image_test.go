package instancegroup

import (
	"fmt"
	"testing"
	"time"
)

// The image of a tag is the newest in each region. It is looked up every ten
// minutes, and one that cannot be looked up does not stop anything.
func TestImageTag(t *testing.T) {
	image := func(id int64, regions ...string) TaggedImage {
		return TaggedImage{id, epoch.AddDate(0, 0, int(id)), regions} // by age as by id
	}
	s := in(regions("nyc1", "ams3")...)
	s.Image, s.ImageTag = Image{}, "golden"
	creates := func(r *runner, want int64, region string) {
		r.t.Helper()
		r.want(1)
		cs := r.received("create")
		last := cs[len(cs)-1]
		equal(r.t, "image and region", fmt.Sprint(want, region), fmt.Sprint(last.Image.ID, last.Region))
	}
	story(t, "rolls out", s, func(r *runner) {
		r.images = []TaggedImage{image(2, "nyc1"), image(1, "nyc1", "ams3"), image(3, "fra1")}
		creates(r, 2, "nyc1")
		r.images = append(r.images, image(4, "nyc1"))
		time.Sleep(9 * time.Minute)
		creates(r, 2, "nyc1")
		r.requests("images", 1)
		time.Sleep(time.Minute)
		creates(r, 4, "nyc1")
		r.requests("images", 2)
		r.script("create", fault{err: refusal(ErrRefused)})
		creates(r, 1, "ams3")
	})
	story(t, "the newest is deleted", s, func(r *runner) {
		r.images = []TaggedImage{image(1, "nyc1"), image(2, "nyc1")}
		creates(r, 2, "nyc1")
		r.images = r.images[:1]
		r.script("create", fault{err: refusal(ErrRefused)})
		r.refused(1) // the other region has none
		time.Sleep(5 * time.Second)
		creates(r, 1, "nyc1")
	})
	for name, f := range map[string]fault{"fails": {err: unconfirmed}, "hangs": {hang: true}} {
		story(t, "look-up "+name, s, func(r *runner) {
			r.images = []TaggedImage{image(1, "nyc1")}
			creates(r, 1, "nyc1")
			time.Sleep(10 * time.Minute)
			r.breakOp("images", f)
			r.within(5*time.Second, "two creates", func() { creates(r, 1, "nyc1"); creates(r, 1, "nyc1") })
			r.requests("images", 2)
			r.says("WARN", "going on with the last")
		})
	}
	story(t, "none at all, and none in one region", s, func(r *runner) {
		_, err := r.increase(1)
		equal(r.t, "error", "create Droplets: find the newest image with the tag golden: "+
			"no private image with the tag golden is in a region of the group; next attempt in 5s", fmt.Sprint(err))
		r.refused(1)
		r.requests("images", 1)
		r.images = []TaggedImage{image(1, "ams3")}
		time.Sleep(5 * time.Second)
		creates(r, 1, "ams3")
		r.requests("create", 1)
	})
}

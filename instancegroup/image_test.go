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
	tagged := func(t *testing.T, images []TaggedImage, f func(r *runner, creates func(want int64, region string))) {
		s := in(regions("nyc1", "ams3")...)
		s.Image, s.ImageTag = Image{}, "golden"
		scenario(t, s, func(r *runner) {
			r.images = images
			f(r, func(want int64, region string) {
				t.Helper()
				r.want(1)
				cs := r.received("create")
				if last := cs[len(cs)-1]; last.image != (Image{ID: want}) || last.place.Region != region {
					t.Errorf("created from image %s in %s, want %d in %s", last.image, last.place.Region, want, region)
				}
			})
		})
	}
	looks := func(r *runner, want int) {
		r.t.Helper()
		if n := len(r.received("images")); n != want {
			r.t.Errorf("%d look-ups, want %d", n, want)
		}
	}

	t.Run("rolls out", func(t *testing.T) {
		tagged(t, []TaggedImage{image(2, "nyc1"), image(1, "nyc1", "ams3"), image(3, "fra1")}, func(r *runner, creates func(int64, string)) {
			creates(2, "nyc1")
			r.images = append(r.images, image(4, "nyc1"))
			time.Sleep(9 * time.Minute)
			creates(2, "nyc1")
			looks(r, 1)
			time.Sleep(time.Minute)
			creates(4, "nyc1")
			looks(r, 2)
			r.says("image for new Droplets", "region=nyc1", "image=4")
			r.script("create", fault{err: refusal(ErrCapacity)})
			creates(1, "ams3")
			r.says("image for new Droplets", "region=ams3", "image=1") // and no second time
		})
	})
	for name, f := range map[string]fault{"fails": {err: unconfirmed}, "hangs": {hang: true}} {
		t.Run("look-up "+name, func(t *testing.T) {
			tagged(t, []TaggedImage{image(1, "nyc1")}, func(r *runner, creates func(int64, string)) {
				creates(1, "nyc1")
				time.Sleep(10 * time.Minute)
				r.breakOp("images", f)
				r.within(imagesBound+time.Second, "a create whose image cannot be looked up", func() { creates(1, "nyc1") })
				creates(1, "nyc1")
				looks(r, 2)
				r.says("WARN", "going on with the last")
			})
		})
	}
	t.Run("none at all", func(t *testing.T) {
		tagged(t, nil, func(r *runner, creates func(int64, string)) {
			_, err := r.increase(1)
			const want = "create 1 Droplets: find the newest image with the tag golden: no private image with the tag golden is in a region of the group; next attempt in 5s"
			if fmt.Sprint(err) != want {
				t.Errorf("error\n%v\nwant\n%s", err, want)
			}
			r.refused(1)
			looks(r, 1)
			r.images = []TaggedImage{image(1, "nyc1")}
			time.Sleep(5 * time.Second)
			creates(1, "nyc1")
		})
	})
	t.Run("none in one region", func(t *testing.T) {
		tagged(t, []TaggedImage{image(1, "ams3")}, func(r *runner, creates func(int64, string)) {
			creates(1, "ams3")
			if n := len(r.received("create")); n != 1 {
				t.Errorf("%d creates, want one, in ams3", n)
			}
		})
	})
}

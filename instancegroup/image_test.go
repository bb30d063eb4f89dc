package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestImages: a placement whose region has no image is passed over. After a refusal the
// next call says so, since the image may have been deleted.
func TestImages(t *testing.T) {
	s := in(regions("nyc1", "ams3")...)
	image, refusals, failure := map[string]Image{"nyc1": {ID: 1}}, []bool{}, error(nil)
	s.Images = func(_ context.Context, refused bool) (map[string]Image, error) {
		refusals = append(refusals, refused)
		return image, failure
	}
	scenario(t, s, func(r *runner) {
		r.want(1)
		image = map[string]Image{"ams3": {ID: 2}}
		r.want(1)
		last := r.received("create")[1]
		equal(t, "image and region", "2 ams3", fmt.Sprint(last.Image.ID, " ", last.Region))
		r.script("create", fault{err: refusal(ErrRefused)})
		r.refused(1)
		time.Sleep(5 * time.Second)
		r.want(1)
		r.want(1)
		equal(t, "told of a refusal", fmt.Sprint([]bool{false, false, false, true, false}), fmt.Sprint(refusals))
		failure = errors.New("no such image")
		_, err := r.increase(1)
		if err == nil || !strings.HasPrefix(err.Error(), "create Droplets: image for new Droplets: no such image; ") {
			t.Error(err)
		}
	})
}

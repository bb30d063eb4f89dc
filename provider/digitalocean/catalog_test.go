package digitalocean

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A size is a GPU size by its gpu_info or its slug; a price that is no number is
// unknown, and fails nothing.
func TestSizes(t *testing.T) {
	var sent int
	sizes, err := over(t, always(&sent, 200, `{"sizes":[{"slug":"s-1vcpu-1gb","regions":["nyc3"],"available":true,"disk":25,"price_hourly":0.5,"gpu_info":null},
		{"slug":"gpu-h100x1-80gb","gpu_info":{"count":1},"price_hourly":"3.39"},{"slug":"gpu-new","disk":"?"},{"slug":"h9-new","gpu_info":{"count":"?"}}]}`)).Sizes(t.Context())
	want := []Size{
		{Slug: "s-1vcpu-1gb", Regions: []string{"nyc3"}, Available: true, Disk: 25, PriceHourly: 0.5},
		{Slug: "gpu-h100x1-80gb", GPU: true}, {Slug: "gpu-new", GPU: true}, {Slug: "h9-new", GPU: true},
	}
	if diff := cmp.Diff(want, sizes); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// Contract sizes are in a region's sizes alone.
func TestRegions(t *testing.T) {
	var sent int
	regions, err := over(t, always(&sent, 200, `{"regions":[{"slug":"nyc3","available":true,"sizes":["gpu-h200x8-contracted"]}]}`)).Regions(t.Context())
	if diff := cmp.Diff([]Region{{"nyc3", true, []string{"gpu-h200x8-contracted"}}}, regions); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// A tag's answer has a whole Droplet in it, which is not read.
func TestTags(t *testing.T) {
	var sent int
	c := over(t, always(&sent, 200, `{"tags":[{"name":"fleeting","resources":{"count":3,"droplets":{"count":2,"last_tagged":{"id":"?"}}}},{"name":"x"}],
		"tag":{"resources":{"last_tagged":7,"droplets":[]}}}`))
	tags, err := c.Tags(t.Context())
	if diff := cmp.Diff([]Tag{{"fleeting", 3}, {"x", 0}}, tags); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if err := c.CheckTagRead(t.Context(), "fleeting"); err != nil {
		t.Error(err)
	}
	if err := c.TagDroplets(t.Context(), "fleeting", []int64{7}); err != nil {
		t.Error(err)
	}
}

func TestImage(t *testing.T) {
	var sent int
	image, err := over(t, always(&sent, 200, `{"image":{"id":5,"name":"golden","type":"custom","regions":["nyc3"],"min_disk_size":"20",
		"created_at":"2026-11-01T00:00:00Z","status":"deleted","error_message":"Too large.","size_gigabytes":"?"}}`)).Image(t.Context(), "5")
	want := Image{ID: 5, Name: "golden", Type: "custom", Regions: []string{"nyc3"}, Created: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		Status: "deleted", ErrorMessage: "Too large."}
	if diff := cmp.Diff(want, image); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// Only private images that carry the tag, in any case, and can be used.
func TestTaggedImages(t *testing.T) {
	c := over(t, answering(func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("tag_name") != "golden" {
			t.Errorf("asked for %s", r.URL)
		}
		return answer(200, `{"images":[{"id":1,"tags":["Golden"],"status":"available"},{"id":2,"status":""},{"id":3,"public":true},
			{"id":4,"tags":["other"]},{"id":5,"status":"pending"},{"id":0}]}`), nil
	}))
	images, err := c.TaggedImages(t.Context(), "golden")
	if err != nil || len(images) != 2 || images[0].ID != 1 || images[1].ID != 2 {
		t.Errorf("%+v, %v", images, err)
	}
}

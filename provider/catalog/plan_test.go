package catalog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// small is a small catalog.
func small() survey {
	o := survey{Reader: &Reader{}, log: hclog.NewNullLogger()}
	o.sizes = is([]digitalocean.Size{
		{Slug: "s-1vcpu-512mb-10gb", Regions: []string{"ams3", "fra1"}, Available: true, Disk: 10, PriceHourly: 0.006},
		{Slug: "s-1vcpu-1gb", Regions: []string{"ams3", "fra1", "nyc3"}, Available: true, Disk: 25, PriceHourly: 0.009},
		{Slug: "s-2vcpu-2gb", Regions: []string{"ams3", "fra1", "nyc3"}, Available: true, Disk: 60, PriceHourly: 0.027},
		{Slug: "c-2", Regions: []string{"fra1", "nyc3"}, Available: false, Disk: 25, PriceHourly: 0.0625},
		{Slug: "m-2vcpu-16gb", Regions: nil, Available: true, Disk: 50, PriceHourly: 0.125},
		{Slug: "gpu-h100x1-80gb", Regions: []string{"nyc3"}, Available: true, Disk: 720, PriceHourly: 3.39, GPU: true},
	})
	o.regions = is([]digitalocean.Region{
		{Slug: "ams2"}, {Slug: "ams3", Available: true}, {Slug: "fra1", Available: true},
		{Slug: "nyc3", Available: true, Sizes: []string{"gpu-h100x8-640gb-contracted"}},
	})
	o.images = is(images{found: []digitalocean.Image{{ID: 7, Slug: "docker-20-04", Regions: []string{"ams2", "fra1", "nyc3"}, MinDiskSize: 25}}})
	o.account = is(digitalocean.Account{DropletLimit: 25, Status: "active", EmailVerified: true})
	o.tagRead = is(struct{}{})
	return o
}

func is[T any](v T) answer[T]          { return answer[T]{value: v, asked: true} }
func fails[T any](err error) answer[T] { return answer[T]{err: err, asked: true} }

// planOf makes every check of a configuration.
func (s *survey) planOf(c config.Config) Plan {
	s.config = c
	s.makePlan()
	return s.plan
}

// failed is an answer that DigitalOcean gives.
func failed(op string, status int, class error) error {
	return &instancegroup.CloudError{Op: op, Status: status, Message: "No.", Class: class}
}

func forbidden(op string) error { return failed(op, 403, instancegroup.ErrForbidden) }

// A GPU size is one by its slug, too: DigitalOcean's answer may not say so, and a token
// may not read it at all. Without, the Droplets would be in no list that is asked for.
func TestGPUSizeBySlug(t *testing.T) {
	o := small()
	o.sizes.value[5].GPU = false
	for _, sizes := range []answer[[]digitalocean.Size]{o.sizes, fails[[]digitalocean.Size](forbidden("GET /v2/sizes"))} {
		o.sizes = sizes
		if p := o.planOf(config.Config{Sizes: []string{"gpu-h100x1-80gb"}, Regions: []string{"nyc3"}, Image: config.Image{ID: 7}}); !p.GPUs {
			t.Errorf("%v: %+v", sizes.err, p)
		}
	}
}

// TestPlan: which placements are tried, and the exact words for those that cannot be.
func TestPlan(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	tagged := func(o *survey) {
		o.images = is(images{found: []digitalocean.Image{
			{ID: 10, Regions: []string{"fra1", "nyc3"}, MinDiskSize: 10, Created: day(1)},
			{ID: 12, Regions: []string{"fra1"}, MinDiskSize: 60, Created: day(3)},
			{ID: 11, Regions: []string{"fra1"}, MinDiskSize: 25, Created: day(2)},
		}})
	}
	none := func(o *survey) {
		o.images = is(images{slugs: []string{"docker-20-04", "docker-22-04", "debian-13-x64"}})
	}

	for _, tt := range []struct {
		name           string
		sizes, regions string
		imageTag       string
		image          config.Image
		offer          func(*survey)
		placements     string
		unfit          []string
		fault          string
		gpus           bool
	}{
		{name: "all is well", sizes: "s-1vcpu-1gb", regions: "nyc3", placements: "s-1vcpu-1gb in nyc3"},
		{name: "sizes outside, regions inside", sizes: "s-2vcpu-2gb s-1vcpu-1gb", regions: "nyc3 fra1",
			placements: "s-2vcpu-2gb in nyc3, s-2vcpu-2gb in fra1, s-1vcpu-1gb in nyc3, s-1vcpu-1gb in fra1"},
		{name: "a GPU", sizes: "gpu-h100x1-80gb", regions: "nyc3", placements: "gpu-h100x1-80gb in nyc3", gpus: true},
		{name: "sold out at one of two placements", sizes: "c-2 s-1vcpu-1gb", regions: "nyc3",
			placements: "c-2 in nyc3, s-1vcpu-1gb in nyc3",
			unfit:      []string{"c-2 in nyc3 not now: the size is not on offer now"}},
		{name: "impossible at one of two placements", sizes: "s-1vcpu-1gb", regions: "ams3 fra1",
			placements: "s-1vcpu-1gb in fra1",
			unfit:      []string{"s-1vcpu-1gb in ams3 never: image docker-20-04 is not in ams3; it is in ams2, fra1, nyc3"}},

		{name: "unknown slugs", sizes: "s-1vcpu-2gb", regions: "nyc", image: config.Image{Slug: "docker"}, offer: none,
			placements: "s-1vcpu-2gb in nyc",
			fault: `plugin_config.region: DigitalOcean has no region "nyc"; did you mean "nyc3"?
plugin_config.size: DigitalOcean has no size "s-1vcpu-2gb"; did you mean "s-1vcpu-1gb" or "s-2vcpu-2gb"?
plugin_config.image: DigitalOcean has no image "docker"; did you mean "docker-20-04" or "docker-22-04"?`},
		{name: "nothing like it", sizes: "x", regions: "moon", image: config.Image{Slug: "plan-nine"}, offer: none,
			placements: "x in moon",
			fault: `plugin_config.region: DigitalOcean has no region "moon"
plugin_config.size: DigitalOcean has no size "x"
plugin_config.image: DigitalOcean has no image "plan-nine"`},
		{name: "no image of that id", sizes: "s-1vcpu-1gb", regions: "nyc3", image: config.Image{ID: 99}, offer: none,
			placements: "s-1vcpu-1gb in nyc3", fault: `plugin_config.image: the account has no image with the id 99`},
		{name: "no image with that tag", sizes: "s-1vcpu-1gb", regions: "nyc3", imageTag: "golden", offer: none,
			placements: "s-1vcpu-1gb in nyc3", fault: `plugin_config.image_tag: no private image on the account carries the tag "golden"`},

		{name: "the disk is too small", sizes: "s-1vcpu-512mb-10gb", regions: "fra1", placements: "s-1vcpu-512mb-10gb in fra1",
			fault: `plugin_config: no combination of size, region and image can work:
  s-1vcpu-512mb-10gb in fra1: image docker-20-04 needs a disk of 25 GiB, the size has 10
In fra1 these sizes would work: s-1vcpu-1gb, s-2vcpu-2gb`},
		{name: "only one of four placements is on offer", sizes: "s-1vcpu-512mb-10gb gpu-h100x1-80gb", regions: "fra1 ams2", gpus: true,
			offer:      func(o *survey) { o.images.value.found[0].MinDiskSize = 10 },
			placements: "s-1vcpu-512mb-10gb in fra1, s-1vcpu-512mb-10gb in ams2, gpu-h100x1-80gb in fra1, gpu-h100x1-80gb in ams2",
			unfit: []string{
				"s-1vcpu-512mb-10gb in ams2 not now: the region takes no new Droplets now",
				"gpu-h100x1-80gb in fra1 not now: the size is not on offer there now; it is in nyc3",
				"gpu-h100x1-80gb in ams2 not now: the region takes no new Droplets now",
			}},
		{name: "nothing is on offer", sizes: "m-2vcpu-16gb gpu-h100x1-80gb c-2", regions: "fra1 ams2", gpus: true,
			placements: "m-2vcpu-16gb in fra1, m-2vcpu-16gb in ams2, gpu-h100x1-80gb in fra1, gpu-h100x1-80gb in ams2, c-2 in fra1, c-2 in ams2",
			fault: `plugin_config: no combination of size, region and image can work:
  m-2vcpu-16gb in fra1: the size is not on offer there now; it is in no region
  m-2vcpu-16gb in ams2: the region takes no new Droplets now
  gpu-h100x1-80gb in fra1: the size is not on offer there now; it is in nyc3
  gpu-h100x1-80gb in ams2: the region takes no new Droplets now
  c-2 in fra1: the size is not on offer now
  c-2 in ams2: the region takes no new Droplets now
In fra1 these sizes would work: s-1vcpu-1gb, s-2vcpu-2gb
With the size gpu-h100x1-80gb these regions would work: nyc3`},

		{name: "the newest image of each region counts", sizes: "s-1vcpu-1gb s-2vcpu-2gb", regions: "nyc3 fra1 ams3", imageTag: "golden", offer: tagged,
			placements: "s-1vcpu-1gb in nyc3, s-1vcpu-1gb in ams3, s-2vcpu-2gb in nyc3, s-2vcpu-2gb in fra1, s-2vcpu-2gb in ams3",
			unfit: []string{
				"s-1vcpu-1gb in fra1 never: image 12 needs a disk of 60 GiB, the size has 25",
				"s-1vcpu-1gb in ams3 not now: no image with the tag golden is in ams3: transfer one there",
				"s-2vcpu-2gb in ams3 not now: no image with the tag golden is in ams3: transfer one there",
			}},
		{name: "nothing is known", sizes: "what gpu-h100x1-80gb", regions: "ever", offer: func(o *survey) { o.regions = fails[[]digitalocean.Region](forbidden("GET /v2/regions")) },
			placements: "what in ever, gpu-h100x1-80gb in ever", gpus: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := small()
			if tt.offer != nil {
				tt.offer(&o)
			}
			c := config.Config{Sizes: strings.Fields(tt.sizes), Regions: strings.Fields(tt.regions), Image: tt.image, ImageTag: tt.imageTag}
			if c.Image == (config.Image{}) && c.ImageTag == "" {
				c.Image.Slug = "docker-20-04"
			}
			p := o.planOf(c)
			fault := ""
			if p.Fault != nil {
				fault = p.Fault.Error()
			}
			if fault != tt.fault {
				t.Errorf("fault\n%s\nwant\n%s", fault, tt.fault)
			}
			if p.String() != tt.placements {
				t.Errorf("placements %s\nwant   %s", p, tt.placements)
			}
			if tt.fault == "" {
				var told []string
				for _, u := range p.Unfit {
					told = append(told, fmt.Sprintf("%s %s: %s", u.Placement, map[bool]string{true: "never", false: "not now"}[u.Never], u.Why))
				}
				if got, want := strings.Join(told, "\n"), strings.Join(tt.unfit, "\n"); got != want {
					t.Errorf("unfit\n%s\nwant\n%s", got, want)
				}
			}
			if p.GPUs != tt.gpus {
				t.Errorf("gpus %v, want %v", p.GPUs, tt.gpus)
			}
		})
	}
}

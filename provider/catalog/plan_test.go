package catalog

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// small is the survey of a sound configuration in a small catalog.
func small() survey {
	s := survey{Reader: &Reader{}, log: hclog.NewNullLogger()}
	s.sizes = is([]digitalocean.Size{
		{Slug: "s-1vcpu-512mb-10gb", Regions: []string{"ams3", "fra1"}, Available: true, Disk: 10, PriceHourly: 0.006},
		{Slug: "s-1vcpu-1gb", Regions: []string{"ams3", "fra1", "nyc3"}, Available: true, Disk: 25, PriceHourly: 0.009},
		{Slug: "s-2vcpu-2gb", Regions: []string{"ams3", "fra1", "nyc3"}, Available: true, Disk: 60, PriceHourly: 0.027},
		{Slug: "c-2", Regions: []string{"fra1", "nyc3"}, Available: false, Disk: 25, PriceHourly: 0.0625},
		{Slug: "m-2vcpu-16gb", Regions: nil, Available: true, Disk: 50, PriceHourly: 0.125},
		{Slug: "big-1", Regions: []string{"nyc3"}, Available: true, Disk: 720, PriceHourly: 3.39, GPUInfo: &godo.GPUInfo{}},
	})
	s.regions = is([]digitalocean.Region{
		{Slug: "ams2"}, {Slug: "ams3", Available: true}, {Slug: "fra1", Available: true},
		{Slug: "nyc3", Available: true, Sizes: []string{"own-1", "s-1vcpu-1gb", "s-2vcpu-2gb", "big-1", "gpu-1"}},
	})
	s.images = []digitalocean.Image{{ID: 7, Slug: "docker-20-04", Regions: []string{"ams2", "fra1", "nyc3"}, MinDiskSize: 25}}
	s.account = is(digitalocean.Account{DropletLimit: 25, Status: "active", EmailVerified: true})
	s.config = config.Config{Regions: []string{"fra1"}, Sizes: []string{"s-1vcpu-1gb"},
		Image: config.Image{Slug: "docker-20-04"}}
	return s
}

func is[T any](v T) Answer[T]          { return Answer[T]{value: v, asked: true} }
func fails[T any](err error) Answer[T] { return Answer[T]{err: err, asked: true} }

// failed is an answer that DigitalOcean gives.
func failed(op string, status int, class error) error {
	return &instancegroup.CloudError{Op: op, Status: status, Message: "No.", Class: class}
}

func forbidden(op string) error { return failed(op, 403, instancegroup.ErrForbidden) }

// The beginnings of lines of the log.
const (
	notNow  = "[WARN]  a placement is not available now; it stays in the list: "
	never   = "[WARN]  a placement can never work and is left out: "
	inForce = "[INFO]  max_hourly_cost is in force: max_instances in [runners.autoscaler] must not be higher than here: max_hourly_cost="
)

// TestPlan: which placements are tried, how many Droplets there may be, and the exact
// words of the error and of the log.
func TestPlan(t *testing.T) {
	day := func(n int) string { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC).Format(time.RFC3339) }
	at := func(sizes, regions string) func(*survey) {
		return func(s *survey) { s.config.Sizes, s.config.Regions = strings.Fields(sizes), strings.Fields(regions) }
	}
	image := func(change func(*digitalocean.Image)) func(*survey) {
		return func(s *survey) { change(&s.images[0]) }
	}
	missing := failed("GET", 404, instancegroup.ErrNotFound)

	for _, tt := range []struct {
		name       string
		change     func(*survey)
		placements string // not checked unless it is given
		gpus       bool
		most       int // 25, the account's limit, unless it is given; -1 = 0
		fault      string
		log        []string
	}{
		{name: "all is well", change: func(*survey) {}, placements: "s-1vcpu-1gb in fra1"},
		{name: "sizes outside, regions inside", change: at("s-2vcpu-2gb s-1vcpu-1gb", "nyc3 fra1"),
			placements: "s-2vcpu-2gb in nyc3, s-2vcpu-2gb in fra1, s-1vcpu-1gb in nyc3, s-1vcpu-1gb in fra1"},
		{name: "a GPU", change: at("big-1", "nyc3"), gpus: true},
		// Without, the Droplets would be in no list that is asked for.
		{name: "a GPU by its slug", change: func(s *survey) {
			at("gpu-1", "nyc3")(s)
			s.sizes.value[5].Slug, s.sizes.value[5].GPUInfo = "gpu-1", nil
		}, gpus: true},
		{name: "one of six is on offer", change: at("c-2 s-1vcpu-1gb s-1vcpu-512mb-10gb", "fra1 ams3"),
			placements: "c-2 in fra1, s-1vcpu-1gb in fra1",
			log: []string{
				notNow + `size=c-2 region=fra1 why="the size is not on offer now"`,
				never + `size=c-2 region=ams3 why="image docker-20-04 is not in ams3; it is in ams2, fra1, nyc3"`,
				never + `size=s-1vcpu-1gb region=ams3 why="image docker-20-04 is not in ams3; it is in ams2, fra1, nyc3"`,
				never + `size=s-1vcpu-512mb-10gb region=fra1 why="image docker-20-04 needs a disk of 25 GiB, the size has 10"`,
				never + `size=s-1vcpu-512mb-10gb region=ams3 why="image docker-20-04 is not in ams3; it is in ams2, fra1, nyc3"`,
			}},
		{name: "nothing is on offer", change: at("m-2vcpu-16gb big-1 c-2", "fra1 ams2"), gpus: true,
			placements: "m-2vcpu-16gb in fra1, m-2vcpu-16gb in ams2, big-1 in fra1, big-1 in ams2, c-2 in fra1, c-2 in ams2",
			fault: `plugin_config: no combination of size, region and image can work:
  m-2vcpu-16gb in fra1: the size is not on offer there now; it is in no region
  m-2vcpu-16gb in ams2: the region takes no new Droplets now
  big-1 in fra1: the size is not on offer there now; it is in nyc3
  big-1 in ams2: the region takes no new Droplets now
  c-2 in fra1: the size is not on offer now
  c-2 in ams2: the region takes no new Droplets now
doctl compute size list shows which sizes there are`},
		{name: "a size that the account may not use there", change: func(s *survey) {
			at("s-2vcpu-2gb", "nyc3")(s)
			s.regions.value[3].Sizes = []string{"s-1vcpu-1gb"}
		}, log: []string{`[WARN]  s-2vcpu-2gb in nyc3: DigitalOcean does not list the size among those that the account may use there, so creates may be refused: ` +
			`hint="take it out of the list, or ask DigitalOcean for it"`}},
		{name: "a contract size where the account may use it", change: at("own-1", "nyc3")},
		{name: "a contract size elsewhere", change: at("own-1 gpu-x-contracted", "ams2 fra1"), gpus: true, log: []string{
			`[WARN]  own-1 in fra1 is not known to be on offer: DigitalOcean lists contract sizes only for the regions in which the account may use them: hint="ask DigitalOcean where the contract holds"`,
			`[WARN]  gpu-x-contracted in fra1 is not known to be on offer: DigitalOcean lists contract sizes only for the regions in which the account may use them: hint="ask DigitalOcean where the contract holds"`,
			notNow + `size=own-1 region=ams2 why="the region takes no new Droplets now"`,
			notNow + `size=gpu-x-contracted region=ams2 why="the region takes no new Droplets now"`,
		}},

		{name: "unknown slugs", change: func(s *survey) {
			at("s-1vcpu-2gb x", "nyc moon")(s)
			s.config.Image.Slug = "docker"
			s.images, s.slugs = nil, []string{"docker-20-04", "docker-22-04", "debian-13-x64"}
		}, placements: "s-1vcpu-2gb in nyc, s-1vcpu-2gb in moon, x in nyc, x in moon",
			fault: `plugin_config.region: DigitalOcean has no region "nyc"; did you mean "nyc3"?
plugin_config.region: DigitalOcean has no region "moon"
plugin_config.size: DigitalOcean has no size "s-1vcpu-2gb"; did you mean "s-1vcpu-1gb" or "s-2vcpu-2gb"?
plugin_config.size: DigitalOcean has no size "x"
plugin_config.image: DigitalOcean has no image "docker"; did you mean "docker-20-04" or "docker-22-04"?`},
		{name: "no image of that id", change: func(s *survey) {
			s.config.Image, s.images = config.Image{ID: 99}, nil
		}, fault: `plugin_config.image: the account has no image with the id 99`},
		{name: "no image with that tag", change: func(s *survey) {
			s.config.Image, s.config.ImageTag, s.images = config.Image{}, "golden", nil
		}, fault: `plugin_config.image_tag: no private image of the account that is available carries the tag "golden"`},
		{name: "the newest image of each region counts", change: func(s *survey) {
			at("s-1vcpu-1gb s-2vcpu-2gb", "nyc3 fra1 ams3")(s)
			s.config.Image, s.config.ImageTag, s.config.IPv6 = config.Image{}, "golden", true
			s.images = []digitalocean.Image{
				{ID: 10, Regions: []string{"fra1", "nyc3"}, MinDiskSize: 10, Created: day(1)},
				{ID: 12, Regions: []string{"fra1"}, MinDiskSize: 60, Created: day(3)},
				{ID: 11, Regions: []string{"fra1"}, MinDiskSize: 25, Created: day(3), Type: "custom", Status: "deleted"},
			}
		}, placements: "s-1vcpu-1gb in nyc3, s-1vcpu-1gb in ams3, s-2vcpu-2gb in nyc3, s-2vcpu-2gb in fra1, s-2vcpu-2gb in ams3",
			log: []string{
				never + `size=s-1vcpu-1gb region=fra1 why="image 12 needs a disk of 60 GiB, the size has 25"`,
				notNow + `size=s-1vcpu-1gb region=ams3 why="no image with the tag golden is in ams3: transfer one there"`,
				notNow + `size=s-2vcpu-2gb region=ams3 why="no image with the tag golden is in ams3: transfer one there"`,
			}},
		{name: "an available image", change: image(func(i *digitalocean.Image) { i.Status, i.Type = "available", "custom" })},
		{name: "a deleted image", change: image(func(i *digitalocean.Image) {
			i.ID, i.Slug, i.Status, i.ErrorMessage = 12, "", "deleted", "import failed\n[disk]"
		}), fault: `plugin_config.image: image 12 has the status "deleted", "import failed\n[disk]": no Droplet can be made of it; choose another`},
		{name: "a retired image", change: func(s *survey) {
			s.images[0].Status = "retired"
		}, fault: `plugin_config.image: image docker-20-04 has the status "retired": no Droplet can be made of it; choose another`},
		{name: "a custom image with features, where no size fits", change: func(s *survey) {
			s.config.IPv6, s.config.Monitoring, s.config.Sizes = true, true, []string{"m-2vcpu-16gb"}
			s.images[0].Type = "custom"
		}, fault: `plugin_config: no combination of size, region and image can work:
  m-2vcpu-16gb in fra1: the size is not on offer there now; it is in no region
doctl compute size list shows which sizes there are
plugin_config.ipv6: image docker-20-04 is a custom image, for which DigitalOcean does not support ipv6; set ipv6 = false, or choose another image
plugin_config.monitoring: image docker-20-04 is a custom image, for which DigitalOcean does not support monitoring; set monitoring = false, or choose another image`},
		{name: "VPCs and SSH keys", change: func(s *survey) {
			at("s-1vcpu-1gb", "fra1 nyc3 ams2")(s)
			s.lookUps = []*lookUp{{key: "vpc_uuid", what: "VPC 1", err: missing}, {key: "vpc_uuid", what: "VPC 2", wrong: "it is in fra1, not in nyc3"},
				{key: "ssh_keys", what: "key 1"}, {key: "ssh_keys", what: "key 2", err: missing},
				{key: "ssh_keys", what: "key 3", wrong: "no", err: failed("GET /v2/account/keys/{id}", 500, instancegroup.ErrUnconfirmed)}}
		}, fault: `plugin_config.vpc_uuid: the account has no VPC 1
plugin_config.vpc_uuid: VPC 2: it is in fra1, not in nyc3
plugin_config.ssh_keys: the account has no key 2`,
			log: []string{
				`[WARN]  could not look up a VPC or an SSH key: which="key 3" err="GET /v2/account/keys/{id}: 500 No."`,
			}},
		{name: "what may be refused", change: func(s *survey) {
			s.images[0].Status, s.images[0].Name = "pending", "ci golden"
			s.account.value.Status, s.account.value.StatusMessage, s.account.value.EmailVerified = "locked", "Please contact\nsupport", false
			s.config.MaxInstances = 26
		}, most: 26, log: []string{
			`[WARN]  DigitalOcean has given the account the status "locked", "Please contact\nsupport": creates may be refused: hint="look at https://cloud.digitalocean.com, or ask DigitalOcean's support"`,
			`[WARN]  the account's e-mail address is not verified: DigitalOcean may refuse creates: hint="follow the link in DigitalOcean's mail; https://cloud.digitalocean.com/account/profile sends another"`,
			`[WARN]  image docker-20-04 ("ci golden") has the status "pending": it cannot be used yet, and creates will be refused until it is available: hint="wait for it, or choose another"`,
			`[WARN]  max_instances is 26, and the account's Droplet limit 25: creates beyond that will be refused: hint="lower it, or ask DigitalOcean for a higher limit (Settings, Team)"`,
		}},
		{name: "a limit that may not be read", change: func(s *survey) {
			s.account = fails[digitalocean.Account](forbidden("GET /v2/account"))
		}, most: -1,
			fault: "plugin_config.max_instances: must be set, since the account's Droplet limit is not known (the scope account:read shows it)",
			log:   []string{`[WARN]  the account could not be read, so its status and its Droplet limit are not checked: err="GET /v2/account: 403 No."`}},
		{name: "an account that could not be read, and need not be", change: func(s *survey) {
			s.config.MaxInstances = 7
			s.account = fails[digitalocean.Account](forbidden("GET /v2/account"))
		}, most: 7, log: []string{`[WARN]  the account could not be read, so its status and its Droplet limit are not checked: err="GET /v2/account: 403 No."`}},

		{name: "max_hourly_cost is the lower", change: func(s *survey) { s.config.MaxHourlyCost = 0.18 }, most: 20,
			log: []string{inForce + "0.18 most_expensive_size=s-1vcpu-1gb usd_per_hour=0.009 max_instances=20 limited_by=max_hourly_cost"}},
		{name: "the account's limit is the lower", change: func(s *survey) { s.config.MaxHourlyCost = 3 },
			log: []string{inForce + "3 most_expensive_size=s-1vcpu-1gb usd_per_hour=0.009 max_instances=25 limited_by=droplet_limit"}},
		{name: "three times the price", change: func(s *survey) { s.sizes.value[1].PriceHourly, s.config.MaxHourlyCost = 0.1, 0.3 }, most: 3,
			log: []string{inForce + "0.3 most_expensive_size=s-1vcpu-1gb usd_per_hour=0.1 max_instances=3 limited_by=max_hourly_cost"}},
		{name: "the dearest size counts", change: func(s *survey) {
			s.config.Sizes, s.config.MaxInstances, s.config.MaxHourlyCost = []string{"s-1vcpu-1gb", "s-2vcpu-2gb"}, 4, 0.11
		}, most: 4, log: []string{inForce + "0.11 most_expensive_size=s-2vcpu-2gb usd_per_hour=0.027 max_instances=4 limited_by=max_instances"}},
		{name: "less than one Droplet costs", change: func(s *survey) { s.config.MaxHourlyCost = 0.008 }, most: -1,
			fault: "plugin_config.max_hourly_cost: 0.008 USD an hour is less than one Droplet of size s-1vcpu-1gb costs, 0.009"},
		{name: "a contract size has no price", change: func(s *survey) {
			at("s-1vcpu-1gb own-1", "nyc3")(s)
			s.config.MaxHourlyCost = 50
		}, most: -1, fault: "plugin_config.max_hourly_cost: DigitalOcean tells no price of size own-1, so it cannot be kept; " +
			"take the size out of plugin_config.size, or remove the key and limit max_instances"},
		{name: "everything at once", change: func(s *survey) {
			at("x", "moon")(s)
			s.config.MaxHourlyCost = 1
			s.images = nil
			s.lookUps = []*lookUp{{key: "ssh_keys", what: "key 2", err: missing}}
			s.account.value.DropletLimit = 0
			s.tagRead = fails[struct{}](forbidden("GET /v2/tags/{tag}"))
		}, most: -1, fault: `plugin_config.region: DigitalOcean has no region "moon"
plugin_config.size: DigitalOcean has no size "x"
plugin_config.image: DigitalOcean has no image "docker-20-04"
plugin_config.ssh_keys: the account has no key 2
plugin_config.max_instances: must be set, since the account's Droplet limit is not known (the scope account:read shows it)
the plugin finds its Droplets by their tags, which it may not read: GET /v2/tags/{tag}: 403 No.`},
		{name: "what has a fault already", change: func(s *survey) {
			s.faults = config.Faults{{Key: "size"}, {Key: "image"}, {Key: "max_instances"}}
			s.config.Sizes, s.config.Image, s.config.MaxHourlyCost = nil, config.Image{}, 1
			s.config.Regions = append(s.config.Regions, "moon")
			s.images = nil
			s.account.value.DropletLimit = 0
		}, fault: `plugin_config.region: DigitalOcean has no region "moon"`, most: -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := small()
			var log bytes.Buffer
			s.log = hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})
			tt.change(&s)
			if err := s.unanswered(); err != nil {
				t.Fatal(err)
			}
			s.check()
			s.logPlan()
			fault := ""
			if s.Fault != nil {
				fault = s.Fault.Error()
			}
			if diff := cmp.Diff(tt.fault, fault); diff != "" {
				t.Errorf("fault, expected (-) and found (+):\n%s", diff)
			}
			if diff := cmp.Diff(tt.log, slices.Collect(strings.Lines(log.String())), cmp.Transformer("", strings.TrimSpace)); diff != "" {
				t.Errorf("log, expected (-) and found (+):\n%s", diff)
			}
			if got := s.String(); tt.placements != "" && got != tt.placements {
				t.Errorf("placements %s\nwant   %s", got, tt.placements)
			}
			most := map[int]int{0: 25, -1: 0}
			if want, special := most[tt.most]; special {
				tt.most = want
			}
			if s.MaxInstances != tt.most || s.GPUs != tt.gpus {
				t.Errorf("at most %d Droplets, want %d; GPUs %t, want %t", s.MaxInstances, tt.most, s.GPUs, tt.gpus)
			}
		})
	}
}

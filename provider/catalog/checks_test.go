package catalog

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// inForce is the log line of max_hourly_cost.
func inForce(rest string) string {
	return "[INFO]  max_hourly_cost is in force; max_instances in [runners.autoscaler] must not be more than its max_instances: max_hourly_cost=" + rest
}

// TestChecks: what is found beyond placements, in the exact words of the error and of
// the log, and how many Droplets that allows.
func TestChecks(t *testing.T) {
	image := func(change func(*digitalocean.Image)) func(*config.Config, *survey) {
		return func(_ *config.Config, o *survey) { change(&o.images.value.found[0]) }
	}
	const vpc = "5a4981aa-9653-4bd1-bef5-d6bff52042e4"

	for _, tt := range []struct {
		name   string
		change func(*config.Config, *survey)
		faults config.Faults
		fault  string
		log    []string
		most   int // 25, the account's limit, unless it is given; -1 = 0
	}{
		{name: "all is well", change: func(*config.Config, *survey) {}},

		{name: "a contract size where the account may use it", change: func(c *config.Config, _ *survey) {
			c.Sizes, c.Regions = []string{"gpu-h100x8-640gb-contracted"}, []string{"nyc3"}
		}},
		{name: "a size that only a region lists", change: func(c *config.Config, o *survey) {
			c.Sizes, o.regions.value[2].Sizes = []string{"own-1"}, []string{"own-1"} // of fra1
		}},
		{name: "a contract size elsewhere", change: func(c *config.Config, _ *survey) {
			c.Sizes = []string{"gpu-mi300x1-192gb-contracted"}
		}, log: []string{`[WARN]  gpu-mi300x1-192gb-contracted in fra1 is not known to be on offer: DigitalOcean lists contract sizes only for the regions in which the account may use them: hint="ask DigitalOcean where the contract holds"`}},
		{name: "a contract size in a region without new Droplets", change: func(c *config.Config, _ *survey) {
			c.Sizes, c.Regions = []string{"gpu-mi300x1-192gb-contracted"}, []string{"ams2", "nyc3"}
		}, log: []string{
			`[WARN]  gpu-mi300x1-192gb-contracted in nyc3 is not known to be on offer: DigitalOcean lists contract sizes only for the regions in which the account may use them: hint="ask DigitalOcean where the contract holds"`,
			`[WARN]  a placement cannot be had now; it is tried at its turn: size=gpu-mi300x1-192gb-contracted region=ams2 why="the region takes no new Droplets now"`,
		}},
		{name: "max_hourly_cost and a contract size", change: func(c *config.Config, _ *survey) {
			c.Sizes, c.Regions, c.MaxHourlyCost = []string{"s-1vcpu-1gb", "gpu-h100x8-640gb-contracted"}, []string{"nyc3"}, 50
		}, fault: "plugin_config.max_hourly_cost: DigitalOcean tells no price of size gpu-h100x8-640gb-contracted, so it cannot be kept; " +
			"take the size out of plugin_config.size, or remove the key and limit max_instances"},

		{name: "a pending image", change: image(func(i *digitalocean.Image) { i.Status, i.Name = "pending", "ci golden" }),
			log: []string{`[WARN]  image docker-20-04 ("ci golden") has the status "pending": it cannot be used yet, and creates will be refused until it is available: hint="wait for it, or choose another"`}},
		{name: "a new image", change: image(func(i *digitalocean.Image) { i.Status = "NEW" }),
			log: []string{`[WARN]  image docker-20-04 has the status "NEW": it cannot be used yet, and creates will be refused until it is available: hint="wait for it, or choose another"`}},
		{name: "an available image", change: image(func(i *digitalocean.Image) { i.Status = "available" })},
		{name: "a deleted image", change: image(func(i *digitalocean.Image) {
			i.ID, i.Slug, i.Status, i.ErrorMessage = 12, "", "deleted", "import failed\n[disk]"
		}), fault: `plugin_config.image: image 12 has the status "deleted", "import failed\n[disk]": no Droplet can be made of it; choose another`},
		{name: "a retired image", change: func(_ *config.Config, o *survey) {
			o.images.value.slugs = []string{"docker-22-04", "docker-20-04"}
			o.images.value.found[0].Status = "retired"
		}, fault: `plugin_config.image: image docker-20-04 has the status "retired": no Droplet can be made of it; choose another; did you mean "docker-22-04"?`},
		{name: "a custom image", change: image(func(i *digitalocean.Image) { i.Type = "custom" })},
		{name: "a custom image with features", change: func(c *config.Config, o *survey) {
			c.IPv6, c.Monitoring, c.Sizes = true, true, []string{"m-2vcpu-16gb"}
			o.images.value.found[0].Type = "custom"
		}, fault: `plugin_config: no combination of size, region and image can work:
  m-2vcpu-16gb in fra1: the size is not on offer there now; it is in no region
In fra1 these sizes would work: s-1vcpu-1gb, s-2vcpu-2gb
plugin_config.ipv6: image docker-20-04 is a custom image, for which DigitalOcean does not support ipv6; set ipv6 = false, or choose another image
plugin_config.monitoring: image docker-20-04 is a custom image, for which DigitalOcean does not support monitoring; set monitoring = false, or choose another image`},
		{name: "a custom image that is not the newest with the tag", change: func(c *config.Config, o *survey) {
			c.ImageTag, c.IPv6 = "golden", true
			o.images.value.found = append(o.images.value.found, digitalocean.Image{ID: 6, Type: "custom", Regions: []string{"fra1"}})
		}},
		{name: "a custom image by its tag", change: func(c *config.Config, o *survey) {
			c.ImageTag, c.IPv6 = "golden", true
			o.images.value.found = append(o.images.value.found, digitalocean.Image{ID: 8, Type: "custom", Regions: []string{"fra1"}})
		}, fault: `plugin_config.ipv6: image 8 is a custom image, for which DigitalOcean does not support ipv6; set ipv6 = false, or choose another image`},
		{name: "images that may not be read", change: func(_ *config.Config, o *survey) { o.images = fails[images](forbidden("GET /v2/images/{id}")) },
			log: []string{`[WARN]  the token may not read what DigitalOcean offers, so size, region and image are not checked: err="GET /v2/images/{id}: 403 No.: the token from the environment lacks a scope that this needs, image:read"`}},
		{name: "tagged images that may not be read", change: func(c *config.Config, o *survey) {
			c.ImageTag = "golden"
			o.images = fails[images](forbidden("GET /v2/images"))
		}, fault: "plugin_config.image_tag: images could not be looked up: GET /v2/images: 403 No.: the token from the environment lacks a scope that this needs, image:read",
			log: []string{`[WARN]  the token may not read what DigitalOcean offers, so size, region and image are not checked: err="GET /v2/images: 403 No.: the token from the environment lacks a scope that this needs, image:read"`}},

		{name: "no such VPC", change: func(c *config.Config, o *survey) {
			c.VPC, o.vpcs = map[string]string{"fra1": vpc}, []answer[string]{fails[string](failed("GET /v2/vpcs/{id}", 404, instancegroup.ErrNotFound))}
		}, fault: "plugin_config.vpc_uuid: the account has no VPC " + vpc},
		{name: "a VPC elsewhere", change: func(c *config.Config, o *survey) {
			c.VPC, o.vpcs = map[string]string{"fra1": vpc}, []answer[string]{is("nyc3")}
		}, fault: "plugin_config.vpc_uuid: VPC " + vpc + " is in nyc3, not in fra1"},
		{name: "a VPC that may not be read", change: func(c *config.Config, o *survey) {
			c.VPC, o.vpcs = map[string]string{"fra1": vpc}, []answer[string]{fails[string](forbidden("GET /v2/vpcs/{id}"))}
		}, log: []string{`[WARN]  could not look up the VPC: vpc_uuid=` + vpc + ` err="GET /v2/vpcs/{id}: 403 No.: the token from the environment lacks a scope that this needs, vpc:read"`}},
		{name: "SSH keys", change: func(c *config.Config, o *survey) {
			c.SSHKeys = []string{"1", "2", "3"}
			o.keys = []error{nil, failed("GET /v2/account/keys/{id}", 404, instancegroup.ErrNotFound),
				failed("GET /v2/account/keys/{id}", 500, instancegroup.ErrUnconfirmed)}
		}, fault: "plugin_config.ssh_keys: the account has no key 2", log: []string{`[WARN]  could not look up an SSH key: key=3 err="GET /v2/account/keys/{id}: 500 No."`}},

		{name: "max_instances", change: func(c *config.Config, _ *survey) { c.MaxInstances = 25 }},
		{name: "more than the account may have", change: func(c *config.Config, _ *survey) { c.MaxInstances = 26 }, most: 26,
			log: []string{`[WARN]  max_instances is 26, and the account's Droplet limit 25: creates beyond that will be refused: hint="lower it, or ask DigitalOcean for a higher limit (Settings, Team)"`}},
		{name: "a limit that may not be read", change: func(_ *config.Config, o *survey) {
			o.account = fails[digitalocean.Account](forbidden("GET /v2/account"))
		},
			fault: "plugin_config.max_instances: must be set, since the account's Droplet limit could not be read: GET /v2/account: 403 No.: the token from the environment lacks a scope that this needs, account:read",
			log:   []string{`[WARN]  the account could not be read, so its status and its Droplet limit are not checked: err="GET /v2/account: 403 No.: the token from the environment lacks a scope that this needs, account:read"`}},
		{name: "a limit of 0", change: func(_ *config.Config, o *survey) { o.account.value.DropletLimit = 0 },
			fault: "plugin_config.max_instances: must be set, since the account's Droplet limit reads 0"},
		{name: "an account that could not be read, and need not be", change: func(c *config.Config, o *survey) {
			c.MaxInstances = 7
			o.account = fails[digitalocean.Account](failed("GET /v2/account", 500, instancegroup.ErrUnconfirmed))
		}, most: 7, log: []string{`[WARN]  the account could not be read, so its status and its Droplet limit are not checked: err="GET /v2/account: 500 No."`}},

		{name: "max_hourly_cost is the lower", change: func(c *config.Config, _ *survey) { c.MaxHourlyCost = 0.18 }, most: 20,
			log: []string{inForce("0.18 dearest_size=s-1vcpu-1gb usd_per_hour=0.009 max_instances=20 limited_by=max_hourly_cost")}},
		{name: "the account's limit is the lower", change: func(c *config.Config, _ *survey) { c.MaxHourlyCost = 3 },
			log: []string{inForce("3 dearest_size=s-1vcpu-1gb usd_per_hour=0.009 max_instances=25 limited_by=droplet_limit")}},
		{name: "three times the price", change: func(c *config.Config, o *survey) {
			o.sizes.value[1].PriceHourly, c.MaxHourlyCost = 0.1, 0.3
		}, most: 3, log: []string{inForce("0.3 dearest_size=s-1vcpu-1gb usd_per_hour=0.1 max_instances=3 limited_by=max_hourly_cost")}},
		{name: "the dearest size counts", change: func(c *config.Config, _ *survey) {
			c.Sizes, c.MaxInstances, c.MaxHourlyCost = []string{"s-1vcpu-1gb", "s-2vcpu-2gb"}, 4, 0.11
		}, most: 4, log: []string{inForce("0.11 dearest_size=s-2vcpu-2gb usd_per_hour=0.027 max_instances=4 limited_by=max_instances")}},
		{name: "less than one Droplet costs", change: func(c *config.Config, _ *survey) { c.MaxHourlyCost = 0.008 },
			fault: "plugin_config.max_hourly_cost: 0.008 USD an hour is less than one Droplet of size s-1vcpu-1gb costs, 0.009"},
		{name: "prices that may not be read", change: func(c *config.Config, o *survey) {
			c.MaxHourlyCost, o.sizes = 1, fails[[]digitalocean.Size](forbidden("GET /v2/sizes"))
		}, fault: "plugin_config.max_hourly_cost: DigitalOcean's prices could not be read, so it cannot be kept; give the token the scope sizes:read, or remove the key and limit max_instances",
			log: []string{`[WARN]  the token may not read what DigitalOcean offers, so size, region and image are not checked: err="GET /v2/sizes: 403 No.: the token from the environment lacks one or more of the scopes that this needs: sizes:read, regions:read"`}},
		{name: "prices that may be read, regions that may not", change: func(c *config.Config, o *survey) {
			c.MaxHourlyCost, o.regions = 0.009, fails[[]digitalocean.Region](forbidden("GET /v2/regions"))
		}, most: 1, log: []string{
			`[WARN]  the token may not read what DigitalOcean offers, so size, region and image are not checked: err="GET /v2/regions: 403 No.: the token from the environment lacks a scope that this needs, regions:read"`,
			inForce("0.009 dearest_size=s-1vcpu-1gb usd_per_hour=0.009 max_instances=1 limited_by=max_hourly_cost"),
		}},
		{name: "an unchecked size without a price", change: func(c *config.Config, o *survey) {
			c.MaxHourlyCost, c.Sizes, o.regions = 1, []string{"s-9"}, fails[[]digitalocean.Region](forbidden("GET /v2/regions"))
		}, fault: "plugin_config.max_hourly_cost: DigitalOcean tells no price of size s-9, so it cannot be kept; take the size out of plugin_config.size, or remove the key and limit max_instances",
			log: []string{`[WARN]  the token may not read what DigitalOcean offers, so size, region and image are not checked: err="GET /v2/regions: 403 No.: the token from the environment lacks a scope that this needs, regions:read"`}},

		{name: "the account", change: func(_ *config.Config, o *survey) {
			o.account.value.Status, o.account.value.StatusMessage, o.account.value.EmailVerified = "locked", "Please contact\nsupport", false
		}, log: []string{
			`[WARN]  DigitalOcean has given the account the status "locked", "Please contact\nsupport": creates may be refused: hint="look at https://cloud.digitalocean.com, or ask DigitalOcean's support"`,
			`[WARN]  the account's e-mail address is not verified: DigitalOcean may refuse creates: hint="follow the link in DigitalOcean's mail; https://cloud.digitalocean.com/account/profile sends another"`,
		}},
		{name: "no tag:read", change: func(_ *config.Config, o *survey) { o.tagRead = fails[struct{}](forbidden("GET /v2/tags/{tag}")) },
			fault: "the plugin finds its Droplets by their tags, which it may not read: GET /v2/tags/{tag}: 403 No.: the token from the environment lacks a scope that this needs, tag:read"},

		{name: "everything at once", change: func(c *config.Config, o *survey) {
			c.Regions, c.Sizes, c.VPC, c.SSHKeys = []string{"moon"}, []string{"x"}, map[string]string{"moon": vpc}, []string{"2"}
			c.MaxHourlyCost = 1
			o.images.value.found = nil
			o.vpcs, o.keys = []answer[string]{is("nyc3")}, []error{failed("GET /v2/account/keys/{id}", 404, instancegroup.ErrNotFound)}
			o.account.value.DropletLimit = 0
			o.tagRead = fails[struct{}](forbidden("GET /v2/tags/{tag}"))
		}, fault: `plugin_config.region: DigitalOcean has no region "moon"
plugin_config.size: DigitalOcean has no size "x"
plugin_config.image: DigitalOcean has no image "docker-20-04"
plugin_config.vpc_uuid: VPC ` + vpc + ` is in nyc3, not in moon
plugin_config.ssh_keys: the account has no key 2
plugin_config.max_instances: must be set, since the account's Droplet limit reads 0
the plugin finds its Droplets by their tags, which it may not read: GET /v2/tags/{tag}: 403 No.: the token from the environment lacks a scope that this needs, tag:read`},
		{name: "what has a fault already", faults: config.Faults{{Key: "size"}, {Key: "image"}, {Key: "max_instances"}}, change: func(c *config.Config, o *survey) {
			c.Sizes, c.Image, c.MaxHourlyCost = nil, config.Image{}, 1
			c.Regions = append(c.Regions, "moon")
			o.images = answer[images]{}
			o.account.value.DropletLimit = 0
		}, fault: `plugin_config.region: DigitalOcean has no region "moon"`, most: -1},
		{name: "nothing but what has a fault already", faults: config.Faults{{Key: "size"}, {Key: "max_instances"}}, most: -1, change: func(c *config.Config, _ *survey) {
			c.Sizes, c.MaxHourlyCost = nil, 1
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := small()
			c := config.Config{Token: config.Token{Source: "the environment"}, Regions: []string{"fra1"}, Sizes: []string{"s-1vcpu-1gb"},
				Image: config.Image{Slug: "docker-20-04"}}
			tt.change(&c, &o)
			var log bytes.Buffer
			o.log = hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})
			o.config, o.faults = c, tt.faults
			if err := o.unanswered(); err != nil {
				t.Fatal(err)
			}
			p := o.planOf(c)
			o.logPlan()
			fault := ""
			if p.Fault != nil {
				fault = p.Fault.Error()
			}
			if diff := cmp.Diff(tt.fault, fault); diff != "" {
				t.Errorf("fault, expected (-) and found (+):\n%s", diff)
			}
			if got, want := strings.TrimSuffix(log.String(), "\n"), strings.Join(tt.log, "\n"); got != want {
				t.Errorf("log\n%s\nwant\n%s", got, want)
			}
			most := tt.most
			switch {
			case strings.Contains(tt.fault, "plugin_config.max_") || strings.Contains(tt.fault, "tag:read") || most < 0:
				most = 0 // what the group has could not be managed either
			case most == 0:
				most = 25
			}
			if p.MaxInstances != most {
				t.Errorf("at most %d Droplets, want %d", p.MaxInstances, most)
			}
		})
	}
}

// What could not be found out is an error, unless it need not be known.
func TestUnanswered(t *testing.T) {
	outage := failed("GET", 500, instancegroup.ErrUnconfirmed)
	refused := failed("GET", 401, instancegroup.ErrUnauthorized)
	for name, breaks := range map[string]func(*survey, error){
		"sizes":   func(o *survey, err error) { o.sizes.err = err },
		"regions": func(o *survey, err error) { o.regions.err = err },
		"images":  func(o *survey, err error) { o.images.err = err },
		"tags":    func(o *survey, err error) { o.tagRead.err = err },
		"account": func(o *survey, err error) { o.account.err = err },
	} {
		for err, want := range map[error]bool{outage: true, forbidden("GET"): false, refused: true} {
			o := small()
			breaks(&o, err)
			if got := o.unanswered(); errors.Is(got, err) != want || (got != nil) != want {
				t.Errorf("%s, %v: %v", name, err, got)
			}
		}
	}
	o := small()
	for err, want := range map[error]bool{outage: false, refused: true} {
		o.account.err = err
		o.config, o.faults = config.Config{MaxInstances: 3}, nil
		if got := o.unanswered(); (got != nil) != want {
			t.Errorf("with max_instances, %v: %v", err, got)
		}
		o.config, o.faults = config.Config{}, config.Faults{{Key: "max_instances"}}
		if got := o.unanswered(); (got != nil) != want {
			t.Errorf("with a fault in max_instances, %v: %v", err, got)
		}
	}
}

package doctor

import (
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// fault makes every request for op fail with status.
func fault(op string, status int) func(*dosim.Sim, *Subject) {
	return func(sim *dosim.Sim, _ *Subject) { sim.Inject(dosim.Fault{Op: op, Status: status, Times: -1}) }
}

// fleet makes Droplets of a group.
func fleet(group string, names ...string) func(*dosim.Sim, *Subject) {
	return func(sim *dosim.Sim, _ *Subject) {
		for _, name := range names {
			sim.AddDroplet(dosim.Droplet{Name: name, Tags: []string{"fleeting", "fleeting-group:" + group}})
		}
	}
}

const somePublic = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

// TestLive breaks one thing after the other on the account, and pins what is found
// beyond what is found without. Nothing is ever changed there.
func TestLive(t *testing.T) {
	examine := func(t *testing.T, changes []change, prepare func(*dosim.Sim, *Subject)) ([]Finding, *Cost) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		text := sound
		for _, c := range changes {
			changed := strings.Replace(text, c.old, c.new, 1)
			if changed == text {
				t.Fatalf("%q is not there", c.old)
			}
			text = changed
		}
		s := subject(t, text)
		if prepare != nil {
			prepare(sim, &s)
		}
		before := len(sim.Droplets()) + len(sim.Keys()) + len(sim.Tags())
		api, err := digitalocean.New(digitalocean.Options{
			URL: "https://api.digitalocean.com", Transport: sim.Transport(),
			Token: func() (string, error) { return dosim.DefaultToken, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		found, cost := Examine(t.Context(), api, s)
		if after := len(sim.Droplets()) + len(sim.Keys()) + len(sim.Tags()); after != before || len(sim.Violations()) > 0 {
			t.Errorf("%d things on the account, then %d, and %v", before, after, sim.Violations())
		}
		for _, r := range sim.Requests() {
			if r.Method != http.MethodGet && r.Status < 400 {
				t.Errorf("%s %s was carried out", r.Method, r.Path)
			}
		}
		live := slices.DeleteFunc(found, func(f Finding) bool {
			i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == f.Check })
			return !checks[i].Live && f.Check != "max-instances"
		})
		return live, cost
	}

	found, cost := examine(t, nil, nil)
	basis := written(found)
	want := []string{
		"token ok GET /v2/account: DigitalOcean accepts the token from plugin_config.token",
		"scopes ok scopes: the token has the 14 scopes that this group needs, as far as the answers to reads and to empty requests tell",
		"placements ok 20: s-2vcpu-4gb in fra1: 0.03571 USD an hour, 80 GiB disk",
		"placements ok 20: s-2vcpu-4gb in nyc3: 0.03571 USD an hour, 80 GiB disk",
		"placements ok 20: s-4vcpu-8gb in fra1: 0.07143 USD an hour, 160 GiB disk",
		"placements ok 20: s-4vcpu-8gb in nyc3: 0.07143 USD an hour, 160 GiB disk",
		"image ok 21: image docker-20-04 (Docker on Ubuntu 22.04) has Docker, by its name",
		"quota ok GET /v2/account: the account may have 100 Droplets, and has 0 that are not this group's",
		"leftovers ok tag fleeting-group:ci: nothing is left over",
		"requests ok ratelimit-remaining: 4969 of the token's 5000 requests of this hour are left",
		"cost ok 27: idle: 41.59 USD a month: 3 Droplets for 50 h, 1 Droplet for 118 h of a week, s-2vcpu-4gb at 0.03571 USD an hour",
		"cost ok 10: at worst: 0.7143 USD an hour: 10 Droplets of the size s-4vcpu-8gb",
		"cost note 16: guard: none but max_instances; a dearer size would raise the bill without a word | max_hourly_cost = 0.72",
	}
	if diff := cmp.Diff(want, basis); diff != "" {
		t.Errorf("of a sound account, expected (-) and found (+):\n%s", diff)
	}
	if diff := cmp.Diff(&Cost{
		Idle: []Idle{{50, 3}, {118, 1}}, IdleSize: "s-2vcpu-4gb", IdleUSDPerHour: 0.03571, IdleUSDPerMonth: 41.59,
		MaxInstances: 10, DearestSize: "s-4vcpu-8gb", WorstUSDPerHour: 0.7143,
	}, cost); diff != "" {
		t.Error(diff)
	}

	shown := map[string]bool{}
	for _, tt := range []struct {
		name    string
		changes []change
		prepare func(*dosim.Sim, *Subject)
		want    []string
		only    bool // nothing of what is found on a sound account
	}{
		{"a token that is refused", nil, func(sim *dosim.Sim, _ *Subject) { sim.SetToken("another") }, []string{
			"token fault GET /v2/account: DigitalOcean refused the token from plugin_config.token: GET /v2/account: 401 Unable to authenticate you (request id 00000001-4e9d-4000-8000-000000000001) | make a new token in DigitalOcean's console (API, Generate New Token), and put it there",
		}, true},
		{"no network", nil, func(sim *dosim.Sim, s *Subject) {
			s.Account.APIURL = "https://api.digitalocean.com"
			sim.Inject(dosim.Fault{Op: "*", Refused: true, Times: -1})
		}, []string{
			"token fault GET /v2/account: https://api.digitalocean.com cannot be reached from here: GET /v2/account: dial tcp: connect: connection refused | look at HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and api_url",
		}, true},
		{"an outage", nil, fault("GET /v2/account", 503), []string{
			"token fault GET /v2/account: https://api.digitalocean.com does not answer as it should: GET /v2/account: 503 Service is not available. (request id 00000003-4e9d-4000-8000-000000000003) | try again in a minute; https://status.digitalocean.com shows outages",
		}, true},
		{"too many requests", nil, fault("GET /v2/account", 429), []string{
			"token fault GET /v2/account: the token's requests are spent, so nothing more was asked: GET /v2/account: 429 API rate limit exceeded. (request id 00000001-4e9d-4000-8000-000000000001) | the token's requests are spent, by this or by others; try again in a minute",
		}, true},

		{"an account with troubles", nil, func(sim *dosim.Sim, _ *Subject) {
			sim.SetAccount(func(a *dosim.Account) {
				a.Status, a.StatusMessage, a.EmailVerified = "warning", "Your card has expired.", false
			})
		}, []string{
			`account warning GET /v2/account: DigitalOcean has given the account the status "warning", "Your card has expired.": creates may be refused | look at https://cloud.digitalocean.com, or ask DigitalOcean's support`,
			"account warning GET /v2/account: the account's e-mail address is not verified: DigitalOcean may refuse creates | follow the link in DigitalOcean's mail; https://cloud.digitalocean.com/account/profile sends another",
		}, false},

		{"droplet:delete", nil, fault("DELETE /v2/droplets/{id}", 403), []string{
			"scopes fault DELETE /v2/droplets/0: the token lacks droplet:delete: no Droplet can be destroyed: each is billed until a person does it | give the token the scope droplet:delete",
		}, false},
		{"droplet:create", nil, fault("POST /v2/droplets", 403), []string{
			"scopes fault POST /v2/droplets: the token lacks droplet:create: no Droplet can be made | give the token the scope droplet:create",
		}, false},
		{"an unclear scope", nil, fault("POST /v2/tags", 500), []string{
			"scopes note scopes: not answered clearly, so not known: tag:create (POST /v2/tags: 500 Server was unable to give you a response. (request id 00000005-4e9d-4000-8000-000000000005))",
		}, false},
		{"the scopes of what is asked for", []change{{`name = "ci"`, `name = "ci"
 project_id = "00000002-9a3e-4000-8000-000000000002"
 vpc_uuid = { fra1 = "00000064-0f0c-4000-8000-000000000064" }`}}, func(sim *dosim.Sim, s *Subject) {
			fault("POST /v2/projects/{id}/resources", 403)(sim, s)
			fault("GET /v2/vpcs", 403)(sim, s)
		}, []string{
			"scopes warning GET /v2/vpcs?per_page=1: the token lacks vpc:read: the VPC is not checked | give the token the scope vpc:read",
			"scopes warning POST /v2/projects/00000000-0000-0000-0000-000000000000/resources: the token lacks project:assign_resource: Droplets stay in the default project | give the token the scope project:assign_resource",
		}, false},
		{"tag:read", nil, fault("GET /v2/tags", 403), []string{
			"scopes fault GET /v2/tags?per_page=1: the token lacks tag:read: the plugin cannot find its Droplets by their tags: it does not start | give the token the scope tag:read",
			"leftovers ok tag fleeting-group:ci: no Droplet is left over",
		}, false},
		{"tag:read, by one tag alone", nil, fault("GET /v2/tags/{tag}", 403), []string{
			"scopes fault GET /v2/tags/{tag}: the plugin finds its Droplets by their tags, which it may not read: GET /v2/tags/{tag}: 403 You are not authorized to perform this operation (request id ...): the token from plugin_config.token lacks a scope that this needs, tag:read | give the token the scope tag:read",
		}, false},
		{"account:read", nil, fault("GET /v2/account", 403), []string{
			"scopes note GET /v2/account: the token lacks account:read: the account's Droplet limit is not checked | give the token the scope account:read",
		}, false},
		{"account:read, and no max_instances", []change{{"max_instances = 10\n    [runners", "[runners"}}, fault("GET /v2/account", 403), []string{
			"scopes fault GET /v2/account: the token lacks account:read: max_instances must be set in plugin_config: the account's limit cannot be read | give the token the scope account:read",
			"max-instances fault 16: plugin_config.max_instances: must be set, since the account's Droplet limit could not be read: GET /v2/account: 403 You are not authorized to perform this operation (request id ...): the token from plugin_config.token lacks a scope that this needs, account:read | docs/configuration.md tells what plugin_config takes",
		}, false},
		{"the catalog's scopes", nil, fault("GET /v2/sizes", 403), []string{
			"scopes warning GET /v2/sizes?per_page=1: the token lacks sizes:read: sizes and prices are not checked, and droplet:create requires it | give the token the scope sizes:read",
			"cost ok 27: idle: 3 Droplets for 50 h, 1 Droplet for 118 h of a week",
			"cost note 16: guard: none but max_instances",
		}, false},
		{"what the catalog has could not be read", nil, fault("GET /v2/regions", 500), []string{
			"scopes note scopes: not answered clearly, so not known: regions:read (GET /v2/regions?per_page=1: 500 Server was unable to give you a response. (request id ...))",
			"placements fault GET /v2/regions: what it offers could not be read: GET /v2/regions: 500 Server was unable to give you a response. (request id ...) | try again in a minute; https://status.digitalocean.com shows outages",
			"cost ok 27: idle: 3 Droplets for 50 h, 1 Droplet for 118 h of a week",
			"cost note 16: guard: none but max_instances",
		}, false},

		{"unknown slugs", []change{{`["fra1", "nyc3"]`, `"fra7"`}, {`["s-2vcpu-4gb", "s-4vcpu-8gb"]`, `"s-2vcpu-4g"`}, {"docker-20-04", "docker-20-40"}}, nil, []string{
			`placements fault 19: plugin_config.region: DigitalOcean has no region "fra7"; did you mean "fra1"? | doctl compute region list`,
			`placements fault 20: plugin_config.size: DigitalOcean has no size "s-2vcpu-4g"; did you mean "s-2vcpu-4gb" or "s-2vcpu-2gb"? | doctl compute size list`,
			`image fault 21: plugin_config.image: DigitalOcean has no image "docker-20-40"; did you mean "docker-20-04"? | doctl compute image list`,
			"cost ok 27: idle: 3 Droplets for 50 h, 1 Droplet for 118 h of a week",
			"cost note 16: guard: none but max_instances",
		}, false},
		{"sold out, and too small", []change{{`["s-2vcpu-4gb", "s-4vcpu-8gb"]`, `["m-2vcpu-16gb", "s-1vcpu-512mb-10gb", "s-4vcpu-8gb"]`}, {`["fra1", "nyc3"]`, `["fra1"]`}}, nil, []string{
			"placements note 20: m-2vcpu-16gb in fra1 cannot be had now, and is tried at its turn: the size is not on offer there now; it is in no region",
			"placements warning 20: s-1vcpu-512mb-10gb in fra1 is left out: image docker-20-04 needs a disk of 25 GiB, the size has 10 | take the size, or the region, out of the list",
			"cost ok 27: idle: 83.18 USD a month: 3 Droplets for 50 h, 1 Droplet for 118 h of a week, s-4vcpu-8gb at 0.07143 USD an hour",
			"cost ok 10: at worst: 1.25 USD an hour: 10 Droplets of the size m-2vcpu-16gb",
			"cost note 16: guard: none but max_instances; a dearer size would raise the bill without a word | max_hourly_cost = 1.25",
		}, false},
		{"nothing fits", []change{{`["s-2vcpu-4gb", "s-4vcpu-8gb"]`, `"s-1vcpu-512mb-10gb"`}, {`["fra1", "nyc3"]`, `["fra1"]`}}, nil, []string{
			"placements warning 20: s-1vcpu-512mb-10gb in fra1 is left out: image docker-20-04 needs a disk of 25 GiB, the size has 10 | take the size, or the region, out of the list",
			"placements fault 16: plugin_config: no combination of size, region and image can work | doctl compute size list shows which sizes there are",
			"cost ok 27: idle: 3 Droplets for 50 h, 1 Droplet for 118 h of a week",
			"cost ok 10: at worst: 0.0595 USD an hour: 10 Droplets of the size s-1vcpu-512mb-10gb",
			"cost note 16: guard: none but max_instances; a dearer size would raise the bill without a word | max_hourly_cost = 0.06",
		}, false},

		{"no Docker", []change{{"docker-20-04", "debian-13-x64"}}, nil, []string{
			`image warning 21: image debian-13-x64 (13 x64) has no Docker, and user_data does not install it: every job would fail | image = "docker-20-04"`,
		}, false},
		{"Docker by user data", []change{{"docker-20-04", "debian-13-x64"}, {"ufw allow ssh", "apt-get install -y docker.io"}}, nil, []string{
			"image ok 21: image debian-13-x64 (13 x64) gets Docker from user_data, as far as can be told",
		}, false},
		{"no Docker, nor needed", []change{{"docker-20-04", "debian-13-x64"}, {"docker-autoscaler", "instance"}}, nil, []string{
			"image ok 21: image debian-13-x64 (13 x64) is there",
		}, false},
		{"a custom image that is not ready", []change{{`image = "docker-20-04"`, "image = 300000001\n monitoring = true"}}, func(sim *dosim.Sim, _ *Subject) {
			sim.AddImage(dosim.Image{ID: 300000001, Name: "docker", Custom: true, Status: "pending", Regions: []string{"fra1", "nyc3"}})
		}, []string{
			`image warning 21: image 300000001 ("docker") has the status "pending": it cannot be used yet, and creates will be refused until it is available | wait for it, or choose another`,
			`image fault 22: plugin_config.monitoring: image 300000001 ("docker") is a custom image, for which DigitalOcean does not support monitoring; set monitoring = false, or choose another image | monitoring = false`,
			"image ok 21: image 300000001 (docker) has Docker, by its name",
		}, false},
		{"a snapshot", []change{{`image = "docker-20-04"`, `image_tag = "ci-golden"`}}, nil, []string{
			"image ok 16: image 204117263 (ci-runner-golden) is your own: the ready command will report whether it has Docker",
		}, false},
		{"a snapshot, and nothing tells", []change{{`image = "docker-20-04"`, `image = 204117263`}, {" && docker info", ""}}, nil, []string{
			`image note 21: image 204117263 (ci-runner-golden) is your own: nothing reports whether it has Docker | instance_ready_command = "docker info"`,
		}, false},

		{"a VPC elsewhere, and none", []change{{`name = "ci"`, `name = "ci"
 vpc_uuid = { nyc3 = "00000064-0f0c-4000-8000-000000000064", fra1 = "00000064-0f0c-4000-8000-000000000999" }`}}, nil, []string{
			"vpc fault 18: plugin_config.vpc_uuid: the account has no VPC 00000064-0f0c-4000-8000-000000000999 | doctl vpcs list",
			"vpc fault 18: plugin_config.vpc_uuid: VPC 00000064-0f0c-4000-8000-000000000064 is in fra1, not in nyc3 | doctl vpcs list",
		}, false},
		{"private addresses", []change{{"use_external_addr = true", "use_external_addr = false"}, {`name = "ci"`, `name = "ci"
 vpc_uuid = { nyc3 = "00000006-0f0c-4000-8000-000000000006" }`}}, func(_ *dosim.Sim, s *Subject) {
			s.Host.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.102.0.7")}
		}, []string{
			"vpc ok 27: this host is in the VPC of fra1, 10.102.0.0/20",
			"vpc warning 27: no address of this host is in the VPC of nyc3, 10.105.0.0/20: unless it is routed, Droplets cannot be dialed | run the runner on a Droplet in that VPC, or set use_external_addr = true",
		}, false},

		{"keys", []change{{`name = "ci"`, "name = \"ci\"\n ssh_keys = [12]"}}, func(sim *dosim.Sim, s *Subject) {
			key := sim.AddKey("static", somePublic)
			s.Host.Keys = []KeyFile{{Key: "autoscaler.plugin_config.ssh_key_file", Path: "/a", Fingerprint: key.Fingerprint},
				{Key: "autoscaler.connector_config.key_path", Path: "/b", Fingerprint: strings.Repeat("aa:", 15) + "aa"}}
		}, []string{
			"ssh-key fault 18: plugin_config.ssh_keys: the account has no key 12 | doctl compute ssh-key list",
			"ssh-key ok 24: the account has the key of ssh_key_file, 0f:a2:0a:d7:38:3e:65:45:08:6b:63:84:1c:ff:dc:ba",
			"ssh-key ok 26: the account does not have the key of key_path yet: the next start uploads it",
		}, false},

		{"max_hourly_cost", []change{{"max_instances = 10\n    [runners", "max_instances = 10\n    max_hourly_cost = 0.5\n    [runners"}}, nil, []string{
			"max-instances fault 10: max_instances is 10, more than the 6 that the plugin allows by max_hourly_cost: the runner refuses to start it | max_instances = 6",
			"cost ok 10: at worst: 0.42858 USD an hour: 6 Droplets of the size s-4vcpu-8gb",
			"cost ok 25: guard: max_hourly_cost = 0.5 USD an hour",
		}, false},
		{"max_hourly_cost of less than one", []change{{"max_instances = 10\n    [runners", "max_instances = 10\n    max_hourly_cost = 0.05\n    [runners"}}, nil, []string{
			"cost fault 25: plugin_config.max_hourly_cost: 0.05 USD an hour is less than one Droplet of size s-4vcpu-8gb costs, 0.07143 | max_hourly_cost = 0.08",
			"cost ok 25: guard: max_hourly_cost = 0.05 USD an hour",
		}, false},
		{"the account's limit", []change{{"max_instances = 10\n    [runners", "[runners"}}, func(sim *dosim.Sim, _ *Subject) { sim.SetDropletLimit(3) }, []string{
			"max-instances fault 10: max_instances is 10, more than the 3 that the plugin allows by the account's Droplet limit: the runner refuses to start it | max_instances = 3",
			"quota ok GET /v2/account: the account may have 3 Droplets, and has 0 that are not this group's",
			"cost ok 10: at worst: 0.21429 USD an hour: 3 Droplets of the size s-4vcpu-8gb",
			"cost note 16: guard: none but max_instances; a dearer size would raise the bill without a word | max_hourly_cost = 0.22",
		}, false},
		{"others on the account", nil, func(sim *dosim.Sim, s *Subject) {
			sim.SetDropletLimit(10)
			fleet("web", "web-aaaa7k2m9a", "web-aaaa7k2m9b")(sim, s)
		}, []string{
			"quota warning GET /v2/account: the account may have 10 Droplets, and has 2 that are not this group's: there is room for 8, and max_instances is 10 | max_instances = 8, or ask DigitalOcean for a higher limit (Settings, Team)",
		}, false},
		{"a full account", nil, func(sim *dosim.Sim, s *Subject) {
			sim.SetDropletLimit(1)
			fleet("web", "web-aaaa7k2m9a")(sim, s)
		}, []string{
			"quota fault GET /v2/account: the account may have 1 Droplet, and has 1 that are not this group's: there is room for none of this group | destroy some, or ask DigitalOcean for a higher limit (Settings, Team)",
		}, false},

		{"Droplets of a manager", nil, func(sim *dosim.Sim, s *Subject) {
			s.Host.Holder = "4711"
			fleet("ci", "ci-aaaa7k2m9a", "ci-aaaa7k2m9b")(sim, s)
		}, []string{
			"leftovers ok tag fleeting-group:ci: 2 Droplets of the group, 0.01786 USD an hour: process 4711 looks after them",
		}, false},
		{"Droplets of a dead run", nil, func(sim *dosim.Sim, s *Subject) {
			s.Host.DeadRuns = []string{"aaaa"}
			fleet("ci", "ci-aaaa7k2m9a")(sim, s)
		}, []string{
			"leftovers warning tag fleeting-group:ci: 1 Droplet of the group, 0.00893 USD an hour, and no process manages them: they are billed until the next start takes them over | fleeting-plugin-digitalocean sweep --config config.toml --group ci",
		}, false},
		{"Droplets of somebody, and a stranger", nil, func(sim *dosim.Sim, s *Subject) { fleet("ci", "ci-aaaa7k2m9a", "ci-by-hand")(sim, s) }, []string{
			"leftovers warning tag fleeting-group:ci: Droplet ci-by-hand (512000002) carries the group's tag but is not of the group, by its name or its other tags: nobody manages it, and it costs 0.00893 USD an hour | doctl compute droplet untag 512000002 --tag-name fleeting-group:ci",
			"leftovers note tag fleeting-group:ci: 1 Droplet of the group, 0.00893 USD an hour, and no process on this host manages them: another host's may, else they are billed for nothing | fleeting-plugin-digitalocean sweep --config config.toml --group ci",
		}, false},
		{"a Droplet that is kept", nil, func(sim *dosim.Sim, s *Subject) {
			s.Host.Holder = "4711"
			fleet("ci", "ci-aaaa7k2m9a")(sim, s)
			sim.Tag(512000001, "fleeting-keep")
		}, []string{
			"leftovers note tag fleeting-group:ci: Droplet ci-aaaa7k2m9a (512000001) is kept by the tag fleeting-keep: it is billed, 0.00893 USD an hour, and counts for max_instances until a person deletes it | when it is not needed any more: doctl compute droplet delete 512000001",
			"leftovers ok tag fleeting-group:ci: 0 Droplets of the group, 0 USD an hour: process 4711 looks after them",
		}, false},
		{"a tag and a key of a dead run", nil, func(sim *dosim.Sim, s *Subject) {
			s.Host.DeadRuns = []string{"aaaa"}
			sim.AddTag("fleeting-delete:ci")
			sim.AddTag("fleeting-delete:big") // another group's
			sim.AddKey("fleeting-ci-aaaa7k2m9a", somePublic)
		}, []string{
			"leftovers note tag fleeting-group:ci: 1 SSH key and 1 tag of earlier plugin processes: the next start takes them off the account | fleeting-plugin-digitalocean sweep --config config.toml --group ci",
		}, false},
		{"a doctor that was killed", nil, fleet("ci-doctor", "ci-doctor-aaaa7k2m9a"), []string{
			"leftovers warning tag fleeting-group:ci-doctor: 1 Droplet of a doctor --boot: if none runs now on another host, it was killed | fleeting-plugin-digitalocean sweep --config config.toml --group ci-doctor --delete",
		}, false},

		{"a doctor at work", nil, func(sim *dosim.Sim, s *Subject) {
			fleet("ci-doctor", "ci-doctor-aaaa7k2m9a")(sim, s)
			s.Host.Booting = "4711"
		}, []string{
			"leftovers note tag fleeting-group:ci-doctor: 1 Droplet of a doctor --boot, which is at work: process 4711",
		}, false},

		{"plugin_config with faults", []change{{`region = ["fra1", "nyc3"]`, ""}}, nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, _ := examine(t, tt.changes, tt.prepare)
			got := written(slices.DeleteFunc(slices.Clone(found), func(f Finding) bool {
				line := withoutLine(written([]Finding{f})[0])
				return f.Mark == Good && (f.Check == "placements" || f.Check == "quota" && strings.Contains(f.What, "may have 1")) || f.Check == "requests" || tt.only && f.Check == "cost" ||
					!tt.only && slices.ContainsFunc(basis, func(b string) bool { return withoutLine(b) == line }) ||
					f.Check == "scopes" && f.Mark == Good
			}))
			for i := range got {
				if j := strings.LastIndex(got[i], "(request id "); j >= 0 && i < len(tt.want) && strings.Contains(tt.want[i], "(request id ...)") {
					got[i] = got[i][:j] + "(request id ...)" + got[i][j+len("(request id ")+36+1:]
				}
			}
			if diff := cmp.Diff(tt.want, got, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("expected (-) and found (+):\n%s", diff)
			}
			for _, f := range found {
				if f.Mark != Good {
					shown[f.Check] = true
				}
			}
		})
	}
	for _, c := range Checks() {
		if c.Live && !shown[c.Name] && c.Name != "requests" && c.Name != "boot" {
			t.Errorf("nothing shows the check %s", c.Name)
		}
	}

}

// The token's hour is worth a word when it runs out.
func TestRequests(t *testing.T) {
	for remaining, want := range map[int]string{
		4000: "requests ok ratelimit-remaining: 4000 of the token's 5000 requests of this hour are left",
		2000: "requests note ratelimit-remaining: 2000 of the token's 5000 requests of this hour are left",
		400: "requests warning ratelimit-remaining: 400 of the token's 5000 requests of this hour are left: programs that share the token spend it" +
			" | give the group a token of its own",
	} {
		e := &exam{check: "requests"}
		e.requests(instancegroup.Budget{Limit: 5000, Remaining: remaining})
		if diff := cmp.Diff([]string{want}, written(e.found)); diff != "" {
			t.Error(diff)
		}
	}
	e := &exam{}
	if e.requests(instancegroup.Budget{}); len(e.found) > 0 {
		t.Errorf("%v", e.found)
	}
}

// A group's test Droplet has a group of its own, which no other group owns.
func TestBootGroup(t *testing.T) {
	for _, name := range []string{"ci", strings.Repeat("a", config.MaxName)} {
		got := BootGroup(name)
		if config.CheckName(got) != nil {
			t.Errorf("of %s it is %s (%v)", name, got, config.CheckName(got))
		}
		d := instancegroup.Droplet{Name: got + "-aaaa7k2m9a", Tags: []string{instancegroup.CommonTag, instancegroup.GroupTag(got), instancegroup.GroupTag(name)}}
		if instancegroup.Owns(name, d) {
			t.Errorf("%s owns %s", name, d.Name)
		}
	}
}

// The scopes that doctor looks for are those that docs/security.md lists.
func TestNeedsAreInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## The token")
	table, _, _ = strings.Cut(table, "\n\nSome of these")
	documented := map[string]bool{}
	for row := range strings.Lines(table) {
		if columns := strings.Split(row, "|"); len(columns) > 2 {
			for _, scope := range regexp.MustCompile("`([a-z_]+:[a-z_]+)`").FindAllStringSubmatch(columns[2], -1) {
				documented[scope[1]] = true
			}
		}
	}
	needed := map[string]bool{}
	for _, n := range needs {
		needed[n.scope] = true
	}
	if diff := cmp.Diff(documented, needed); diff != "" {
		t.Errorf("scopes in the docs (-) and in doctor (+):\n%s", diff)
	}
}

// A minute's requests, 250, do for 20 runners on one token: what is of the token and of
// the catalog is asked for once. What one found is not found less by the others.
func TestManyRunners(t *testing.T) {
	sim := dosim.New(dosim.Options{})
	defer sim.Close()
	sim.Inject(dosim.Fault{Op: "DELETE /v2/tags/{tag}", Status: http.StatusForbidden, Times: 1}) // asked again it would be there
	var shared Shared
	for i := range 20 {
		s := subject(t, sound)
		s.Shared = &shared
		api, err := digitalocean.New(digitalocean.Options{
			URL: "https://api.digitalocean.com", Transport: sim.Transport(),
			Token: func() (string, error) { return dosim.DefaultToken, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		found, _ := Examine(t.Context(), api, s)
		var told []string
		for _, f := range found {
			if f.Check == "token" || f.Check == "scopes" || f.Check == "vpc" || f.Check == "placements" {
				told = append(told, string(f.Mark))
			}
		}
		if want := []string{"ok", "note", "ok", "ok", "ok", "ok"}; !slices.Equal(told, want) {
			t.Errorf("runner %d: %q, want %q", i, told, want)
		}
	}
	if n := len(sim.Requests()); n > 250 {
		t.Errorf("%d requests for 20 runners: %v", n, sim.RequestCounts())
	}
}

package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

const (
	fra1 = "00000003-0f0c-4000-8000-000000000003" // the default VPC, 10.102.0.0/20
	own  = "00000064-0f0c-4000-8000-000000000064" // another one of fra1
)

// account is the simulator's, with answers of its own to paths that the simulator does not know.
type account struct {
	*dosim.Sim
	answers map[string]string // by path; "403" and "hang" are special
}

func (a *account) RoundTrip(r *http.Request) (*http.Response, error) {
	body, ok := a.answers[r.URL.Path]
	if !ok && strings.HasSuffix(r.URL.Path, "/subnets") {
		body, ok = "404", true // as on an account without the preview
	}
	switch {
	case !ok:
		return a.Transport().RoundTrip(r)
	case body == "hang":
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	status := http.StatusOK
	header := http.Header{"Content-Type": {"application/json"}}
	switch body {
	case "403":
		status, body = http.StatusForbidden, `{"id": "forbidden", "message": "You are not authorized to perform this operation"}`
	case "404":
		status, body = http.StatusNotFound, `{"id": "not_found", "message": "The resource you were accessing could not be found."}`
	case "a proxy's 403":
		status, body, header = http.StatusForbidden, "<html>Forbidden</html>", http.Header{"Content-Type": {"text/html"}}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// client is one of the account, without the pauses that only cost time here.
func (a *account) client(t *testing.T) *digitalocean.Client {
	t.Helper()
	api, err := digitalocean.New(digitalocean.Options{URL: "https://api.digitalocean.com", Transport: a,
		Token: func() (string, error) { return dosim.DefaultToken, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// prepare is done to the account before the examination.
type prepare = func(*account, *Subject)

// fails makes every request for an operation fail with a status.
func fails(op string, status int) prepare {
	return func(a *account, _ *Subject) { a.Inject(dosim.Fault{Op: op, Status: status, Times: -1}) }
}

// answers answers a path.
func answers(path, body string) prepare {
	return func(a *account, _ *Subject) { a.answers[path] = body }
}

// has makes Droplets of a group.
func has(group string, names ...string) prepare {
	return func(a *account, _ *Subject) {
		for _, name := range names {
			a.AddDroplet(dosim.Droplet{Name: name, Tags: []string{"fleeting", "fleeting-group:" + group}})
		}
	}
}

func all(steps ...prepare) prepare {
	return func(a *account, s *Subject) {
		for _, step := range steps {
			step(a, s)
		}
	}
}

// held is a group that a process of this host manages.
func held(_ *account, s *Subject) { s.Host.Holder = "4711" }

// dead is a group of which a process of this host has ended.
func dead(_ *account, s *Subject) { s.Host.DeadRuns = []string{"aaaa"} }

// live examines a group on an account, of which nothing may change.
func live(t *testing.T, changes string, prepare prepare) ([]Finding, *Cost) {
	t.Helper()
	sim := dosim.New(dosim.Options{})
	defer sim.Close()
	a := &account{sim, map[string]string{}}
	s := subject(t, changed(t, changes))
	if prepare != nil {
		prepare(a, &s)
	}
	before := len(sim.Droplets()) + len(sim.Keys()) + len(sim.Tags())
	found, cost := Examine(t.Context(), a.client(t), s)
	if after := len(sim.Droplets()) + len(sim.Keys()) + len(sim.Tags()); after != before || len(sim.Violations()) > 0 {
		t.Errorf("%d things on the account, then %d, and %v", before, after, sim.Violations())
	}
	for _, r := range sim.Requests() {
		if r.Method != http.MethodGet && r.Status < 400 {
			t.Errorf("%s %s was carried out", r.Method, r.Path)
		}
	}
	i := slices.IndexFunc(found, func(f Finding) bool { return f.Check == "token" })
	return found[i:], cost
}

// TestLive breaks one thing after the other on the account, and pins what is found beyond what is found without.
func TestLive(t *testing.T) {
	basis, cost := live(t, "", nil)
	want := []string{
		"token ok GET /v2/account", "scopes ok scopes", "catalog ok 21", "cost ok 28", "cost ok 11",
	}
	if diff := cmp.Diff(want, brief(basis)); diff != "" {
		t.Errorf("of a sound account, expected (-) and found (+):\n%s", diff)
	}
	if diff := cmp.Diff(&Cost{
		IdleDroplets: 1.6, IdleSize: "s-2vcpu-4gb", IdleSizeUSDPerHour: 0.03571, IdleSizeUSDPerMonth: 24, IdleUSDPerMonth: 41.59,
		MaxInstances: 10, MostExpensive: "s-4vcpu-8gb", WorstUSDPerHour: 0.7143,
	}, cost); diff != "" {
		t.Error(diff)
	}

	const (
		give   = " | give the token the scope "
		later  = " | try again in a minute; https://status.digitalocean.com shows outages"
		higher = "lower max_instances, or ask for more: https://cloud.digitalocean.com/account/team/droplet_limit_increase"
		sweep  = " | fleeting-plugin-digitalocean sweep --config config.toml --group ci"
		group  = " tag fleeting-group:ci"
	)
	const private = "use_external_addr = true => use_external_addr = false"
	const hidden = private + "\nname = \"ci\" => name = \"ci\"\n+ public_networking = false\n[\"fra1\", \"nyc3\"] => \"fra1\""
	inFra1 := func(_ *account, s *Subject) {
		s.Host.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.102.0.7")}
	}
	gateway := func(vpc, state string, byDefault bool) prepare {
		const list = `{"vpc_nat_gateways": [{"state": %q, "vpcs": [{"vpc_uuid": %q, "default_gateway": %t}]}]}`
		return answers("/v2/vpc_nat_gateways", fmt.Sprintf(list, state, vpc, byDefault))
	}
	noWayOut := "vpc warning 19 | doctl compute vpc-nat-gateway create --help, with the VPC's default gateway; or public_networking = true"
	custom := func(a *account, _ *Subject) {
		a.AddImage(dosim.Image{ID: 300000001, Name: "docker", Custom: true, Status: "pending", Regions: []string{"fra1", "nyc3"}})
	}
	shown := map[string]bool{}
	for name, tt := range map[string]struct {
		changes string
		prepare prepare
		want    []string
	}{
		"a token that is refused": {"", func(a *account, _ *Subject) { a.SetToken("another") },
			[]string{"token fault GET /v2/account | make a token at https://cloud.digitalocean.com/account/api/tokens"}},
		"no network": {"", func(a *account, _ *Subject) { a.Inject(dosim.Fault{Op: "*", Refused: true, Times: -1}) },
			[]string{"token fault GET /v2/account | look at HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and plugin_config.api_url"}},
		"a proxy's 403": {"", answers("/v2/account", "a proxy's 403"), []string{"token fault GET /v2/account" + later}},
		"an outage":     {"", fails("GET /v2/account", 503), []string{"token fault GET /v2/account" + later}},
		"too many requests": {"", fails("GET /v2/account", 429), []string{
			"token fault GET /v2/account | the token's rate limit is reached; try again in a minute"}},
		"an account in trouble": {"", func(a *account, _ *Subject) {
			a.SetAccount(func(a *dosim.Account) {
				a.Status, a.StatusMessage, a.EmailVerified = "warning", "Your card has expired.", false
			})
		}, []string{
			"token warning GET /v2/account | look at https://cloud.digitalocean.com, or ask DigitalOcean's support",
			"token warning GET /v2/account | follow the link in DigitalOcean's mail; https://cloud.digitalocean.com/account/profile sends another",
		}},

		"droplet:delete":   {"", fails("DELETE /v2/droplets/{id}", 403), []string{"scopes fault DELETE /v2/droplets/0" + give + "droplet:delete"}},
		"droplet:create":   {"", fails("POST /v2/droplets", 403), []string{"scopes fault POST /v2/droplets" + give + "droplet:create"}},
		"an unclear scope": {"", fails("POST /v2/tags", 500), []string{"scopes note POST /v2/tags"}},
		"a proxy that POSTs": {"", answers("/v2/tags", "a proxy's 403"), []string{
			"scopes warning POST /v2/tags" + later}},
		"a request that hangs": {"", answers("/v2/tags/no tag/resources", "hang"), []string{"scopes warning POST /v2/tags/no%20tag/resources" + later}},
		"the scopes of what is asked for": {`name = "ci" => name = "ci"
+ project_id = "00000002-9a3e-4000-8000-000000000002"
+ vpc_uuid = { fra1 = "` + own + `" }`,
			all(fails("POST /v2/projects/{id}/resources", 403), fails("GET /v2/vpcs", 403)), []string{
				"scopes warning GET /v2/vpcs?per_page=1" + give + "vpc:read",
				"scopes warning POST /v2/projects/00000000-0000-0000-0000-000000000000/resources" + give + "project:assign_resource",
			}},
		"tag:read":             {"", fails("GET /v2/tags", 403), []string{"scopes fault GET /v2/tags?per_page=1" + give + "tag:read"}},
		"tag:read, by one tag": {"", fails("GET /v2/tags/{tag}", 403), []string{"catalog fault DigitalOcean" + give + "tag:read"}},
		"account:read":         {"", fails("GET /v2/account", 403), []string{"scopes note GET /v2/account" + give + "account:read"}},
		"account:read is needed": {`max_instances = 12 =>`, fails("GET /v2/account", 403), []string{
			"scopes fault GET /v2/account" + give + "account:read", "catalog fault 17 | " + seeDocs}},
		"sizes:read": {"", fails("GET /v2/sizes", 403), []string{
			"scopes warning GET /v2/sizes?per_page=1" + give + "sizes:read", "cost ok 28"}},
		"no GPUs": {"", func(a *account, _ *Subject) {
			a.Inject(dosim.Fault{Op: "GET /v2/droplets?type=gpus", Status: 403, Times: -1})
		}, []string{"leftovers warning tag fleeting-group:ci | where GPU Droplets were used, look for them in the console"}},
		"no catalog": {"", fails("GET /v2/regions", 500), []string{"scopes note GET /v2/regions?per_page=1", "catalog fault GET /v2/regions" + later, "cost ok 28"}},

		"unknown slugs": {`["fra1", "nyc3"] => "fra7"
["s-2vcpu-4gb", "s-4vcpu-8gb"] => "s-2vcpu-4g"
docker-20-04 => docker-20-40`, nil, []string{
			"catalog fault 20 | doctl compute region list", "catalog fault 21 | doctl compute size list",
			"catalog fault 22 | doctl compute image list --public", "cost ok 28"}},
		"sold out, and too small": {`["s-2vcpu-4gb", "s-4vcpu-8gb"] => ["m-2vcpu-16gb", "s-1vcpu-512mb-10gb", "s-4vcpu-8gb"]
["fra1", "nyc3"] => ["fra1"]`, nil, []string{
			"catalog note 21", "catalog warning 21 | remove the size or the region from its list",
			"cost ok 28", "cost ok 11"}},
		"nothing fits": {`["s-2vcpu-4gb", "s-4vcpu-8gb"] => "s-1vcpu-512mb-10gb"
["fra1", "nyc3"] => ["fra1"]`, nil, []string{
			"catalog warning 21 | remove the size or the region from its list",
			"catalog fault 17 | " + seeDocs,
			"cost ok 28", "cost ok 11"}},

		"no Docker": {`docker-20-04 => debian-13-x64`, nil, []string{"image warning 22 | doctl compute image list-application --public"}},
		"Docker by user data": {`docker-20-04 => debian-13-x64
ufw allow ssh => apt-get install -y docker.io`, nil, nil},
		"no Docker, nor needed": {`docker-20-04 => debian-13-x64
docker-autoscaler => instance`, nil, nil},
		"a snapshot": {`image = "docker-20-04" => image_tag = "ci-golden"`, nil, nil},
		"a custom image that is not ready": {`image = "docker-20-04" => image = 300000001
+ monitoring = true`, custom, []string{
			"catalog warning 22 | wait for it, or choose another", "catalog fault 23 | " + seeDocs}},

		"a VPC elsewhere": {`name = "ci" => name = "ci"
+ vpc_uuid = { nyc3 = "` + own + `" }`, nil, []string{"catalog fault 19 | doctl vpcs list"}},
		"a host in one VPC of two": {private, inFra1, []string{"vpc warning 27 | use_external_addr = true"}},
		"a host in a subnet": {private + "\n" + `["fra1", "nyc3"] => "fra1"`, all(
			answers("/v2/vpcs/"+fra1+"/subnets", `{"vpc_subnets": [{"ip_range": "172.16.0.0/24"}]}`),
			func(_ *account, s *Subject) { s.Host.Addresses = []netip.Addr{netip.MustParseAddr("172.16.0.9")} }), nil},
		"no way out":            {hidden, all(inFra1, answers("/v2/vpc_nat_gateways", `{"vpc_nat_gateways": []}`)), []string{noWayOut}},
		"another VPC's way out": {hidden, all(inFra1, gateway(own, "ACTIVE", true)), []string{noWayOut}},
		"a way out that is off": {hidden, all(inFra1, gateway(fra1, "ERROR", true)), []string{noWayOut}},
		"not the default route": {hidden, all(inFra1, gateway(fra1, "ACTIVE", false)), []string{noWayOut}},
		"a way out":             {hidden, all(inFra1, gateway(fra1, "ACTIVE", true)), nil},
		"a way out, not known": {hidden, all(inFra1, answers("/v2/vpc_nat_gateways", "403")), []string{
			"vpc note 19" + give + "nat_gateway:read"}},
		"no such subnet": {"name = \"ci\" => name = \"ci\"\n+ vpc_uuid = { fra1 = \"" + own + "\" }\n+ subnet_uuid = { fra1 = \"" + own + "\" }", nil, []string{
			`vpc fault 20 | curl -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" https://api.digitalocean.com/v2/vpcs/` + own + "/subnets"}},
		"a subnet that is too small": {
			"name = \"ci\" => name = \"ci\"\n+ vpc_uuid = { fra1 = \"" + own + "\" }\n+ subnet_uuid = { fra1 = \"" + own + "\" }",
			answers("/v2/vpcs/"+own+"/subnets", `{"vpc_subnets": [{"id": "`+own+`", "ip_range": "172.16.0.0/29"}]}`), []string{
				"vpc warning 19 | max_instances = 5"}},
		"a VPC that is too small": {private + "\n" + `["fra1", "nyc3"] => "fra1"
max_instances = 10 => max_instances = 14
max_instances = 12 => max_instances = 14
concurrent = 20 => concurrent = 28
limit = 20 => limit = 28`,
			all(func(_ *account, s *Subject) { s.Host.Addresses = []netip.Addr{netip.MustParseAddr("10.9.0.2")} },
				answers("/v2/vpcs", `{"vpcs": [{"id": "`+fra1+`", "region": "fra1", "default": true, "ip_range": "10.9.0.0/28"}]}`)),
			[]string{"vpc warning 17 | max_instances = 13", "cost ok 11"}},

		"max_hourly_cost": {`max_instances = 12 => max_instances = 12
+ max_hourly_cost = 0.5`, nil, []string{
			"catalog fault 11 | max_instances = 6", "cost ok 11"}},
		"max_hourly_cost of less than one": {`max_instances = 12 => max_instances = 12
+ max_hourly_cost = 0.05`, nil, []string{
			"catalog fault 26 | " + seeDocs}},
		"the account's limit": {`max_instances = 12 =>`, func(a *account, _ *Subject) { a.SetDropletLimit(3) }, []string{
			"catalog fault 11 | max_instances = 3", "cost ok 11"}},
		"others on the account": {"", all(has("web", "web-aaaa7k2m9a", "web-aaaa7k2m9b"), func(a *account, _ *Subject) { a.SetDropletLimit(10) }),
			[]string{"quota warning GET /v2/account | " + higher}},
		"a full account": {"", all(has("web", "web-aaaa7k2m9a"), func(a *account, _ *Subject) { a.SetDropletLimit(1) }),
			[]string{"quota fault GET /v2/account | " + higher}},

		"Droplets of a manager":  {"", all(held, has("ci", "ci-aaaa7k2m9a")), nil},
		"Droplets of a dead run": {"", all(dead, has("ci", "ci-aaaa7k2m9a")), []string{"leftovers warning" + group + sweep}},
		"Droplets of somebody":   {"", has("ci", "ci-aaaa7k2m9a", "ci-by-hand"), []string{"leftovers note" + group + sweep}},
		"a Droplet that is kept, and another group's": {"", all(held, has("ci", "ci-aaaa7k2m9a"), has("web", "web-aaaa7k2m9a"),
			func(a *account, _ *Subject) { a.Tag(512000001, "fleeting-keep"); a.Tag(512000002, "fleeting-keep") }), []string{
			"leftovers note" + group + " | when it is not needed any more: doctl compute droplet delete 512000001"}},
		"a doctor that was killed": {"", all(has("ci-7k2m-doctor", "ci-7k2m-doctor-aaaa7k2m9a"),
			has("ci-x-7k2m-doctor", "ci-x-7k2m-doctor-aaaa7k2m9a")),
			[]string{"leftovers warning tag fleeting-group:ci-7k2m-doctor" + sweep + "-7k2m-doctor"}},
		"plugin_config with faults": {`region = ["fra1", "nyc3"] =>`, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				found, _ := live(t, tt.changes, tt.prepare)
				got := slices.DeleteFunc(beyond(basis, found, shown), func(f Finding) bool {
					return f.Level == OK && (f.Check == "catalog" || f.Check == "scopes" || f.Check == "token") || f.Check == "cost" && found[0].Level == Fault
				})
				if diff := cmp.Diff(tt.want, brief(got)); diff != "" {
					t.Errorf("expected (-) and found (+):\n%s", diff)
				}
				if took := time.Since(began); took > 2*liveBound {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
	for _, c := range checks {
		if c.live != nil && !shown[c.name] {
			t.Errorf("nothing shows the check %s", c.name)
		}
	}
}

// A test Droplet has a group of its own, which no other group owns, and of which the group's doctor knows.
func TestBootGroup(t *testing.T) {
	for _, name := range []string{"ci", strings.Repeat("a", 39) + "-b", strings.Repeat("a", 45)} {
		got := config.BootGroup(NewBootName(name))
		if config.CheckName(got) != nil || !isBootOf(name, got) || isBootOf("c", got) || got == config.BootGroup(NewBootName(name)) {
			t.Errorf("of %s it is %s (%v)", name, got, config.CheckName(got))
		}
		d := instancegroup.Droplet{Name: got + "-aaaa7k2m9a",
			Tags: []string{instancegroup.CommonTag, instancegroup.GroupTag(got), instancegroup.GroupTag(name)}}
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
	documented, needed := map[string]bool{}, map[string]bool{}
	for row := range strings.Lines(table) {
		if columns := strings.Split(row, "|"); len(columns) > 2 {
			for _, scope := range regexp.MustCompile("`([a-z_]+:[a-z_]+)`").FindAllStringSubmatch(columns[2], -1) {
				documented[scope[1]] = true
			}
		}
	}
	for _, n := range needs {
		needed[n.scope] = true
	}
	if diff := cmp.Diff(documented, needed); diff != "" {
		t.Errorf("scopes in the docs (-) and in doctor (+):\n%s", diff)
	}
}

// A minute's requests, 250, do for 20 runners on one token: what is of the token and of the catalog is asked for once. What
// one found is found by the others too.
func TestManyRunners(t *testing.T) {
	sim := dosim.New(dosim.Options{})
	defer sim.Close()
	sim.Inject(dosim.Fault{Op: "DELETE /v2/tags/{tag}", Status: http.StatusForbidden, Times: 1}) // asked again it would be there
	a := &account{Sim: sim}
	var shared Shared
	for i := range 20 {
		s := subject(t, sound)
		s.Shared = &shared
		found, _ := Examine(context.Background(), a.client(t), s)
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Check == "scopes" && f.Level == Note }) {
			t.Errorf("runner %d: %q", i, brief(found))
		}
	}
	if n := len(sim.Requests()); n > 250 {
		t.Errorf("%d requests for 20 runners: %v", n, sim.RequestCounts())
	}
}

// Idle Droplets are of the first size that is available, and no more than there may be.
func TestIdle(t *testing.T) {
	_, cost := live(t, `["s-2vcpu-4gb", "s-4vcpu-8gb"] => ["m-2vcpu-16gb", "s-4vcpu-8gb"]
idle_count = 5 => idle_count = 50
idle_count = 2 => idle_count = 50`, nil)
	if cost.IdleSize != "s-4vcpu-8gb" || cost.IdleDroplets != 10 {
		t.Errorf("%+v", cost)
	}
}

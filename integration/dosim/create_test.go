package dosim_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func TestCreateAnswersBeforeTheDropletHasAnAddress(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	key := sim.AddKey("mine", publicKey)
	req := single("ci-1", "fleeting", "fleeting-group:ci")
	req.SSHKeys = []godo.DropletCreateSSHKey{{Fingerprint: key.Fingerprint}}
	req.UserData = "#cloud-config\n"
	req.IPv6 = true

	d, resp, err := c.Droplets.Create(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if d.VPCUUID != "" {
		t.Errorf("a create's answer has a vpc_uuid: %s", d.VPCUUID)
	}
	vpc := must[*godo.Droplet](t)(c.Droplets.Get(ctx, d.ID)).VPCUUID
	if resp.StatusCode != 202 || d.Status != "new" || len(d.Networks.V4) != 0 {
		t.Errorf("got %d, status %q, networks %v; want 202, new and none", resp.StatusCode, d.Status, d.Networks.V4)
	}
	if len(resp.Links.Actions) != 1 || resp.Links.Actions[0].Rel != "create" {
		t.Errorf("got links %+v, want one to the create action", resp.Links)
	}
	got := sim.Droplets()[0]
	want := dosim.Droplet{
		ID: d.ID, Name: "ci-1", Region: "fra1", Size: "s-1vcpu-1gb", Image: "ubuntu-24-04-x64", Status: "new",
		Tags: []string{"fleeting", "fleeting-group:ci"}, VPC: vpc,
		PublicIPv4: netip.MustParseAddr("127.64.0.1"), PrivateIPv4: netip.MustParseAddr("127.96.0.1"),
		PublicIPv6: netip.MustParseAddr("2001:db8::1"), AuthorizedKeys: []string{publicKey}, UserData: "#cloud-config\n",
		Features: []string{"droplet_agent", "ipv6", "private_networking"}, PriceHourly: 0.00893,
	}
	if vpc == "" {
		t.Error("a Droplet has no vpc_uuid")
	}
	got.Created, got.ReadyAt, got.Project = want.Created, want.ReadyAt, want.Project
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the truth about it (-want +got):\n%s", diff)
	}
}

func TestCreateOfSeveralNames(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	droplets, resp, err := c.Droplets.CreateMultiple(ctx, several(10))
	if err != nil {
		t.Fatal(err)
	}
	if got := listed(droplets); got != truth(sim) || len(droplets) != 10 {
		t.Errorf("answered %q, made %q", got, truth(sim))
	}
	if len(resp.Links.Actions) != 10 {
		t.Errorf("got %d links to actions, want 10", len(resp.Links.Actions))
	}
	addresses := map[netip.Addr]bool{}
	for _, d := range sim.Droplets() {
		addresses[d.PublicIPv4], addresses[d.PrivateIPv4] = true, true
	}
	req := single("private")
	req.PublicNetworking = new(false)
	if must[*godo.Droplet](t)(c.Droplets.Create(ctx, req)); sim.Droplets()[10].PublicIPv4.IsValid() || len(addresses) != 20 {
		t.Errorf("a private one has the address %s, 10 others have %d", sim.Droplets()[10].PublicIPv4, len(addresses))
	}
}

func TestWhatDigitalOceanRefuses(t *testing.T) {
	const elsewhere = "00000009-0f0c-4000-8000-000000000009" // the default VPC of tor1
	for what, test := range map[string]struct {
		change  func(*godo.DropletMultiCreateRequest)
		status  int
		message string
	}{
		"an eleventh name":         {func(r *godo.DropletMultiCreateRequest) { *r = *several(11) }, 422, "at most 10"},
		"no name":                  {func(r *godo.DropletMultiCreateRequest) { r.Names = []string{} }, 422, dosim.MessageHostname},
		"an underscore in a name":  {func(r *godo.DropletMultiCreateRequest) { r.Names[1] = "ci_1" }, 422, dosim.MessageHostname},
		"a dash at the end":        {func(r *godo.DropletMultiCreateRequest) { r.Names[1] = "ci-" }, 422, dosim.MessageHostname},
		"a name of 256 characters": {func(r *godo.DropletMultiCreateRequest) { r.Names[1] = strings.Repeat("a", 256) }, 422, dosim.MessageHostname},
		"an unknown size":          {func(r *godo.DropletMultiCreateRequest) { r.Size = "s-1vcpu-1g" }, 422, dosim.MessageInvalidSize},
		"a size sold out":          {func(r *godo.DropletMultiCreateRequest) { r.Size = "m-2vcpu-16gb" }, 422, dosim.MessageSizeNotHere},
		"a size not in the region": {func(r *godo.DropletMultiCreateRequest) { r.Size, r.Region = "g-2vcpu-8gb", "ams3" }, 422, dosim.MessageSizeNotHere},
		"an unknown region":        {func(r *godo.DropletMultiCreateRequest) { r.Region = "fra2" }, 422, dosim.MessageRegion},
		"a closed region":          {func(r *godo.DropletMultiCreateRequest) { r.Region = "ams2" }, 422, dosim.MessageRegion},
		"an unknown image":         {func(r *godo.DropletMultiCreateRequest) { r.Image.Slug = "ubuntu-24-04" }, 422, dosim.MessageInvalidImage},
		"an image elsewhere": {func(r *godo.DropletMultiCreateRequest) {
			r.Image, r.Region = godo.DropletCreateImage{ID: 204117263}, "sgp1"
		}, 422, dosim.MessageImageNotHere},
		"an image too big": {func(r *godo.DropletMultiCreateRequest) { r.Image.Slug, r.Size = "docker-20-04", "s-1vcpu-512mb-10gb" }, 422, dosim.MessageImageTooBig},
		"unknown keys": {func(r *godo.DropletMultiCreateRequest) {
			r.SSHKeys = []godo.DropletCreateSSHKey{{ID: 7}, {Fingerprint: "a:b"}}
		}, 422, "7, a:b are invalid key identifiers"},
		"user data over 64 KiB":           {func(r *godo.DropletMultiCreateRequest) { r.UserData = strings.Repeat("#", 64<<10+1) }, 422, dosim.MessageUserData},
		"a tag with a dot":                {func(r *godo.DropletMultiCreateRequest) { r.Tags = []string{"a.b"} }, 422, dosim.MessageInvalidTag},
		"ipv6 without a public interface": {func(r *godo.DropletMultiCreateRequest) { r.IPv6, r.PublicNetworking = true, new(false) }, 422, dosim.MessageNoAddress},
		"a VPC of another region":         {func(r *godo.DropletMultiCreateRequest) { r.VPCUUID = elsewhere }, 422, dosim.MessageInvalidVPC},
		"one more than the quota":         {func(r *godo.DropletMultiCreateRequest) { *r = *several(4) }, 422, dosim.MessageDropletLimit},
	} {
		t.Run(what, func(t *testing.T) {
			sim, c := open(t, dosim.Options{DropletLimit: 3})
			req := several(2)
			test.change(req)
			_, _, err := c.Droplets.CreateMultiple(ctx, req)
			wantRefusal(t, err, test.status, test.message)
			if truth(sim) != "" {
				t.Errorf("it made %q all the same", truth(sim))
			}
		})
	}
}

func TestQuotaCountsWhatIsOnItsWayOut(t *testing.T) {
	sim, c := open(t, dosim.Options{DropletLimit: 1})
	d := create(t, c, "ci-1", "fleeting")
	remove(t, c, d.ID)
	_, _, err := c.Droplets.Create(ctx, single("ci-2"))
	wantRefusal(t, err, 422, dosim.MessageDropletLimit)
	sim.SetDropletLimit(2)
	create(t, c, "ci-2")
}

func TestGPULimit(t *testing.T) {
	_, c := open(t, dosim.Options{GPULimit: 1, DropletLimit: 2})
	var got []string
	for _, name := range []string{"gpu", "gpu", "ordinary", "ordinary"} {
		req := single(name)
		if name == "gpu" {
			req.Size, req.Region, req.Image = "gpu-h100x1-80gb-contracted", "nyc3", godo.DropletCreateImage{ID: 204117263}
		}
		if _, _, err := c.Droplets.Create(ctx, req); err != nil {
			_, name, _ = strings.Cut(err.Error(), "will exceed your ")
		}
		got = append(got, name)
	}
	if got := strings.Join(got, " | "); got != "gpu | GPU limit | ordinary | droplet limit" {
		t.Errorf("got %q", got)
	}
}

func TestImagesThatAreNotFit(t *testing.T) {
	for what, test := range map[string]struct {
		image            dosim.Image
		ipv6, monitoring bool
		message          string // empty: accepted
	}{
		"custom":                  {image: dosim.Image{Custom: true}},
		"custom with ipv6":        {dosim.Image{Custom: true}, true, false, dosim.MessageCustomIPv6},
		"custom with monitoring":  {dosim.Image{Custom: true}, false, true, dosim.MessageNoMonitoring},
		"a snapshot with both":    {dosim.Image{}, true, true, ""},
		"pending":                 {dosim.Image{Custom: true, Status: "pending"}, false, false, dosim.MessageInvalidImage},
		"said to be available":    {dosim.Image{Status: "available"}, false, false, ""},
		"NEW, as soon as it came": {dosim.Image{Status: "NEW"}, false, false, dosim.MessageInvalidImage},
	} {
		sim, c := open(t, dosim.Options{})
		req := single("ci-1")
		req.Image, req.IPv6, req.Monitoring = godo.DropletCreateImage{ID: sim.AddImage(test.image)}, test.ipv6, test.monitoring
		if _, _, err := c.Droplets.Create(ctx, req); test.message != "" {
			wantRefusal(t, err, 422, test.message)
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

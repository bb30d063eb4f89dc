package dosim_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// A Droplet is in the ledger as its request had it, and in godo's form as DigitalOcean has it.
func TestCreate(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	key := must[*godo.Key](t)(c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "k", PublicKey: publicKey}))
	req := ordinary("ci-1")
	req.SSHKeys, req.Tags = []godo.DropletCreateSSHKey{{Fingerprint: key.Fingerprint}}, []string{"fleeting", "fleeting-group:ci"}
	req.UserData, req.IPv6 = "#cloud-config\n", true
	d, resp, err := c.Droplets.Create(ctx, req)
	if err != nil || d.Status != "new" || d.VPCUUID != "" || len(d.Networks.V4) != 0 || len(resp.Links.Actions) != 1 {
		t.Fatalf("%v, %+v, links %+v", err, d, resp.Links)
	}
	req.UserData = strings.Repeat("#", 64<<10+1)
	if _, _, err := c.Droplets.Create(ctx, req); err == nil || !strings.Contains(err.Error(), "User data is too long.") {
		t.Errorf("user data of more than 64 KiB: %v", err)
	}
	d = must[*godo.Droplet](t)(c.Droplets.Get(ctx, d.ID))
	got := sim.Droplets()[0]
	want := dosim.Droplet{
		ID: d.ID, Name: "ci-1", Region: "fra1", Size: "s-1vcpu-1gb", Image: "ubuntu-24-04-x64", Status: "new",
		Tags: d.Tags, VPC: d.VPCUUID, Project: got.Project, PriceHourly: d.Size.PriceHourly,
		PublicIPv4: netip.MustParseAddr("127.64.0.1"), PrivateIPv4: netip.MustParseAddr("127.96.0.1"),
		PublicIPv6: netip.MustParseAddr("2001:db8::1"), AuthorizedKeys: []string{publicKey}, UserData: "#cloud-config\n",
		Features: []string{"droplet_agent", "ipv6", "private_networking"}, Created: got.Created, ReadyAt: got.ReadyAt,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || d.VPCUUID == "" {
		t.Errorf("in VPC %q (-want +got):\n%s", d.VPCUUID, diff)
	}
}

func TestListsComeInPages(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	for i := range 45 {
		sim.AddDroplet(dosim.Droplet{Name: fmt.Sprintf("ci-%02d", i)})
	}
	var names []string
	for opt := new(godo.ListOptions); ; {
		droplets, resp, err := c.Droplets.List(ctx, opt)
		if err != nil || resp.Meta.Total != 45 || len(droplets) > 20 {
			t.Fatalf("%v, %+v, %d", err, resp.Meta, len(droplets))
		}
		for _, d := range droplets {
			names = append(names, d.Name)
		}
		if resp.Links.IsLastPage() {
			break
		}
		page, err := resp.Links.CurrentPage()
		if err != nil {
			t.Fatal(err)
		}
		opt.Page = page + 1
	}
	if got := strings.Join(names, " "); got != billed(sim) {
		t.Errorf("got %q", got)
	}
}

func TestCatalog(t *testing.T) {
	_, c := open(t, dosim.Options{})
	counts := map[string]int{}
	for _, z := range must[[]godo.Size](t)(c.Sizes.List(ctx, &godo.ListOptions{PerPage: 200})) {
		counts["sizes"]++
		if z.Available && len(z.Regions) == 0 {
			counts["sold out"]++
		}
		if z.GPUInfo != nil {
			counts["gpus"]++
		}
	}
	for _, r := range must[[]godo.Region](t)(c.Regions.List(ctx, nil)) {
		if !r.Available && len(r.Sizes) == 0 {
			counts["closed regions"]++
		}
		if slices.Contains(r.Sizes, "gpu-h100x1-80gb-contracted") {
			counts["by contract"]++
		}
	}
	for _, v := range must[[]*godo.VPC](t)(c.VPCs.List(ctx, nil)) {
		if v.Default && must[*godo.VPC](t)(c.VPCs.Get(ctx, v.ID)).RegionSlug == v.RegionSlug {
			counts["default VPCs"]++
		}
	}
	want := map[string]int{"sizes": 11, "sold out": 1, "gpus": 1, "closed regions": 1, "by contract": 2, "default VPCs": 9}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if i := must[*godo.Image](t)(c.Images.GetBySlug(ctx, "docker-20-04")); i.MinDiskSize != 25 || len(i.Regions) == 0 || i.Type != "base" {
		t.Errorf("got %+v", i)
	}
}

func TestTheTokenSaysWhichAccount(t *testing.T) {
	a, b := dosim.New(dosim.Options{Token: "a"}), dosim.New(dosim.Options{Token: "b"})
	both := dosim.InProcess(specified(t, dosim.Accounts{a, b}))
	team := func(token string) string {
		account, _, err := client(t, both, token, "https://api.digitalocean.com/").Account.Get(ctx)
		if err != nil {
			return err.Error()
		}
		return account.Team.UUID
	}
	before := team("a")
	if before == team("b") {
		t.Errorf("both are of team %s", before)
	}
	a.SetToken("rotated")
	if got := team("rotated"); got != before {
		t.Errorf("the new token is of team %s, the old one was of %s", got, before)
	}
	if got := team("a"); !strings.Contains(got, "401 ") || !strings.Contains(got, "Unable to authenticate you") {
		t.Errorf("the old token: %s", got)
	}
}

func TestRequestLog(t *testing.T) {
	sim, c := open(t, dosim.Options{PerMinute: 3})
	must[*godo.Droplet](t)(c.Droplets.Create(ctx, ordinary("ci-1")))
	must[[]godo.Droplet](t)(c.Droplets.ListByTag(ctx, "a", nil))
	sim.Inject(dosim.Fault{Op: "*", Status: http.StatusTooManyRequests})
	for range 2 { // the first by the fault, the second by the limit
		_, _, _ = c.Droplets.Get(ctx, 1)
	}
	log := sim.Requests()
	for i := range log {
		log[i].Time = log[0].Time
	}
	at := log[0].Time
	want := []dosim.Request{
		{Time: at, Proto: "HTTP/1.1", Method: "POST", Path: "/v2/droplets", Op: "POST /v2/droplets", Status: 202},
		{Time: at, Proto: "HTTP/1.1", Method: "GET", Path: "/v2/droplets", Query: "tag_name=a", Op: "GET /v2/droplets", Status: 200},
		{Time: at, Proto: "HTTP/1.1", Method: "GET", Path: "/v2/droplets/1", Op: "GET /v2/droplets/{id}", Status: 429, Fault: "*: 429"},
		{Time: at, Proto: "HTTP/1.1", Method: "GET", Path: "/v2/droplets/1", Op: "GET /v2/droplets/{id}", Status: 429},
	}
	if diff := cmp.Diff(want, log); diff != "" || sim.Throttled() != 1 || sim.RequestCounts()["GET /v2/droplets/{id}"] != 2 {
		t.Errorf("%d throttled, %v (-want +got):\n%s", sim.Throttled(), sim.RequestCounts(), diff)
	}
}

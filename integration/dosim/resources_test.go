package dosim_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func droplets(ids ...int) []godo.Resource {
	var all []godo.Resource
	for _, id := range ids {
		all = append(all, godo.Resource{ID: strconv.Itoa(id), Type: godo.DropletResourceType})
	}
	return all
}

func TestTaggingAndDeletingByTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tag = "fleeting-delete:run1"
		sim, c := open(t, dosim.Options{})
		a, b := create(t, c, "a", "fleeting").ID, create(t, c, "b", "fleeting").ID
		create(t, c, "c", "fleeting")

		_, err := c.Tags.TagResources(ctx, tag, &godo.TagResourcesRequest{Resources: droplets(a)})
		wantRefusal(t, err, 404, dosim.MessageNotFound)
		_, err = c.Droplets.DeleteByTag(ctx, tag)
		wantRefusal(t, err, 404, dosim.MessageNotFound)
		if _, _, err := c.Tags.Create(ctx, &godo.TagCreateRequest{Name: tag}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Tags.TagResources(ctx, tag, &godo.TagResourcesRequest{Resources: droplets(a, b, 4711)}); err != nil {
			t.Fatal(err)
		}
		sim.Untag(b, tag)
		if got := must[*godo.Tag](t)(c.Tags.Get(ctx, tag)).Resources.Droplets.Count; got != 1 {
			t.Errorf("%d Droplets carry the tag, want 1", got)
		}
		if _, err := c.Droplets.DeleteByTag(ctx, tag); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if truth(sim) != "b c" {
			t.Errorf("left are %q", truth(sim))
		}
		if _, err := c.Tags.Delete(ctx, tag); err != nil {
			t.Fatal(err)
		}
		_, err = c.Tags.Delete(ctx, tag)
		wantRefusal(t, err, 404, dosim.MessageNotFound)
	})
}

func TestTagNames(t *testing.T) {
	c := client(t, dosim.New(dosim.Options{}))
	for _, name := range []string{"a.b", "a b", "", strings.Repeat("a", 256)} {
		_, resp, err := c.Tags.Create(ctx, &godo.TagCreateRequest{Name: name})
		if err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: got %v", name, err)
		}
	}
	must[*godo.Tag](t)(c.Tags.Create(ctx, &godo.TagCreateRequest{Name: strings.Repeat("a", 255)}))
	if tags := must[[]godo.Tag](t)(c.Tags.List(ctx, nil)); len(tags) != 2 {
		t.Errorf("got %d tags", len(tags))
	}
}

func TestKeys(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	one := must[*godo.Key](t)(c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "one", PublicKey: publicKey}))
	_, _, err := c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "again", PublicKey: publicKey})
	wantRefusal(t, err, 422, dosim.MessageKeyInUse)
	_, _, err = c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "bad", PublicKey: "ssh-ed25519 AAAA"})
	wantRefusal(t, err, 422, dosim.MessageInvalidKey)

	byID := must[*godo.Key](t)(c.Keys.GetByID(ctx, one.ID))
	byFingerprint := must[*godo.Key](t)(c.Keys.GetByFingerprint(ctx, one.Fingerprint))
	if diff := cmp.Diff(byID, byFingerprint); diff != "" || byID.PublicKey != publicKey {
		t.Errorf("by id and by fingerprint: %s", diff)
	}
	req := single("ci-1")
	req.SSHKeys = []godo.DropletCreateSSHKey{{ID: one.ID}}
	must[*godo.Droplet](t)(c.Droplets.Create(ctx, req))
	if _, err := c.Keys.DeleteByID(ctx, one.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Keys.GetByID(ctx, one.ID)
	wantRefusal(t, err, 404, dosim.MessageNotFound)
	if got := sim.Droplets()[0].AuthorizedKeys; len(got) != 1 || got[0] != publicKey {
		t.Errorf("the Droplet's keys are %q", got)
	}
	two := must[*godo.Key](t)(c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "two", PublicKey: anotherKey}))
	if two.ID == one.ID {
		t.Error("a key's id was used again")
	}
}

func TestImages(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	newest := sim.AddImage(dosim.Image{Name: "golden-2", Tags: []string{"ci-golden"}, Regions: []string{"fra1"}})
	names := func(images []godo.Image) string {
		var all []string
		for _, i := range images {
			all = append(all, i.Name)
		}
		return strings.Join(all, ", ")
	}
	for how, test := range map[string]struct {
		images []godo.Image
		want   string
	}{
		"private": {must[[]godo.Image](t)(c.Images.ListUser(ctx, nil)), "ci-runner-golden, golden-2"},
		"by tag":  {must[[]godo.Image](t)(c.Images.ListByTag(ctx, "ci-golden", nil)), "ci-runner-golden, golden-2"},
	} {
		if got := names(test.images); got != test.want {
			t.Errorf("%s: got %q, want %q", how, got, test.want)
		}
	}
	if i := must[*godo.Image](t)(c.Images.GetBySlug(ctx, "docker-20-04")); i.MinDiskSize != 25 || len(i.Regions) == 0 || i.Slug != "docker-20-04" || i.Type != "base" {
		t.Errorf("got %+v", i)
	}
	if i := must[*godo.Image](t)(c.Images.GetByID(ctx, newest)); i.Slug != "" || i.Name != "golden-2" {
		t.Errorf("got %+v", i)
	}
	_, _, err := c.Images.GetBySlug(ctx, "docker-22-04")
	wantRefusal(t, err, 404, dosim.MessageNotFound)

	// Snapshots can be tagged, public images cannot.
	both := []godo.Resource{{ID: strconv.Itoa(newest), Type: godo.ImageResourceType}, {ID: "201423541", Type: godo.ImageResourceType}}
	must[*godo.Tag](t)(c.Tags.Create(ctx, &godo.TagCreateRequest{Name: "new"}))
	for range 2 {
		if _, err := c.Tags.TagResources(ctx, "new", &godo.TagResourcesRequest{Resources: both}); err != nil {
			t.Error(err)
		}
	}
	if got := names(must[[]godo.Image](t)(c.Images.ListByTag(ctx, "new", nil))); got != "golden-2" {
		t.Errorf("the new tag has %q", got)
	}
}

func TestCatalogAndAccount(t *testing.T) {
	sim, c := open(t, dosim.Options{DropletLimit: 25})
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
	sim.SetAccount(func(a *dosim.Account) {
		a.Status, a.StatusMessage, a.EmailVerified, a.TeamName = "locked", "Payment failed.", false, "Others"
	})
	a := must[*godo.Account](t)(c.Account.Get(ctx))
	if a.DropletLimit != 25 || a.Status != "locked" || a.StatusMessage != "Payment failed." || a.EmailVerified || a.Team.Name != "Others" {
		t.Errorf("got %+v", a)
	}
}

func TestProjectsTakeDroplets(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	d := create(t, c, "ci-1")
	const project = "00000002-9a3e-4000-8000-000000000002"
	var got []string
	for range 2 {
		for _, r := range must[[]godo.ProjectResource](t)(c.Projects.AssignResources(ctx, project, d.URN(), "do:droplet:4711")) {
			got = append(got, r.Status)
		}
	}
	if diff := cmp.Diff([]string{"assigned", "not_found", "already_assigned", "not_found"}, got); diff != "" || sim.Droplets()[0].Project != project {
		t.Errorf("in %s: %s", sim.Droplets()[0].Project, diff)
	}
	_, _, err := c.Projects.AssignResources(ctx, "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679", d.URN())
	wantRefusal(t, err, 404, dosim.MessageNotFound)
}

func TestTheTokenSaysWhichAccount(t *testing.T) {
	a, b := dosim.New(dosim.Options{Token: "a"}), dosim.New(dosim.Options{Token: "b", FirstDropletID: 600_000_001})
	b.AddDroplet(dosim.Droplet{Name: "only-b-has-it"})
	both := specified(t, dosim.Accounts{a, b})
	as := func(token string) *godo.Client {
		return newGodo(t, &http.Client{Transport: bearer{dosim.InProcess(both), token}}, "https://api.digitalocean.com/")
	}
	if all(t, as("a")) != "" || all(t, as("b")) != "only-b-has-it" {
		t.Errorf("a has %q, b has %q", all(t, as("a")), all(t, as("b")))
	}
	team := func(token string) string { return must[*godo.Account](t)(as(token).Account.Get(ctx)).Team.UUID }
	before := team("a")
	if before == "" || before == team("b") {
		t.Errorf("both are of team %s", before)
	}
	a.SetToken("rotated")
	if got := team("rotated"); got != before {
		t.Errorf("the new token is of team %s, the old one was of %s", got, before)
	}
	_, _, err := as("a").Account.Get(ctx)
	wantRefusal(t, err, 401, dosim.MessageUnauthorized)
}

func TestRequestLog(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	d := create(t, c, "ci-1")
	must[*godo.Droplet](t)(c.Droplets.Get(ctx, d.ID))
	must[[]godo.Droplet](t)(c.Droplets.ListByTag(ctx, "a", nil))
	sim.Inject(dosim.Fault{Op: "*", Status: 503})
	_, _, err := c.Droplets.Get(ctx, d.ID)
	wantRefusal(t, err, 503, "")
	want := map[string]int{"POST /v2/droplets": 1, "GET /v2/droplets/{id}": 2, "GET /v2/droplets": 1}
	if diff := cmp.Diff(want, sim.RequestCounts()); diff != "" {
		t.Error(diff)
	}
	log := sim.Requests()
	if log[2].Proto != "HTTP/1.1" || log[2].Query != "tag_name=a" || log[2].Status != 200 || log[2].Fault != "" {
		t.Errorf("the list was logged as %+v", log[2])
	}
	if log[3].Fault != "*: 503" || log[3].Status != 503 {
		t.Errorf("the outage was logged as %+v", log[3])
	}
}

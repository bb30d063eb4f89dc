package dosim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
)

// TestContract sends every operation that the simulator knows through DigitalOcean's specification, once as it should
// be and once refused. All other tests of this package are held to it too; this one makes sure that none is missed.
func TestContract(t *testing.T) {
	if specification == nil {
		t.Skipf("not checked against DigitalOcean's specification: set %s to the path of its OpenAPI file, from %s",
			contract.Env, contract.Source)
	}
	sim, c := open(t, dosim.Options{BootTime: 1, DeleteTime: 1, PerMinute: -1})
	before := specification.Checked()

	key := must[*godo.Key](t)(c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "k", PublicKey: publicKey}))
	multi := several(3, "fleeting", "fleeting-delete:x")
	multi.SSHKeys = []godo.DropletCreateSSHKey{{ID: key.ID}, {Fingerprint: key.Fingerprint}}
	multi.IPv6, multi.Monitoring, multi.Backups, multi.UserData = true, true, true, "#!/bin/sh\n"
	three := must[[]godo.Droplet](t)(c.Droplets.CreateMultiple(ctx, multi))
	gpu := single("gpu")
	gpu.Size, gpu.Region, gpu.Image = "gpu-h100x1-80gb", "nyc3", godo.DropletCreateImage{ID: 204117263}
	must[*godo.Droplet](t)(c.Droplets.Create(ctx, gpu))
	const project = "00000002-9a3e-4000-8000-000000000002"
	vpc := must[[]*godo.VPC](t)(c.VPCs.List(ctx, nil))[0].ID
	first, id := three[0].ID, key.ID

	for op, do := range map[string]func() error{
		"GET /v2/droplets/{id}": func() error { _, _, err := c.Droplets.Get(ctx, first); return err },
		"POST /v2/tags":         func() error { _, _, err := c.Tags.Create(ctx, &godo.TagCreateRequest{Name: "t"}); return err },
		"GET /v2/tags/{tag}":    func() error { _, _, err := c.Tags.Get(ctx, "fleeting"); return err },
		"POST /v2/tags/{tag}/resources": func() error {
			_, err := c.Tags.TagResources(ctx, "fleeting", &godo.TagResourcesRequest{Resources: droplets(first)})
			return err
		},
		"GET /v2/account/keys/{id}":        func() error { _, _, err := c.Keys.GetByFingerprint(ctx, key.Fingerprint); return err },
		"GET /v2/images/{id}":              func() error { _, _, err := c.Images.GetBySlug(ctx, "docker-20-04"); return err },
		"GET /v2/vpcs/{id}":                func() error { _, _, err := c.VPCs.Get(ctx, vpc); return err },
		"POST /v2/projects/{id}/resources": func() error { _, _, err := c.Projects.AssignResources(ctx, project, three[0].URN()); return err },
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	for _, do := range []func() (*godo.Response, error){
		func() (*godo.Response, error) { return c.Droplets.Delete(ctx, first) },
		func() (*godo.Response, error) { return c.Droplets.DeleteByTag(ctx, "fleeting-delete:x") },
		func() (*godo.Response, error) { return c.Tags.Delete(ctx, "fleeting-delete:x") },
		func() (*godo.Response, error) { return c.Keys.DeleteByID(ctx, id) },
	} {
		if resp, err := do(); err != nil || resp.StatusCode != http.StatusNoContent {
			t.Errorf("%v", err)
		}
	}

	// What lists; and what is refused: the error bodies, with a wrong token and with nothing there.
	unknown := newGodo(t, &http.Client{Transport: bearer{dosim.InProcess(specified(t, sim)), "wrong"}}, "https://api.digitalocean.com/")
	for _, op := range sim.Operations() {
		method, path, _ := strings.Cut(op, " ")
		path = strings.NewReplacer("{id}", "1", "{tag}", "nosuchtag").Replace(strings.TrimPrefix(path, "/"))
		for _, c := range []*godo.Client{unknown, c} {
			req, err := c.NewRequest(ctx, method, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Do(ctx, req, nil)
		}
	}
	succeeded := map[string]bool{}
	for _, r := range sim.Requests() {
		succeeded[r.Op] = succeeded[r.Op] || r.Status < 300
	}
	for _, op := range sim.Operations() {
		if !succeeded[op] {
			t.Errorf("%s was refused whenever it was sent", op)
		}
	}
	if n := specification.Checked() - before; n < 2*len(sim.Operations()) {
		t.Errorf("only %d answers were checked", n)
	}
}

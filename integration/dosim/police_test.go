package dosim_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Each offence is committed, and nothing else: exactly one violation, which names it.
func TestOffences(t *testing.T) {
	create := func(c *godo.Client, r *godo.DropletCreateRequest) { _, _, _ = c.Droplets.Create(ctx, r) }
	for offence, test := range map[string]struct {
		commit func(sim *dosim.Sim, c *godo.Client, proper *godo.DropletCreateRequest)
		want   string // empty: no offence
	}{
		"a proper life": {func(_ *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			d, _, _ := c.Droplets.Create(ctx, r)
			for range 10 {
				_, _ = c.Droplets.Delete(ctx, d.ID)
			}
		}, ""},
		"one name twice": {func(_ *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			create(c, r)
			create(c, r)
		}, "created ci-1 in fleeting-group:ci, where a living Droplet has that name"},
		"one name in two groups": {func(_ *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			create(c, r)
			r.Tags = []string{"fleeting", "fleeting-group:other"}
			create(c, r)
		}, ""},
		"one name after another": {func(sim *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			create(c, r)
			sim.Destroy(sim.Droplets()[0].ID)
			create(c, r)
		}, ""},
		"no key": {func(_ *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			r.SSHKeys = nil
			create(c, r)
		}, "created ci-1 without SSH keys"},
		"hammering": {func(_ *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			d, _, _ := c.Droplets.Create(ctx, r)
			_, _ = c.Droplets.Delete(ctx, d.ID)
			for range 15 {
				_, _ = c.Droplets.Delete(ctx, d.ID)
			}
		}, "more than 10 times in a minute"},
		"somebody else's": {func(sim *dosim.Sim, c *godo.Client, _ *godo.DropletCreateRequest) {
			_, _ = c.Droplets.Delete(ctx, sim.AddDroplet(dosim.Droplet{Name: "web", Tags: []string{"fleeting-group:ci"}}))
		}, `(web), which is not tagged "fleeting"`},
		"a whole group": {func(_ *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			create(c, r)
			_, _ = c.Droplets.DeleteByTag(ctx, "fleeting-group:ci")
		}, `deleted by the tag "fleeting-group:ci"`},
		"somebody else's by tag": {func(sim *dosim.Sim, c *godo.Client, _ *godo.DropletCreateRequest) {
			sim.AddDroplet(dosim.Droplet{Name: "web", Tags: []string{"fleeting-delete:x"}})
			_, _ = c.Droplets.DeleteByTag(ctx, "fleeting-delete:x")
		}, `(web) by the tag "fleeting-delete:x", and it is not tagged "fleeting"`},
		"a person's key": {func(sim *dosim.Sim, c *godo.Client, _ *godo.DropletCreateRequest) {
			_, _ = c.Keys.DeleteByID(ctx, sim.Keys()[0].ID)
		}, "(mine), which a person had put on the account"},
		"its own key": {func(_ *dosim.Sim, c *godo.Client, _ *godo.DropletCreateRequest) {
			key, _, _ := c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "own", PublicKey: anotherKey})
			_, _ = c.Keys.DeleteByID(ctx, key.ID)
		}, ""},
		"deaf to 429": {func(_ *dosim.Sim, c *godo.Client, _ *godo.DropletCreateRequest) {
			for range 100 {
				_, _, _ = c.Account.Get(ctx)
			}
		}, "more than 20 requests before retry-after"},
		"a refused create without a key": {func(sim *dosim.Sim, c *godo.Client, r *godo.DropletCreateRequest) {
			r.SSHKeys = nil
			sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Status: 503})
			create(c, r)
		}, ""},
	} {
		t.Run(offence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, c := open(t, dosim.Options{PerMinute: 30, DeleteTime: time.Minute})
				proper := single("ci-1", "fleeting", "fleeting-group:ci")
				proper.SSHKeys = []godo.DropletCreateSSHKey{{ID: sim.AddKey("mine", publicKey).ID}}
				test.commit(sim, c, proper)
				got := strings.Join(sim.Violations(), "\n")
				if (got == "") != (test.want == "") || !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
					t.Errorf("violations: %q, want one with %q", got, test.want)
				}
			})
		})
	}
}

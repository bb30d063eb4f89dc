package provider

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestTokenWithoutAScope lives a life in which one request is always refused for
// want of a scope. What docs/security.md says of that is what happens, each of it
// is honest towards the runner, and as soon as the token has the scope, in
// mid-life, all is well.
func TestTokenWithoutAScope(t *testing.T) {
	const all, no = "15 run, 15 are destroyed", "it does not start"
	want := map[string]string{
		"GET /v2/account":               all,
		"GET /v2/regions":               all,
		"GET /v2/sizes":                 all,
		"GET /v2/images":                all,
		"POST /v2/account/keys":         no,
		"DELETE /v2/account/keys/{id}":  all,
		"GET /v2/droplets":              no,
		"GET /v2/droplets/{id}":         all,
		"POST /v2/droplets":             "0 run, 0 are destroyed",
		"DELETE /v2/droplets/{id}":      "15 run, 11 are destroyed",
		"DELETE /v2/droplets":           all,
		"POST /v2/tags":                 all,
		"POST /v2/tags/{tag}/resources": all,
		"DELETE /v2/tags/{tag}":         all,
	}
	got := map[string]string{}
	for _, op := range slices.Sorted(maps.Keys(want)) {
		t.Run(op, func(t *testing.T) {
			ownState(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(lively)
				defer sim.Close()
				sim.Inject(dosim.Fault{Op: op, Status: http.StatusForbidden, Times: -1})
				got[op] = lifeWithout(t, sim)
			})
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what a life is without a scope, expected (-) and seen (+):\n%s", diff)
	}
}

// lifeWithout tells how far a life gets while a request is refused.
func lifeWithout(t *testing.T, sim *dosim.Sim) string {
	const wanted = 15 // of which 4 are destroyed by their ids, and 11 together
	g := configured(t, sim, options{"max_instances": 20})
	p, err := launch(t.Context(), g, sim, hclog.NewNullLogger())
	if err != nil {
		t.Log(err)
		if n := len(sim.Droplets()); n > 0 {
			t.Errorf("%d Droplets of a start that failed", n)
		}
		return "it does not start"
	}
	p.provisioner.Request(wanted)
	time.Sleep(5 * time.Minute)
	running := p.provisioner.Capacity().Running
	if n := len(sim.Droplets()); n != running {
		t.Errorf("%d Droplets live, and the runner knows %d", n, running)
	}
	if running == 0 { // the runner goes on asking; it need not stay so
		sim.ClearFaults()
		if err := within(30*time.Minute, func() error {
			if c := p.provisioner.Capacity(); c.Running != wanted {
				return fmt.Errorf("%d were asked for, and the runner has %+v", wanted, c)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	for n, i := range p.provisioner.Instances() {
		if n == 4 {
			time.Sleep(5 * time.Second)
		}
		i.Delete()
	}
	time.Sleep(5 * time.Minute)
	destroyed := wanted - len(sim.Droplets())
	if running == 0 {
		destroyed = 0
	}
	sim.ClearFaults()
	if err := within(time.Hour, func() error {
		if c := p.provisioner.Capacity(); len(sim.Droplets()) > 0 || c.Creating+c.Running+c.Deleting+c.Requested != 0 {
			return fmt.Errorf("%d Droplets live on, the runner has %+v", len(sim.Droplets()), c)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	p.stop()
	if len(p.offences) > 0 || len(sim.Violations()) > 0 {
		t.Error(p.offences, sim.Violations())
	}
	return fmt.Sprintf("%d run, %d are destroyed", running, destroyed)
}

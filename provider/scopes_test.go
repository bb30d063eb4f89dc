package provider

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
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
	const all, no = "15 run, 15 are deleted", "it does not start"
	want := map[string]string{
		"GET /v2/account":               all,
		"GET /v2/regions":               all,
		"GET /v2/sizes":                 all,
		"GET /v2/images/{id}":           all,
		"GET /v2/tags/{tag}":            no,
		"POST /v2/account/keys":         no,
		"DELETE /v2/account/keys/{id}":  all,
		"GET /v2/droplets":              no,
		"GET /v2/droplets/{id}":         all,
		"POST /v2/droplets":             "0 run, 0 are deleted",
		"DELETE /v2/droplets/{id}":      "15 run, 11 are deleted",
		"DELETE /v2/droplets":           all,
		"POST /v2/tags":                 all,
		"POST /v2/tags/{tag}/resources": all,
		"DELETE /v2/tags/{tag}":         all,
	}
	got := map[string]string{}
	for _, op := range slices.Sorted(maps.Keys(want)) {
		t.Run(op, func(t *testing.T) {
			onAccount(t, lively, func(t *testing.T, sim *dosim.Sim) {
				sim.Inject(dosim.Fault{Op: op, Status: http.StatusForbidden, Times: -1})
				got[op] = lifeWithout(t, sim)
			})
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what a life is without a scope, expected (-) and seen (+):\n%s", diff)
	}
}

// lifeWithout says how far a life gets while a request is refused.
func lifeWithout(t *testing.T, sim *dosim.Sim) string {
	const wanted = 15 // of which 4 are deleted by their ids, and 11 together
	p, err := launch(t.Context(), configured(t, sim, options{"max_instances": 20}), sim, hclog.NewNullLogger())
	if err != nil {
		t.Log(err)
		if n := len(sim.Droplets()); n > 0 {
			t.Errorf("%d Droplets of a start that failed", n)
		}
		return "it does not start"
	}
	await := func(d time.Duration, what string, ok func() bool) {
		t.Helper()
		if err := within(d, func() error {
			if !ok() {
				return fmt.Errorf("not %s: the runner has %+v, and there are %d", what, p.provisioner.Capacity(), len(sim.Droplets()))
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	p.provisioner.Request(wanted)
	time.Sleep(5 * time.Minute)
	running := p.provisioner.Capacity().Running
	if n := len(sim.Droplets()); n != running {
		t.Errorf("%d Droplets live, and the runner knows %d", n, running)
	}
	if running == 0 { // the runner goes on asking; it need not stay so
		sim.ClearFaults()
		await(30*time.Minute, "running", func() bool { return p.provisioner.Capacity().Running == wanted })
	}
	for n, i := range p.provisioner.Instances() {
		if n == 4 {
			time.Sleep(5 * time.Second)
		}
		i.Delete()
	}
	time.Sleep(5 * time.Minute)
	deleted := min(running, wanted-len(sim.Droplets()))
	sim.ClearFaults()
	await(time.Hour, "gone", func() bool {
		c := p.provisioner.Capacity()
		return len(sim.Droplets())+c.Creating+c.Running+c.Deleting+c.Requested == 0
	})
	p.stop()
	if len(p.offences) > 0 {
		t.Error(p.offences)
	}
	return fmt.Sprintf("%d run, %d are deleted", running, deleted)
}

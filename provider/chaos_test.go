package provider

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestEveryFaultAtEveryRequest lives one life through the real provisioner for
// every fault at every request that such a life makes: create, boot, use, delete,
// end. There is one oracle: nothing that must never happen has happened on the
// wire or on the account, the runner waits for nothing, and in the end nothing is
// left that costs or is litter.
func TestEveryFaultAtEveryRequest(t *testing.T) {
	faults := []dosim.Fault{
		{Refused: true},
		{Reset: true}, {Reset: true, Applied: true},
		{Delay: 7 * time.Second}, {Hang: true}, {Hang: true, Applied: true},
		{Cut: true},
		{Status: 500}, {Status: 500, Applied: true},
		{Status: 502, Body: dosim.EmptyBody}, {Status: 502, Body: dosim.EmptyBody, Applied: true},
		{Status: 503, Body: dosim.HTMLBody}, {Status: 503, Body: dosim.HTMLBody, Applied: true},
		{Status: 429}, {Status: 429, Header: map[string]string{"Retry-After": "20"}},
		{Status: 401}, {Status: 403}, {Status: 404},
		{Status: 200, Body: "{}", Applied: true}, {Status: 200, Body: `[1,`, Applied: true},
	}
	for _, b := range dosim.Behaviours {
		faults = append(faults, dosim.Fault{Behaviour: b, For: 40 * time.Second, First: 1})
	}
	// The requests of a life without faults.
	var ops []string
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(lively)
		defer sim.Close()
		if err := life(t, sim, nil); err != nil {
			t.Fatal(err)
		}
		for op, n := range sim.RequestCounts() {
			t.Logf("%s: %d", op, n)
			ops = append(ops, op)
		}
	})
	if len(ops) < 9 {
		t.Fatalf("a life of %v shows too little", ops)
	}
	skips, repeats := []int{0, 1}, []int{1}
	if os.Getenv("TEST_LONG") != "" { // make verify
		skips, repeats = []int{0, 1, 3}, []int{1, 8}
	}
	for _, op := range ops {
		for _, fault := range faults {
			for _, skip := range skips {
				for _, times := range repeats {
					f := fault
					f.Op, f.Skip, f.Times = op, skip, times
					if f.Behaviour != "" && !meets(f) {
						continue
					}
					if op == "DELETE /v2/tags/{tag}" && (f.Status == http.StatusNotFound || f.Status == http.StatusForbidden) {
						continue // told that it is not there, or not ours to remove: a name that costs nothing is left
					}
					t.Run(f.String(), func(t *testing.T) {
						ownState(t)
						synctest.Test(t, func(t *testing.T) {
							sim := dosim.New(lively)
							defer sim.Close()
							if err := life(t, sim, &f); err != nil {
								t.Error(err)
							}
						})
					})
				}
			}
		}
	}
}

// lively is an account on which everything takes its time.
var lively = dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second}

// meets tells whether a behaviour can happen to an operation.
func meets(f dosim.Fault) bool {
	switch f.Behaviour {
	case dosim.DeleteIgnored, dosim.DeleteNewIgnored:
		return strings.HasPrefix(f.Op, "DELETE /v2/droplets")
	case dosim.ListLags, dosim.TagFilterLags, dosim.ListSkips, dosim.ListRepeats:
		return f.Op == "GET /v2/droplets"
	case dosim.KeyLate:
		return f.Op == "POST /v2/account/keys"
	}
	return f.Op == "POST /v2/droplets"
}

// life scales to 15 and back to 0, with a fault that is armed from the start (or
// none), and then starts once more, as a runner does that is never alone. The
// error says what must not be.
func life(t *testing.T, sim *dosim.Sim, fault *dosim.Fault) error {
	const wanted = 15 // of which 4 are destroyed by their ids, and 11 together
	log := hclog.NewNullLogger()
	group := func() *InstanceGroup { return configured(t, sim, options{"max_instances": 20}) }
	if fault != nil {
		sim.Inject(*fault)
	}
	var p *process
	var err error
	for range 10 { // the runner tries again
		if p, err = launch(t.Context(), group(), sim, log); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("it never starts: %w", err)
	}
	stopped := false
	defer func() {
		if !stopped {
			p.kill()
		}
	}()
	if err := within(30*time.Minute, func() error {
		c := p.provisioner.Capacity()
		// The runner asks again for what it was told is deleted.
		p.provisioner.Request(max(0, wanted-c.Creating-c.Running-c.Requested))
		if c.Running != wanted || c.Requested != 0 {
			return fmt.Errorf("%d instances were asked for, and the runner has %+v", wanted, c)
		}
		return nil
	}); err != nil {
		return err
	}
	for n, i := range p.provisioner.Instances() {
		if i.State() == provider.StateRunning {
			_, _ = i.ConnectInfo(t.Context()) // an error makes the runner delete the instance, which comes next
			_ = i.Heartbeat(t.Context())
		}
		if n == 4 {
			time.Sleep(5 * time.Second)
		}
		i.Delete()
	}
	if err := within(2*time.Hour, func() error {
		if c := p.provisioner.Capacity(); c.Creating+c.Running+c.Deleting+c.Requested != 0 {
			return fmt.Errorf("everything was deleted, and the runner has %+v", c)
		}
		return nil
	}); err != nil {
		return err
	}
	p.stop()
	stopped = true

	// What a fault at the very end has left is swept by the next start.
	sim.ClearFaults()
	again, err := launch(t.Context(), group(), sim, log)
	if err != nil {
		return fmt.Errorf("the next start: %w", err)
	}
	for _, i := range again.provisioner.Instances() {
		i.Delete()
	}
	err = within(time.Hour, func() error {
		if n := len(sim.Droplets()); n > 0 {
			return fmt.Errorf("%d Droplets live on", n)
		}
		return nil
	})
	again.stop()
	if err != nil {
		return err
	}
	return verdict(sim, p, again)
}

// verdict is the oracle's.
func verdict(sim *dosim.Sim, ps ...*process) error {
	for _, p := range ps {
		if o := p.offended(); len(o) > 0 {
			return fmt.Errorf("on the wire: %v", o)
		}
	}
	if v := sim.Violations(); len(v) > 0 {
		return fmt.Errorf("on the account: %v", v)
	}
	if left := leftovers(sim); len(left) > 0 {
		return fmt.Errorf("left: %v", left)
	}
	return nil
}

// within waits, in the bubble's time, until check is nil.
func within(d time.Duration, check func() error) error {
	var err error
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		if err = check(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("after %s: %w", d, err)
}

package provider

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// faults are what can befall a request: each that can meet it, or those with an Op only
// that. Lags are shorter than the minute after which the plugin may draw conclusions.
var faults = func() []dosim.Fault {
	all := []dosim.Fault{
		{Refused: true},
		{Reset: true}, {Reset: true, Applied: true},
		{Delay: 7 * time.Second}, {Hang: true}, {Hang: true, Applied: true},
		{Cut: true},
		{Status: 500}, {Status: 502, Body: dosim.EmptyBody, Applied: true}, {Status: 503, Body: dosim.HTMLBody, Applied: true},
		{Status: 429}, {Status: 429, Header: map[string]string{"Retry-After": "20"}},
		{Status: 401}, {Status: 403}, {Status: 404}, {Status: 404, Body: dosim.HTMLBody},
		{Status: 403, Times: -1}, {Status: 503, Times: -1}, {Status: 404, Body: dosim.HTMLBody, Times: -1}, // until life heals it
		{Status: 200, Body: "{}", Applied: true}, {Status: 200, Body: `[1,`, Applied: true},
		{Op: "DELETE /v2/droplets/{id}", Status: http.StatusUnprocessableEntity, Message: dosim.MessagePendingEvent},
		{Op: "POST /v2/droplets", Behaviour: dosim.FailsLater, For: 30 * time.Second, Region: "nyc3"}, // a placement that accepts and loses
	}
	for _, b := range dosim.Behaviours {
		all = append(all, dosim.Fault{Behaviour: b, For: 40 * time.Second, First: 1})
	}
	for _, refusal := range []string{"Size is not available in this region.", "creating this/these droplet(s) will exceed your droplet limit",
		"You specified an invalid image for Droplet creation.", "Something that nobody has seen yet."} {
		all = append(all, dosim.Fault{Op: "POST /v2/droplets", Status: 422, Message: refusal})
	}
	return all
}()

// TestEveryFaultAtEveryRequest lives lives through the real provisioner until every
// fault has hit every request that a life makes: create, boot, use, delete, end.
// There is one oracle: nothing that must never happen has happened on the wire or on
// the account, the runner waits for nothing, and in the end nothing is left that
// costs or is left over. In one life each kind of request meets a fault, all different;
// `make verify` has one fault a life, and more often.
func TestEveryFaultAtEveryRequest(t *testing.T) {
	lives := 0
	try := func(faults ...dosim.Fault) (requests []string) {
		t.Helper()
		faults = slices.DeleteFunc(faults, func(f dosim.Fault) bool { return !canMeet(f) })
		lives++
		t.Run(fmt.Sprint(lives), func(t *testing.T) {
			onAccount(t, lively, func(t *testing.T, sim *dosim.Sim) {
				if err := life(t, sim, faults...); err != nil {
					t.Errorf("%v: %v", faults, err)
				}
				requests = slices.Sorted(maps.Keys(sim.RequestCounts()))
			})
		})
		return requests
	}
	ops := try()
	if len(ops) < 9 {
		t.Fatalf("a life of %v shows too little", ops)
	}
	if os.Getenv("TEST_LONG") != "" {
		for _, op := range ops {
			for _, f := range faults {
				for _, f.Skip = range []int{0, 2} {
					for _, times := range []int{1, 8} {
						f := f
						if f.Op, f.Times = cmp.Or(f.Op, op), cmp.Or(f.Times, times); f.Op == op && canMeet(f) {
							try(f)
						}
					}
				}
			}
		}
		return
	}
	for shift := range faults {
		var met []dosim.Fault
		for i, op := range ops {
			f := faults[(i+shift)%len(faults)]
			f.Op = cmp.Or(f.Op, op)
			met = append(met, f)
		}
		try(met...)
	}
}

// lively is an account on which everything takes its time.
var lively = dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second}

// canMeet reports whether a fault makes a difference to its request, and one that
// the plugin can get over.
func canMeet(f dosim.Fault) bool {
	switch f.Behaviour {
	case "":
		// Told that the tag is not there, or not ours to remove: a name that costs nothing is left.
		return f.Op != "DELETE /v2/tags/{tag}" || f.Body != "" || f.Status != http.StatusNotFound && f.Status != http.StatusForbidden
	case dosim.DeleteIgnored, dosim.DeleteNewIgnored:
		return strings.HasPrefix(f.Op, "DELETE /v2/droplets")
	case dosim.ListLags, dosim.TagFilterLags, dosim.ListSkips, dosim.ListRepeats, dosim.ListEmpty:
		return f.Op == "GET /v2/droplets"
	case dosim.OddNetmask, dosim.OddPrice, dosim.OddNetworks:
		return f.Op == "GET /v2/droplets" || f.Op == "GET /v2/droplets/{id}" || f.Op == "POST /v2/droplets"
	case dosim.KeyLate:
		return f.Op == "POST /v2/account/keys"
	}
	return f.Op == "POST /v2/droplets"
}

// life scales to 12 and back to 0, with faults that are armed from the start and heal
// after 5 minutes, and then starts once more, as a runner does that is never alone.
// The error says what must not be.
func life(t *testing.T, sim *dosim.Sim, faults ...dosim.Fault) error {
	const wanted = 12 // of which one is deleted by its id, and 11 together
	log := hclog.NewNullLogger()
	group := func() *InstanceGroup { return configured(t, sim, options{"max_instances": 16, "create_timeout": "5m"}) }
	sim.Inject(faults...)
	time.AfterFunc(5*time.Minute, sim.ClearFaults)
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
		if n == 1 {
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

package provider

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"pgregory.net/rapid"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "20"); err != nil { // unless the command line has another number
		panic(err)
	}
	os.Exit(m.Run())
}

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
		// A placement that accepts and loses.
		{Op: "POST /v2/droplets", Behaviour: dosim.FailsLater, For: 30 * time.Second, Region: "nyc3"},
	}
	for _, b := range dosim.Behaviours {
		all = append(all, dosim.Fault{Behaviour: b, For: 40 * time.Second, First: 1})
	}
	for _, refusal := range []string{"Size is not available in this region.", "Something that nobody has seen yet.",
		"creating this/these droplet(s) will exceed your droplet limit", "You specified an invalid image for Droplet creation."} {
		all = append(all, dosim.Fault{Op: "POST /v2/droplets", Status: 422, Message: refusal})
	}
	return all
}()

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

// TestEveryFaultAtEveryRequest lives lives through the real provisioner until every
// fault has hit every request that a life makes: create, boot, use, delete, end.
// In one life each kind of request meets a fault, all different; `make verify` has one
// fault a life, and more often.
func TestEveryFaultAtEveryRequest(t *testing.T) {
	lives := 0
	try := func(faults ...dosim.Fault) (requests []string) {
		t.Helper()
		faults = slices.DeleteFunc(faults, func(f dosim.Fault) bool { return !canMeet(f) })
		lives++
		t.Run(fmt.Sprint(lives), func(t *testing.T) {
			ownState(t)
			onMachine(t, nil, dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second}, func(m *machine) {
				t.Logf("%v", faults)
				m.life(faults...)
				requests = slices.Sorted(maps.Keys(m.sim.RequestCounts()))
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

// TestAnythingThroughTheProvisioner lets the runner's own provisioner do what it
// may do, DigitalOcean fail as it may fail, people do to Droplets what people do,
// and the plugin be killed and started again, in any order. What must never be is
// looked for all the time; when it is over nothing may be lost, left, or waited
// for. A failing sequence is shrunk, printed, and kept below testdata/rapid.
func TestAnythingThroughTheProvisioner(t *testing.T) {
	ownState(t)
	rapid.Check(t, func(rt *rapid.T) {
		// rapid keeps real time and fails by a panic: the bubble is inside of it.
		var failed any
		o := dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second, PerMinute: -1, PerHour: -1}
		onMachine(t, rt, o, func(m *machine) {
			defer func() { failed = recover() }()
			m.scarce = rapid.Bool().Draw(rt, "scarce")
			m.anything(rt)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

const mostInstances = 15 // more than are destroyed by their ids

// machine is one account and one runner, and what befalls them. There is one oracle:
// nothing that must never happen has happened on the wire or on the account, the runner
// waits for nothing, and in the end nothing is left that costs or is left over.
type machine struct {
	t   *testing.T
	tb  rapid.TB // fails; it is rapid's or t
	sim *dosim.Sim
	*process

	other     *dosim.Sim // another account, on which nothing may happen
	tokenFile string
	ended     []*process
	strangers []dosim.Droplet
	scarce    bool // requests are: creates and deletes go in batches
}

func onMachine(t *testing.T, tb rapid.TB, o dosim.Options, f func(m *machine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim, other := dosim.New(o), dosim.New(dosim.Options{Token: otherToken, FirstDropletID: 9000, PerMinute: -1, PerHour: -1})
		defer sim.Close()
		defer other.Close()
		m := &machine{t: t, tb: tb, sim: sim, other: other, tokenFile: filepath.Join(t.TempDir(), "token")}
		if tb == nil {
			m.tb = t
		}
		m.useToken(dosim.DefaultToken, dosim.DefaultToken)
		// None is of the group: by its name, or by its tags.
		for _, d := range []dosim.Droplet{
			{Name: "ci-database-1", Tags: []string{"fleeting", "fleeting-group:ci"}},
			{Name: "ci-database", Tags: []string{"fleeting", "fleeting-group:ci"}},
			{Name: "ci-x7k2m9qxab", Tags: []string{"fleeting", "fleeting-group:ci-big"}},
		} {
			d.ID = m.sim.AddDroplet(d)
			m.strangers = append(m.strangers, d)
		}
		defer func() {
			if m.process != nil {
				m.kill()
			}
		}()
		f(m)
	})
}

// life scales to 12 and back to 0, with faults that are armed from the start and heal
// after 5 minutes.
func (m *machine) life(faults ...dosim.Fault) {
	const wanted = 12 // of which one is deleted by its id, and 11 together
	m.sim.Inject(faults...)
	time.AfterFunc(5*time.Minute, m.sim.ClearFaults)
	m.launch()
	m.must(30*time.Minute, func() error {
		c := m.provisioner.Capacity()
		// The runner asks again for what it was told is deleted.
		m.provisioner.Request(max(0, wanted-c.Creating-c.Running-c.Requested))
		if c.Running != wanted || c.Requested != 0 {
			return fmt.Errorf("%d instances were asked for, and the runner has %+v", wanted, c)
		}
		return nil
	})
	for n, i := range m.provisioner.Instances() {
		m.use(i)
		if n == 1 {
			time.Sleep(5 * time.Second)
		}
		i.Delete()
	}
	m.conclude()
}

// use is what the runner does before a job. An error makes it delete the instance.
func (m *machine) use(i fleeting.Instance) {
	if i.State() == provider.StateRunning {
		_, _ = i.ConnectInfo(m.t.Context())
		_ = i.Heartbeat(m.t.Context())
	}
}

func (m *machine) deleteAll() {
	for _, i := range m.provisioner.Instances() {
		i.Delete()
	}
}

func (m *machine) anything(rt *rapid.T) {
	seconds := func(rt *rapid.T) {
		time.Sleep(time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second)
	}
	m.launch()
	rt.Repeat(map[string]func(*rapid.T){
		"request":    func(rt *rapid.T) { m.provisioner.Request(rapid.IntRange(1, 12).Draw(rt, "n")) },
		"delete":     func(rt *rapid.T) { m.instance(rt).Delete() },
		"delete all": func(*rapid.T) { m.deleteAll() },
		"connect":    func(rt *rapid.T) { m.use(m.instance(rt)) },
		"wait":       seconds,
		"fault":      func(rt *rapid.T) { m.sim.Inject(m.fault(rt)) },
		"destroy":    func(rt *rapid.T) { m.sim.Destroy(m.droplet(rt).ID) },
		"power off":  func(rt *rapid.T) { m.sim.PowerOff(m.droplet(rt).ID) },
		"power on":   func(rt *rapid.T) { m.sim.PowerOn(m.droplet(rt).ID) },
		"rename": func(rt *rapid.T) {
			d := m.droplet(rt)
			if !m.known(d) {
				rt.Skip("its create may not have been answered, and then nobody could know it")
			}
			m.sim.Rename(d.ID, fmt.Sprintf("renamed-%d", d.ID))
		},
		"keep": func(rt *rapid.T) { m.sim.Tag(m.droplet(rt).ID, "fleeting-keep") },
		"delete the group's tag": func(rt *rapid.T) {
			if slices.ContainsFunc(m.ours(), func(d dosim.Droplet) bool { return !m.known(d) }) {
				rt.Skip("likewise; and of what is being deleted a list proves as much as ever")
			}
			m.sim.DeleteTag("fleeting-group:ci")
		},
		"all seem to be gone": func(rt *rapid.T) { // a bad moment: lists are empty, and each is not found once
			off := func(d dosim.Droplet) bool { return d.Status != "active" } // the group deletes these by itself
			if c := m.provisioner.Capacity(); c.Running < 2 || c.Deleting+c.Requested > 0 || slices.ContainsFunc(m.ours(), off) {
				rt.Skip("it takes two to be in doubt; and of what is being deleted lists prove as much as ever")
			}
			m.sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Behaviour: dosim.ListEmpty, Times: 2},
				dosim.Fault{Op: "GET /v2/droplets/{id}", Status: http.StatusNotFound, Times: mostInstances})
			time.Sleep(5 * time.Second)
			m.sim.ClearFaults()
			time.Sleep(90 * time.Second) // what two moments say alike is believed, and Updates are a minute apart, and more
		},
		"take the key away": func(*rapid.T) {
			for _, k := range m.sim.Keys() {
				m.sim.DeleteKey(k.ID)
			}
		},
		"another account's token": func(rt *rapid.T) {
			m.useToken(otherToken, "revoked")
			seconds(rt)
			m.useToken(dosim.DefaultToken, dosim.DefaultToken)
		},
		"kill": func(*rapid.T) {
			m.kill()
			m.launch()
		},
		"restart": func(*rapid.T) {
			m.stop()
			m.launch()
		},
		"": func(rt *rapid.T) {
			if n, o := len(m.ours()), m.offended(); n > mostInstances || len(o) > 0 {
				rt.Fatalf("%d Droplets, max_instances is %d; on the wire: %v", n, mostInstances, o)
			}
		},
	})
	m.sim.ClearFaults()
	m.conclude()
}

const otherToken = "another-account"

// useToken puts a token into the file, and lets the account have one.
func (m *machine) useToken(file, account string) {
	if err := os.WriteFile(m.tokenFile, []byte(file), 0o600); err != nil {
		m.tb.Fatal(err)
	}
	m.sim.SetToken(account)
}

// machineOps are the requests of a life. Init's have TestInitFaults.
var machineOps = []string{"POST /v2/droplets", "DELETE /v2/droplets/{id}", "DELETE /v2/droplets", "POST /v2/tags/{tag}/resources",
	"GET /v2/droplets", "GET /v2/droplets/{id}", "*"}

// fault draws one that ends, and tells no lies: a 404 of DigitalOcean's, or a Droplet that
// nobody can find, is one that does not exist.
func (m *machine) fault(rt *rapid.T) dosim.Fault {
	f := rapid.SampledFrom(faults).Draw(rt, "fault")
	ops := slices.DeleteFunc(slices.Clone(machineOps), func(op string) bool {
		met := f
		met.Op = op
		return f.Op != "" && f.Op != op || !canMeet(met)
	})
	if len(ops) == 0 || f.Times < 0 || f.Status == http.StatusNotFound && f.Body == "" || f.Behaviour == dosim.LateToRise {
		rt.Skip("not for a life")
	}
	f.Op = rapid.SampledFrom(ops).Draw(rt, "op")
	f.Skip = rapid.IntRange(0, 2).Draw(rt, "skip")
	f.Times = rapid.IntRange(1, 3).Draw(rt, "times")
	f.First *= rapid.IntRange(0, 1).Draw(rt, "first")
	if f.Behaviour == dosim.ListEmpty { // one bad moment: what two lists say alike is believed
		f.Times = 1
	}
	return f
}

// launch starts the plugin as the runner does: again, until it is in. A new run
// knows Droplets by their names, so whoever renamed one has to see to it.
func (m *machine) launch() {
	for _, d := range m.ours() {
		if !strings.HasPrefix(d.Name, "ci-") {
			m.sim.Destroy(d.ID)
		}
	}
	var err error
	for range 20 {
		g := configured(m.t, m.sim, options{"max_instances": mostInstances, "region": []string{"nyc3", "fra1"},
			"token": nil, "token_file": m.tokenFile})
		g.transport = dosim.InProcess(dosim.Accounts{m.sim, m.other})
		if m.scarce {
			g.transport = overHalfSpent{g.transport}
		}
		if m.process, err = launch(m.t.Context(), g, m.sim, hclog.NewNullLogger()); err == nil {
			m.ended = append(m.ended, m.process)
			return
		}
		m.process = nil
	}
	m.tb.Fatalf("it never starts: %v", err)
}

// overHalfSpent is a token of which others have spent most.
type overHalfSpent struct{ http.RoundTripper }

func (o overHalfSpent) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Header.Set("Ratelimit-Limit", "5000")
		resp.Header.Set("Ratelimit-Remaining", "2000")
	}
	return resp, err
}

// conclude lets everything be destroyed, ends faults, starts once more as a runner does that
// is never alone, and looks for what is left.
func (m *machine) conclude() {
	for _, d := range m.sim.Droplets() {
		if slices.Contains(d.Tags, "fleeting-keep") {
			m.sim.Destroy(d.ID) // whoever kept it
		}
	}
	m.must(6*time.Hour, func() error {
		m.deleteAll()
		c := m.provisioner.Capacity()
		if n := len(m.ours()); n+c.Creating+c.Running+c.Deleting+c.Requested+c.Pending > 0 {
			return fmt.Errorf("%d Droplets live and the runner has %+v: %v", n, c, m.ours())
		}
		return nil
	})
	m.stop()
	m.sim.ClearFaults()
	m.launch() // sweeps what only a start without Droplets knows to be left over
	m.stop()
	m.process = nil

	for _, d := range m.strangers { // which somebody may have untagged
		untouched := func(l dosim.Droplet) bool {
			more := slices.ContainsFunc(l.Tags, func(t string) bool { return !slices.Contains(d.Tags, t) })
			return l.ID == d.ID && l.Name == d.Name && !more
		}
		if !slices.ContainsFunc(m.sim.Droplets(), untouched) {
			m.tb.Fatalf("the stranger %s was touched", d.Name)
		}
		m.sim.Destroy(d.ID)
	}
	for _, p := range m.ended {
		if o := p.offended(); len(o) > 0 {
			m.tb.Fatalf("on the wire: %v", o)
		}
	}
	v, left, elsewhere := m.sim.Violations(), leftovers(m.sim), m.other.RequestCounts()["POST /v2/droplets"]
	if len(v)+len(left)+elsewhere > 0 {
		m.tb.Fatalf("on the account: %v; left: %v; on another account: %d creates", v, left, elsewhere)
	}
}

func (m *machine) must(d time.Duration, check func() error) {
	if err := within(d, check); err != nil {
		m.tb.Fatal(err)
	}
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

// ours are the living Droplets that the plugin has made and nobody keeps.
func (m *machine) ours() []dosim.Droplet {
	return slices.DeleteFunc(m.sim.Droplets(), func(d dosim.Droplet) bool {
		return slices.Contains(d.Tags, "fleeting-keep") ||
			slices.ContainsFunc(m.strangers, func(s dosim.Droplet) bool { return s.ID == d.ID })
	})
}

// known reports whether the runner was shown a Droplet as running.
func (m *machine) known(d dosim.Droplet) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown[d.Name] == provider.StateRunning
}

func (m *machine) droplet(rt *rapid.T) dosim.Droplet {
	all := m.ours()
	if len(all) == 0 {
		rt.Skip("no Droplet")
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(rt, "Droplet")]
}

func (m *machine) instance(rt *rapid.T) fleeting.Instance {
	all := m.provisioner.Instances()
	if len(all) == 0 {
		rt.Skip("no instance")
	}
	slices.SortFunc(all, func(a, b fleeting.Instance) int { return strings.Compare(a.ID(), b.ID()) })
	return all[rapid.IntRange(0, len(all)-1).Draw(rt, "instance")]
}

// process is one plugin process with the part of the runner that drives it, the real
// provisioner, and what is between them, in one process and therefore under synctest.
// As over gRPC, a reply is lost when there is an error, an error is only text
// afterwards, and after kill -9 nothing answers.
//
// It watches what crosses, and keeps what must never happen.
type process struct {
	*InstanceGroup
	provisioner *fleeting.Provisioner
	sim         *dosim.Sim
	base        http.RoundTripper
	dead        atomic.Bool

	mu       sync.Mutex
	shown    map[string]provider.State // by the last Update that had no error
	offences []string
}

// launch starts a plugin process and the runner's provisioner on it.
func launch(ctx context.Context, group *InstanceGroup, sim *dosim.Sim, log hclog.Logger) (*process, error) {
	p := &process{InstanceGroup: group, sim: sim, base: group.transport}
	group.transport = p
	var err error
	if p.provisioner, err = fleeting.Init(ctx, log, p); err != nil {
		p.end()
	}
	return p, err
}

// stop ends the runner in good order.
func (p *process) stop() {
	p.provisioner.Shutdown(context.Background())
	p.end()
}

// kill is kill -9 of the plugin, and the end of its runner.
func (p *process) kill() {
	p.dead.Store(true)
	p.stop()
}

// end gives up what the kernel would: the lock, and connections. The
// provisioner's loop notices its own end after its next wait.
func (p *process) end() {
	p.dead.Store(true)
	time.Sleep(2 * time.Minute)
	if r := p.running.Load(); r != nil {
		r.state.Drop()
		r.api.Close()
	}
}

// RoundTrip ends with the process: after kill -9 nothing is sent any more, and no
// answer arrives.
func (p *process) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if !p.dead.Load() {
		resp, err = p.base.RoundTrip(r)
	}
	if !p.dead.Load() {
		return resp, err
	}
	if resp != nil {
		resp.Body.Close()
	}
	return nil, errKilled
}

var errKilled = errors.New("the process was killed")

// call times a call, and makes of its error what the runner hears: without a value.
func call[T any](p *process, bound time.Duration, name string, f func() (T, error)) (value T, err error) {
	var none T
	began := time.Now()
	if !p.dead.Load() {
		value, err = f()
	}
	if took := time.Since(began); took > bound {
		p.offend("%s took %s, more than %s", name, took, bound)
	}
	if p.dead.Load() {
		return none, errKilled
	}
	if err != nil {
		return none, errors.New(err.Error())
	}
	return value, nil
}

func (p *process) offend(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offences = append(p.offences, time.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

// offended returns what must never have happened.
func (p *process) offended() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.offences)
}

func (p *process) Init(ctx context.Context, log hclog.Logger, s provider.Settings) (provider.ProviderInfo, error) {
	return call(p, 40*time.Second, "Init", func() (provider.ProviderInfo, error) { return p.InstanceGroup.Init(ctx, log, s) })
}

func (p *process) Update(ctx context.Context, fn func(string, provider.State)) error {
	shown := map[string]provider.State{}
	_, err := call(p, 15*time.Second, "Update", func() (any, error) {
		return nil, p.InstanceGroup.Update(ctx, func(id string, s provider.State) {
			for _, d := range p.sim.Droplets() {
				if s == provider.StateDeleted && d.Name == id && !slices.Contains(d.Tags, "fleeting-keep") {
					p.offend("%s is shown as %s, and Droplet %d lives: %s", id, s, d.ID, d.Status)
				}
			}
			shown[id] = s
			if !p.dead.Load() {
				fn(id, s)
			}
		})
	})
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.shown = shown
	}
	return err
}

func (p *process) Increase(ctx context.Context, n int) (int, error) {
	return call(p, 15*time.Second, "Increase", func() (int, error) { return p.InstanceGroup.Increase(ctx, n) })
}

func (p *process) Decrease(ctx context.Context, ids []string) ([]string, error) {
	return call(p, 15*time.Second, "Decrease", func() ([]string, error) { return p.InstanceGroup.Decrease(ctx, ids) })
}

func (p *process) ConnectInfo(ctx context.Context, id string) (provider.ConnectInfo, error) {
	return call(p, 10*time.Second, "ConnectInfo", func() (provider.ConnectInfo, error) { return p.InstanceGroup.ConnectInfo(ctx, id) })
}

func (p *process) Heartbeat(ctx context.Context, id string) error {
	_, err := call(p, 0, "Heartbeat", func() (any, error) { return nil, p.InstanceGroup.Heartbeat(ctx, id) })
	return err
}

func (p *process) Shutdown(ctx context.Context) error {
	_, err := call(p, 20*time.Second, "Shutdown", func() (any, error) { return nil, p.InstanceGroup.Shutdown(ctx) })
	return err
}

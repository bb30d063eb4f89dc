package provider

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"pgregory.net/rapid"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

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
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			sim := dosim.New(dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second, PerMinute: -1, PerHour: -1})
			defer sim.Close()
			other := dosim.New(dosim.Options{Token: otherToken, FirstDropletID: 9000, PerMinute: -1, PerHour: -1})
			defer other.Close()
			m := &machine{t: t, rt: rt, sim: sim, other: other, scarce: rapid.Bool().Draw(rt, "scarce"), tokenFile: filepath.Join(t.TempDir(), "token")}
			m.useToken(dosim.DefaultToken, dosim.DefaultToken)
			defer func() {
				if m.process != nil {
					m.kill()
				}
			}()
			m.run()
		})
		if failed != nil {
			panic(failed)
		}
	})
}

const mostInstances = 15 // more than are destroyed by their ids

// machine is one account and one runner, and what befalls them.
type machine struct {
	t   *testing.T
	rt  *rapid.T
	sim *dosim.Sim
	*process

	other     *dosim.Sim // another account, on which nothing may happen
	tokenFile string
	ended     []*process
	strangers []dosim.Droplet
	scarce    bool // requests are: creates and deletes go in batches
}

func (m *machine) run() {
	// None is of the group: by its name, or by its tags.
	for _, d := range []dosim.Droplet{
		{Name: "ci-database-1", Tags: []string{"fleeting", "fleeting-group:ci"}},
		{Name: "ci-database", Tags: []string{"fleeting", "fleeting-group:ci"}},
		{Name: "ci-x7k2m9qxab", Tags: []string{"fleeting", "fleeting-group:ci-big"}},
	} {
		d.ID = m.sim.AddDroplet(d)
		m.strangers = append(m.strangers, d)
	}
	m.launch()
	m.rt.Repeat(map[string]func(*rapid.T){
		"request": func(rt *rapid.T) { m.provisioner.Request(rapid.IntRange(1, 12).Draw(rt, "n")) },
		"delete":  func(rt *rapid.T) { m.instance(rt).Delete() },
		"delete all": func(*rapid.T) {
			for _, i := range m.provisioner.Instances() {
				i.Delete()
			}
		},
		"connect": func(rt *rapid.T) {
			if i := m.instance(rt); i.State() == provider.StateRunning {
				_, _ = i.ConnectInfo(m.t.Context())
				_ = i.Heartbeat(m.t.Context())
			}
		},
		"wait": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second)
		},
		"fault":     func(rt *rapid.T) { m.sim.Inject(m.fault(rt)) },
		"destroy":   func(rt *rapid.T) { m.sim.Destroy(m.droplet(rt).ID) },
		"power off": func(rt *rapid.T) { m.sim.PowerOff(m.droplet(rt).ID) },
		"power on":  func(rt *rapid.T) { m.sim.PowerOn(m.droplet(rt).ID) },
		"rename": func(rt *rapid.T) {
			d := m.droplet(rt)
			if !m.known(d.Name) {
				rt.Skip("its create may not have been answered, and then nobody could know it")
			}
			m.sim.Rename(d.ID, fmt.Sprintf("renamed-%d", d.ID))
		},
		"keep": func(rt *rapid.T) { m.sim.Tag(m.droplet(rt).ID, "fleeting-keep") },
		"delete the group's tag": func(rt *rapid.T) {
			if slices.ContainsFunc(m.ours(), func(d dosim.Droplet) bool { return !m.known(d.Name) }) {
				rt.Skip("its create may not have been answered, and then nobody could know it; and of what is being deleted a list proves as much as ever")
			}
			m.sim.DeleteTag("fleeting-group:ci")
		},
		"take the key away": func(*rapid.T) {
			for _, k := range m.sim.Keys() {
				m.sim.DeleteKey(k.ID)
			}
		},
		"another account's token": func(rt *rapid.T) {
			m.useToken(otherToken, "revoked")
			time.Sleep(time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second)
			m.useToken(dosim.DefaultToken, dosim.DefaultToken)
		},
		"kill": func(*rapid.T) {
			m.kill()
			time.Sleep(10 * time.Second) // lists know by then what was made
			m.launch()
		},
		"restart": func(*rapid.T) {
			m.stop()
			m.launch()
		},
		"": func(rt *rapid.T) {
			if n := len(m.ours()); n > mostInstances {
				rt.Fatalf("%d Droplets, max_instances is %d", n, mostInstances)
			}
			if o := m.offended(); len(o) > 0 {
				rt.Fatalf("on the wire: %v", o)
			}
		},
	})
	m.conclude()
}

const otherToken = "another-account"

// useToken puts a token into the file, and lets the account have one.
func (m *machine) useToken(file, account string) {
	if err := os.WriteFile(m.tokenFile, []byte(file), 0o600); err != nil {
		m.rt.Fatal(err)
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
		g := configured(m.t, m.sim, options{"max_instances": mostInstances, "region": []string{"nyc3", "fra1"}, "token": nil, "token_file": m.tokenFile})
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
	m.rt.Fatalf("it never starts: %v", err)
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

// conclude ends all faults, lets everything be destroyed, and looks for what is left.
func (m *machine) conclude() {
	m.sim.ClearFaults()
	for _, d := range m.sim.Droplets() {
		if slices.Contains(d.Tags, "fleeting-keep") {
			m.sim.Destroy(d.ID) // whoever kept it
		}
	}
	m.must(2*time.Hour, func() error {
		if c := m.provisioner.Capacity(); c.Pending > 0 {
			return fmt.Errorf("the runner waits for ever for what was accepted: %+v", c)
		}
		return nil
	})
	m.must(6*time.Hour, func() error {
		for _, i := range m.provisioner.Instances() {
			i.Delete()
		}
		c := m.provisioner.Capacity()
		if n := len(m.ours()); n+c.Creating+c.Running+c.Deleting+c.Requested > 0 {
			return fmt.Errorf("%d Droplets live and the runner has %+v: %v", n, c, m.ours())
		}
		return nil
	})
	m.stop()
	m.launch() // sweeps what only a start without Droplets knows to be left over
	m.stop()
	m.process = nil

	for _, d := range m.strangers {
		if !slices.ContainsFunc(m.sim.Droplets(), func(l dosim.Droplet) bool {
			return l.ID == d.ID && l.Name == d.Name && !slices.ContainsFunc(l.Tags, func(t string) bool { return !slices.Contains(d.Tags, t) })
		}) {
			m.rt.Fatalf("the stranger %s was touched", d.Name)
		}
		m.sim.Destroy(d.ID)
	}
	if n := m.other.RequestCounts()["POST /v2/droplets"]; n > 0 {
		m.rt.Fatalf("%d creates on another account", n)
	}
	if err := verdict(m.sim, m.ended...); err != nil {
		m.rt.Fatal(err)
	}
}

func (m *machine) must(d time.Duration, check func() error) {
	if err := within(d, check); err != nil {
		m.rt.Fatal(err)
	}
}

// ours are the living Droplets that the plugin has made and nobody keeps.
func (m *machine) ours() []dosim.Droplet {
	return slices.DeleteFunc(m.sim.Droplets(), func(d dosim.Droplet) bool {
		return slices.Contains(d.Tags, "fleeting-keep") ||
			slices.ContainsFunc(m.strangers, func(s dosim.Droplet) bool { return s.ID == d.ID })
	})
}

// known reports whether the runner was shown an instance as running.
func (m *machine) known(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown[name] == provider.StateRunning
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

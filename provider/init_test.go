package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// full is a configuration with which Init asks everything that it ever asks, after
// a plugin process that died.
var full = options{
	"vpc_uuid":      "00000006-0f0c-4000-8000-000000000006", // the default one of nyc3
	"ssh_keys":      []any{46000001},
	"max_instances": 5,
}

// afterDeath puts the key of full on the account, and what a plugin process leaves
// that dies.
func afterDeath(t *testing.T, sim *dosim.Sim) {
	t.Helper()
	sim.AddKey("laptop", publicHalf(t, someKey(t)))
	crash(start(t, sim, full))
}

// TestInitTakesTwoRoundTrips: all that is read is read side by side, and only when
// that has succeeded something is changed.
func TestInitTakesTwoRoundTrips(t *testing.T) {
	const latency = time.Second
	onAccount(t, dosim.Options{Latency: latency}, func(t *testing.T, sim *dosim.Sim) {
		check := func(o options, changes ...string) {
			t.Helper()
			before := len(sim.Requests())
			var g *InstanceGroup
			if d := took(func() { g = start(t, sim, o) }); d > 2*latency+time.Millisecond {
				t.Errorf("Init took %s", d)
			}
			asked := sim.Requests()[before:]
			var changed []string
			for i, r := range asked {
				if r.Method != http.MethodGet {
					changed = append(changed, r.Op)
				} else if len(changed) > 0 || r.Time.Sub(asked[0].Time) > time.Millisecond {
					t.Errorf("request %d, %s, %s after the first", i, r.Op, r.Time.Sub(asked[0].Time))
				}
			}
			slices.Sort(changed)
			equal(t, "changes", changes, changed)
			increase(t, g, 2) // which the next one finds in the list
			crash(g)
		}
		check(nil, "POST /v2/account/keys")
		sim.AddKey("laptop", publicHalf(t, someKey(t)))
		check(options{"ssh_keys": []any{46000002}, "vpc_uuid": full["vpc_uuid"]}, "DELETE /v2/account/keys/{id}", "POST /v2/account/keys")
	})
}

// pooled counts how often its idle connections are closed, whose goroutines would stay.
type pooled struct {
	http.RoundTripper
	closed *atomic.Int32
}

func (p pooled) CloseIdleConnections() { p.closed.Add(1) }

// TestInitFaults: an Init that fails leaves nothing and stands in nobody's way for
// more than half a minute; one that failed at a courtesy goes on. A page of
// something in between is an outage.
func TestInitFaults(t *testing.T) {
	var ops []string // what Init asks
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		afterDeath(t, sim)
		before := len(sim.Requests())
		crash(start(t, sim, full))
		for _, r := range sim.Requests()[before:] {
			ops = append(ops, r.Op)
		}
	})
	slices.Sort(ops)
	ops = append(slices.Compact(ops), "*")
	courtesies := []string{"GET /v2/vpcs/{id}", "GET /v2/account/keys", "GET /v2/account/keys/{id}", "DELETE /v2/account/keys/{id}"}
	catalog := []string{"GET /v2/account", "GET /v2/sizes", "GET /v2/regions", "GET /v2/images/{id}"}
	for _, op := range slices.Concat(courtesies, catalog) {
		equal(t, "Init asks "+op, true, slices.Contains(ops, op))
	}
	for _, fault := range []dosim.Fault{
		{Hang: true}, {Cut: true}, {Delay: 3 * time.Second}, {Status: 404, Body: dosim.HTMLBody},
		{Status: 200, Body: "{}"}, {Status: 401}, {Status: 403}, {Status: 429, Header: map[string]string{"Retry-After": "30"}},
	} {
		for _, op := range ops {
			fault.Op, fault.Times = op, -1
			t.Run(fault.String(), func(t *testing.T) {
				onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
					afterDeath(t, sim)
					left := keyNames(sim, nil)
					sim.Inject(fault)
					g := configured(t, sim, full)
					var closed atomic.Int32
					g.transport = pooled{g.transport, &closed}
					var err error
					if d := took(func() { _, _, err = tryInit(t, g) }); d > 35*time.Second {
						t.Errorf("Init took %s", d)
					}
					if err == nil {
						err = g.Update(t.Context(), func(string, provider.State) {})
					}
					goesOn := fault.Delay > 0 ||
						fault.Cut && op == "POST /v2/account/keys" || // which a look-up settles
						fault.Status == 200 && op == "GET /v2/tags/{tag}" || // the status is all that counts
						slices.Contains(courtesies, op) ||
						op == "GET /v2/account" && fault.Status == 403 && fault.Body == ""
					// Once the token's requests are said to be spent, nothing else is sent either.
					if (err == nil) != goesOn && (fault.Status != 429 || !goesOn) {
						t.Errorf("error %v; Init is to go on: %v", err, goesOn)
					}
					if err != nil {
						page := strings.Contains(err.Error(), "a proxy or gateway answered")
						equal(t, "a proxy is named: "+err.Error(), fault.Body == dosim.HTMLBody, page)
						for _, name := range keyNames(sim, nil) {
							equal(t, name+" was there before", true, slices.Contains(left, name))
						}
					}
					sim.ClearFaults()
					time.Sleep(31 * time.Second)
					if err != nil {
						g = start(t, sim, full)
					}
					equal(t, "error of Shutdown", nil, g.Shutdown(t.Context()))
					equal(t, "connections are closed in the end", true, err != nil || closed.Load() > 0)
					seen, err := state.Peek(t.Context(), g.config.APIURL, "ci")
					if err != nil || seen.Held || seen.Ignored != nil || len(seen.Droplets) > 0 {
						t.Errorf("%v; left: %+v", err, seen)
					}
				})
			})
		}
	}
}

// TestInitWaitsForAMoment: a 429 that asks for a short wait does not refuse Init.
func TestInitWaitsForAMoment(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		afterDeath(t, sim)
		sim.Inject(dosim.Fault{Op: "GET *", Status: 429, Header: map[string]string{"Retry-After": "2"}, Times: -1})
		time.AfterFunc(time.Second, sim.ClearFaults)
		if d := took(func() { _ = start(t, sim, full).Shutdown(t.Context()) }); d > 10*time.Second {
			t.Errorf("it took %s", d)
		}
	})
}

// TestSlowStart: Init over a slow API and the first Update, which has something to
// do at once, fit into the runner's minute together.
func TestSlowStart(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		first := start(t, sim, nil)
		increase(t, first, 2)
		crash(first)
		stuck := names(sim)[0]
		sim.Tag(sim.Droplets()[0].ID, "fleeting-delete:ci-dead") // it was to be deleted
		sim.Inject(dosim.Fault{Op: "DELETE *", Hang: true, Times: -1},
			dosim.Fault{Op: "GET /v2/droplets", Behaviour: dosim.ListLags, For: time.Hour, Times: -1}, // both are looked up
			dosim.Fault{Op: "GET *", Delay: 7500 * time.Millisecond, Times: -1})
		if d := took(func() {
			if shown := states(t, start(t, sim, nil)); shown[stuck] != provider.StateDeleting || len(shown) != 2 {
				t.Errorf("shown %v", shown)
			}
		}); d < 40*time.Second || d > 45*time.Second {
			t.Errorf("Init and the first Update took %s", d)
		}
	})
}

// TestRefusedInit: for half a minute from its end the next one says the same
// at once, and asks nobody. A corrected one does not wait, and its success ends the
// refusal. That it was not answered in time is one, that the runner gave up is none.
func TestRefusedInit(t *testing.T) {
	const latency = 4 * time.Second
	path := file(t, "", "")
	good, wrong := options{"token": nil, "token_file": path}, options{"token": nil, "token_file": path, "size": "s-9vcpu"}
	onAccount(t, dosim.Options{Latency: latency}, func(t *testing.T, sim *dosim.Sim) {
		patience := time.Hour
		// attempt is one Init, which is to wait and to ask, or neither, and to say something.
		attempt := func(o options, token string, asks bool, says ...string) error {
			t.Helper()
			file(t, path, token)
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(patience, cancel).Stop()
			before := len(sim.Requests())
			g := configured(t, sim, o)
			var err error
			waited := took(func() { _, err = g.Init(ctx, hclog.NewNullLogger(), provider.Settings{}) })
			_ = g.Shutdown(t.Context())
			fails(t, err, says...)
			equal(t, "it waited, and asked", []bool{asks, asks}, []bool{waited > 0, len(sim.Requests()) > before})
			return err
		}
		patience = latency - time.Second
		fails(t, attempt(wrong, dosim.DefaultToken, true), "canceled") // the runner gives up
		patience = time.Hour
		refusal := attempt(wrong, dosim.DefaultToken, true, "s-9vcpu").Error()
		seen, err := state.Peek(t.Context(), "https://api.digitalocean.com", "ci")
		equal(t, "error of Peek", nil, err)
		equal(t, "runs that are remembered, of those that made nothing", 0, len(seen.Runs))
		ended := time.Now()
		for _, at := range []time.Duration{10 * time.Second, 29 * time.Second} {
			time.Sleep(time.Until(ended.Add(at)))
			want := fmt.Sprintf("%s\n(DigitalOcean is asked again in %s)", refusal, 30*time.Second-at)
			equal(t, "again", want, attempt(wrong, dosim.DefaultToken, false).Error())
		}
		time.Sleep(time.Until(ended.Add(30 * time.Second)))
		equal(t, "30 s after it ended", refusal, attempt(wrong, dosim.DefaultToken, true).Error())
		equal(t, "another group", nil, attempt(options{"name": "another"}, "", true))
		_ = attempt(good, "wrong", true, ": 401 Unable to authenticate you", "the token comes from plugin_config.token_file "+path)
		equal(t, "corrected", nil, attempt(good, dosim.DefaultToken, true))
		equal(t, "after a success", refusal, attempt(wrong, dosim.DefaultToken, true).Error())
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Hang: true, Times: -1})
		if d := took(func() { _ = attempt(good, dosim.DefaultToken, true, "GET /v2/droplets") }); d > 40*time.Second {
			t.Errorf("not answered after %s", d)
		}
		_ = attempt(good, dosim.DefaultToken, false, "GET /v2/droplets")
	})
}

// TestLockIsHeld: the second plugin process of a group on a host is told at once
// what is in its way, asks nobody and changes nothing.
func TestLockIsHeld(t *testing.T) {
	onAccount(t, dosim.Options{Latency: time.Second}, func(t *testing.T, sim *dosim.Sim) {
		first := start(t, sim, nil)
		asked := len(sim.Requests())
		var err error
		d := took(func() { _, _, err = tryInit(t, configured(t, sim, nil)) })
		if held, ok := errors.AsType[*state.HeldError](err); !ok || held.PID != os.Getpid() {
			t.Errorf("the second: %v", err)
		}
		equal(t, "its requests, and seconds", []int{0, 0}, []int{len(sim.Requests()) - asked, int(d)})
		_, _, err = tryInit(t, first)
		fails(t, err, "is managed by another plugin process") // it is called twice in one process
		increase(t, first, 1)
		_ = first.Shutdown(t.Context())
	})
}

// TestAllFaultsAtOnce: a configuration is told all that is wrong with it, also what
// only DigitalOcean knows, and what is wrong with connector_config; nobody is asked if it is not clear whom, and with what.
func TestAllFaultsAtOnce(t *testing.T) {
	sample := options{"max_instances": "10", "region": nil, "regoin": "nyc3", "size": "s-2vcpu-4g"}
	const (
		region = `plugin_config.region: is required; for example region = "nyc3"`
		most   = `plugin_config.max_instances: must be a whole number from 1 to 100000, not "10"`
		regoin = `plugin_config.regoin: unknown key; did you mean "region"?`
		size   = `plugin_config.size: DigitalOcean has no size "s-2vcpu-4g"; did you mean "s-2vcpu-4gb"`
	)
	for name, tt := range map[string]struct {
		more      options
		connector provider.ConnectorConfig
		fault     dosim.Fault
		want      []string // beginnings of lines
		asks      bool
	}{
		"all": {want: []string{region, most, regoin, size}, asks: true},
		"an outage": {fault: dosim.Fault{Op: "*", Status: 503, Times: -1}, asks: true,
			want: []string{region, most, regoin, "GET /v2/sizes: 503 "}},
		"no name":  {more: options{"name": nil}, want: []string{"plugin_config.name: is required", region, most, regoin, size}, asks: true},
		"no token": {more: options{"token": 5}, want: []string{"plugin_config.token: ", region, most, regoin}},
		"no API":   {more: options{"api_url": "ftp://x"}, want: []string{"plugin_config.api_url: ", region, most, regoin}},
		"the connector": {connector: provider.ConnectorConfig{OS: "windows", Protocol: "winrm", ProtocolPort: 70000, Key: []byte("x")},
			want: []string{`connector_config.os: Droplets run linux, not "windows"`,
				`connector_config.protocol: Droplets are reached by ssh, not "winrm"`,
				"connector_config.protocol_port: must be 1 to 65535, not 70000", "connector_config.key_path: ", region, most, regoin, size}, asks: true},
	} {
		t.Run(name, func(t *testing.T) {
			onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
				tt.fault.Op = cmp.Or(tt.fault.Op, "-")
				sim.Inject(tt.fault)
				o := maps.Clone(sample)
				maps.Copy(o, tt.more)
				_, err := configured(t, sim, o).Init(t.Context(), hclog.NewNullLogger(), provider.Settings{ConnectorConfig: tt.connector})
				fails(t, err, "")
				if lines := strings.Split(err.Error(), "\n"); !slices.EqualFunc(lines, tt.want, strings.HasPrefix) {
					t.Errorf("got\n%s\nwant\n%s", err, strings.Join(tt.want, "\n"))
				}
				equal(t, "asked", tt.asks, len(sim.Requests()) > 0)
				equal(t, "keys", 0, len(sim.Keys()))
			})
		})
	}
}

// A lock that another plugin process holds, or a state directory of no use, hides no fault.
func TestFaultsWhileTheLockIsHeld(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		g := start(t, sim, nil)
		_, _, err := tryInit(t, configured(t, sim, options{"regoin": "nyc3"}))
		fails(t, err, "plugin_config.regoin: unknown key")
		fails(t, err, "is managed by another plugin process")
		_ = g.Shutdown(t.Context())
	})
}

// TestMisfit: a configuration that cannot work on the account is refused, unless
// the group has Droplets: a refusal would leave those to nobody, and billed. A limit that
// cannot be kept is refused all the same.
func TestMisfit(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		o := options{"size": "m-2vcpu-16gb"}
		_, _, err := tryInit(t, configured(t, sim, o))
		fails(t, err, "plugin_config: no combination of size, region and image can work:\n"+
			"  m-2vcpu-16gb in nyc3: the size is not on offer there now; it is in no region\ndoctl compute size list shows which")
		equal(t, "keys", 0, len(sim.Keys()))
		time.Sleep(time.Minute)
		const name = "ci-7k2m9qxabc"
		sim.AddDroplet(dosim.Droplet{Name: name, Tags: []string{"fleeting", "fleeting-group:ci"}, Created: time.Now().Add(-time.Hour)})
		_, _, err = tryInit(t, configured(t, sim, options{"max_hourly_cost": 0.001}))
		fails(t, err, "max_hourly_cost")
		g, book := logged(t, sim, o)
		equal(t, "logged", 1, len(book.lines("no Droplet can be created as configured")))
		shows(t, g, 1, provider.StateRunning)
		decrease(t, g, name)
		_ = g.Shutdown(t.Context())
		equal(t, "left", []string(nil), leftovers(sim))
	})
}

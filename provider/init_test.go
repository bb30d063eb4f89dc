package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
			if slices.Sort(changed); !slices.Equal(changed, changes) {
				t.Errorf("changes %q, want %q", changed, changes)
			}
			increase(t, g, 2) // which the next one finds in the list
			crash(g)
		}
		check(nil, "POST /v2/account/keys")
		sim.AddKey("laptop", publicHalf(t, someKey(t)))
		check(options{"ssh_keys": []any{46000002}, "vpc_uuid": full["vpc_uuid"]}, "DELETE /v2/account/keys/{id}", "POST /v2/account/keys")
	})
}

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
	for _, op := range append(slices.Clone(courtesies), "GET /v2/account", "GET /v2/sizes", "GET /v2/regions", "GET /v2/images/{id}") {
		if !slices.Contains(ops, op) {
			t.Errorf("Init does not ask %s", op)
		}
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
					left := keyNames(sim, &credentials{})
					sim.Inject(fault)
					g := configured(t, sim, full)
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
					if err != nil && strings.Contains(err.Error(), "a proxy or gateway answered") != (fault.Body == dosim.HTMLBody) {
						t.Error(err)
					}
					sim.ClearFaults()
					if err != nil {
						for _, name := range keyNames(sim, &credentials{}) {
							if !slices.Contains(left, name) {
								t.Errorf("it left the key %s", name)
							}
						}
					}
					time.Sleep(31 * time.Second)
					if err != nil {
						g = start(t, sim, full)
					}
					if err := g.Shutdown(t.Context()); err != nil {
						t.Error(err)
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
	file := filepath.Join(t.TempDir(), "do-token")
	onAccount(t, dosim.Options{Latency: latency}, func(t *testing.T, sim *dosim.Sim) {
		token, patience := dosim.DefaultToken, time.Hour
		attempt := func(o options) (waited time.Duration, asked int, err error) {
			if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(patience, cancel).Stop()
			before := len(sim.Requests())
			g := configured(t, sim, o)
			waited = took(func() { _, err = g.Init(ctx, hclog.NewNullLogger(), provider.Settings{}) })
			_ = g.Shutdown(t.Context())
			return waited, len(sim.Requests()) - before, err
		}
		good := options{"token": nil, "token_file": file}
		wrong := options{"token": nil, "token_file": file, "size": "s-9vcpu"}
		patience = latency - time.Second
		if waited, _, err := attempt(wrong); err == nil || waited != patience {
			t.Errorf("where the runner gives up: %v after %s", err, waited)
		}
		patience = time.Hour
		_, asked, refusal := attempt(wrong)
		ended := time.Now()
		if refusal == nil || asked == 0 {
			t.Fatalf("the first: %v, %d requests", refusal, asked)
		}
		for _, at := range []time.Duration{10 * time.Second, 29 * time.Second} {
			time.Sleep(time.Until(ended.Add(at)))
			want := fmt.Sprintf("%s\n(DigitalOcean is asked again in %s)", refusal, 30*time.Second-at)
			if waited, asked, err := attempt(wrong); err == nil || err.Error() != want || waited != 0 || asked != 0 {
				t.Errorf("%s after it ended: after %s and %d requests\n%v\nwant\n%s", at, waited, asked, err, want)
			}
		}
		time.Sleep(time.Until(ended.Add(30 * time.Second)))
		if _, asked, err := attempt(wrong); err == nil || err.Error() != refusal.Error() || asked == 0 {
			t.Errorf("30 s after it ended: %v, %d requests", err, asked)
		}
		if _, _, err := attempt(options{"name": "another"}); err != nil {
			t.Errorf("another group: %v", err)
		}
		token = "wrong"
		if _, _, err := attempt(good); err == nil || !strings.Contains(err.Error(), "Unable to authenticate you") {
			t.Errorf("a wrong token: %v", err)
		}
		token = dosim.DefaultToken
		if _, _, err := attempt(good); err != nil {
			t.Errorf("corrected: %v", err)
		}
		if _, asked, err := attempt(wrong); err == nil || err.Error() != refusal.Error() || asked == 0 {
			t.Errorf("after a success: %v, %d requests", err, asked)
		}
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Hang: true, Times: -1})
		if waited, _, err := attempt(good); err == nil || waited > 40*time.Second {
			t.Errorf("not answered: %v after %s", err, waited)
		}
		if waited, asked, err := attempt(good); err == nil || waited != 0 || asked != 0 {
			t.Errorf("after one that was not answered: %v, %d requests, after %s", err, asked, waited)
		}
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
		held, ok := errors.AsType[*state.HeldError](err)
		if !ok || held.PID != os.Getpid() || err.Error() != held.Error() {
			t.Errorf("the second: %v", err)
		}
		if n := len(sim.Requests()) - asked; n != 0 || d != 0 {
			t.Errorf("it sent %d requests and took %s", n, d)
		}
		if _, _, err := tryInit(t, first); err == nil || err.Error() != "Init was called twice in one process" {
			t.Errorf("Init again: %v", err)
		}
		increase(t, first, 1)
		_ = first.Shutdown(t.Context())
	})
}

// TestAllFaultsAtOnce: a configuration is told all that is wrong with it, also what
// only DigitalOcean knows, and what is wrong with connector_config; nobody is asked if it is not clear whom, and with what.
func TestAllFaultsAtOnce(t *testing.T) {
	sample := options{"max_instances": "10", "region": nil, "regoin": "nyc3", "size": "s-2vcpu-4g"} // of README.md
	const (
		region = `plugin_config.region: is required; for example region = "nyc3"`
		most   = `plugin_config.max_instances: must be a whole number from 1 to 100000, not "10"`
		regoin = `plugin_config.regoin: unknown key; did you mean "region"?`
		size   = `plugin_config.size: DigitalOcean has no size "s-2vcpu-4g"; did you mean "s-2vcpu-4gb"`
	)
	for _, tt := range []struct {
		name      string
		more      options
		connector provider.ConnectorConfig
		fault     dosim.Fault
		want      []string // beginnings of lines
		asks      bool
	}{
		{"all", nil, provider.ConnectorConfig{}, dosim.Fault{Op: "-"}, []string{region, most, regoin, size}, true},
		{"an outage", nil, provider.ConnectorConfig{}, dosim.Fault{Op: "*", Status: 503, Times: -1}, []string{region, most, regoin, "GET /v2/sizes: 503 "}, true},
		{"no name", options{"name": nil}, provider.ConnectorConfig{}, dosim.Fault{Op: "-"}, []string{"plugin_config.name: is required", region, most, regoin}, false},
		{"no token", options{"token": 5}, provider.ConnectorConfig{}, dosim.Fault{Op: "-"}, []string{"plugin_config.token: ", region, most, regoin}, false},
		{"no API", options{"api_url": "ftp://x"}, provider.ConnectorConfig{}, dosim.Fault{Op: "-"}, []string{"plugin_config.api_url: ", region, most, regoin}, false},
		{"the connector", nil, provider.ConnectorConfig{OS: "windows", Key: []byte("x")}, dosim.Fault{Op: "-"},
			[]string{"connector_config.os: ", "connector_config.key_path: ", region, most, regoin}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
				sim.Inject(tt.fault)
				o := maps.Clone(sample)
				maps.Copy(o, tt.more)
				_, err := configured(t, sim, o).Init(t.Context(), hclog.NewNullLogger(), provider.Settings{ConnectorConfig: tt.connector})
				if err == nil {
					t.Fatal("no error")
				}
				lines := strings.Split(err.Error(), "\n")
				if !slices.EqualFunc(lines, tt.want, strings.HasPrefix) {
					t.Errorf("got\n%s\nwant\n%s", err, strings.Join(tt.want, "\n"))
				}
				if asked := len(sim.Requests()) > 0; asked != tt.asks || len(sim.Keys()) > 0 {
					t.Errorf("asked %v, want %v; keys %v", asked, tt.asks, sim.Keys())
				}
			})
		})
	}
}

// TestMisfit: a configuration that cannot work on the account is refused, unless
// the group has Droplets: a refusal would leave those to nobody, and billed. A limit that
// cannot be kept is refused all the same.
func TestMisfit(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		o := options{"size": "m-2vcpu-16gb"}
		_, _, err := tryInit(t, configured(t, sim, o))
		want := "plugin_config: no combination of size, region and image can work:\n  m-2vcpu-16gb in nyc3: the size is not on offer there now; it is in no region\n" +
			"doctl compute size list shows which sizes there are"
		if err == nil || !strings.HasPrefix(err.Error(), want) || len(sim.Keys()) > 0 {
			t.Errorf("keys %v, got\n%v\nwant %s", sim.Keys(), err, want)
		}
		time.Sleep(time.Minute)
		const name = "ci-7k2m9qxabc"
		sim.AddDroplet(dosim.Droplet{Name: name, Tags: []string{"fleeting", "fleeting-group:ci"}, Created: time.Now().Add(-time.Hour)})
		if _, _, err := tryInit(t, configured(t, sim, options{"max_hourly_cost": 0.001})); err == nil {
			t.Error("a limit that cannot be kept is accepted")
		}
		g := configured(t, sim, o)
		_, book, err := tryInit(t, g)
		if err != nil || len(book.lines("no Droplet can be created as configured")) != 1 {
			t.Fatalf("with a Droplet: %v\n%s", err, book)
		}
		if shown := states(t, g); shown[name] != provider.StateRunning {
			t.Errorf("shown %v", shown)
		}
		decrease(t, g, name)
		_ = g.Shutdown(t.Context())
		nothingLeft(t, sim)
	})
}

// TestMaxSize: MaxSize is max_instances, or else the account's Droplet limit; 0 would
// never scale. max_hourly_cost lowers it. No more Droplets are made.
func TestMaxSize(t *testing.T) {
	for want, o := range map[int]options{25: nil, 7: {"max_instances": 7}, 5: {"max_hourly_cost": 0.0447}} {
		onAccount(t, dosim.Options{DropletLimit: 25}, func(t *testing.T, sim *dosim.Sim) {
			g := configured(t, sim, o)
			info, _, err := tryInit(t, g)
			if err != nil || info.MaxSize != want {
				t.Errorf("%v: MaxSize is %d, %v; want %d", o, info.MaxSize, err, want)
			}
			if n, err := g.Increase(t.Context(), 80); n != want || err != nil {
				t.Errorf("Increase(80) = %d, %v; want %d", n, err, want)
			}
			_ = g.Shutdown(t.Context())
		})
	}
}

// pooled counts how often its idle connections are closed.
type pooled struct {
	http.RoundTripper
	closed *int
}

func (p pooled) CloseIdleConnections() { *p.closed++ }

// TestNothingIsLeftOfAProcess: after Shutdown and after an Init that failed no
// idle connection stays, whose goroutines would, and the lock is free. A process that
// made nothing is not remembered.
func TestNothingIsLeftOfAProcess(t *testing.T) {
	for name, tt := range map[string]struct {
		o     options
		fault dosim.Fault
	}{
		"shutdown": {nil, dosim.Fault{Op: "-"}}, "wrong token": {options{"token": "wrong"}, dosim.Fault{Op: "-"}},
		"wrong size":            {options{"size": "s-0"}, dosim.Fault{Op: "-"}},
		"no upload of its key":  {nil, dosim.Fault{Op: "POST /v2/account/keys", Status: 403, Times: -1}},
		"no look-up of its key": {options{"ssh_key_file": filepath.Join(t.TempDir(), "id")}, dosim.Fault{Op: "GET /v2/account/keys/{id}", Status: 503, Times: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
				sim.Inject(tt.fault)
				g := configured(t, sim, tt.o)
				closed, fails := 0, name != "shutdown"
				g.transport = pooled{g.transport, &closed}
				if _, _, err := tryInit(t, g); (err != nil) != fails {
					t.Fatal(err)
				}
				if !fails && closed > 0 {
					t.Error("connections are closed while they are used")
				}
				_ = g.Shutdown(t.Context())
				if closed == 0 {
					t.Error("idle connections stay")
				}
				seen, err := state.Peek(t.Context(), g.config.APIURL, "ci")
				if err != nil || seen.Held || seen.Ignored != nil || len(seen.Droplets) > 0 || (len(seen.Runs) == 0) != fails {
					t.Errorf("%v; left: %+v", err, seen)
				}
			})
		})
	}
}

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// binary is the plugin as users get it, built once for all tests.
var binary string

// host is what plugins find around them.
var host *harness.Host

// specification holds every request of the plugin, and every answer, to
// DigitalOcean's OpenAPI file; nil where that file is not at hand.
var specification *contract.Validator

func TestMain(m *testing.M) {
	if os.Getenv(runnerEnv) != "" {
		beRunner() // see process_test.go
		return
	}
	if os.Getenv(gitLabRunnerEnv) != "" {
		if err := beGitLabRunner(os.Args[1:]); err != nil { // see docs_session_test.go
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

// long is for tests of releases and of the docs' commands, which take minutes.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("TEST_LONG") == "" {
		t.Skip("make verify runs it, with TEST_LONG=1")
	}
}

func run(m *testing.M) int {
	_ = os.Setenv("GORACE", "halt_on_error=1") // of the plugin, in which nobody would see it
	dir, err := os.MkdirTemp("", "plugin")
	if err == nil {
		defer os.RemoveAll(dir)
		binary, err = harness.BuildPlugin(context.Background(), filepath.Join(dir, "bin"))
	}
	if err == nil {
		host, err = harness.NewHost(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if path := os.Getenv(contract.Env); path != "" {
		if specification, err = contract.New(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	} else {
		fmt.Printf("not checked against DigitalOcean's specification: set %s to the path of %s\n", contract.Env, contract.Source)
	}
	code := m.Run()
	if specification != nil {
		fmt.Printf("%d requests checked against DigitalOcean's specification\n", specification.Checked())
		for _, f := range specification.Faults() {
			fmt.Fprintln(os.Stderr, "against DigitalOcean's specification:", f)
			code = 1
		}
	}
	if held, err := host.HeldLocks(); err != nil || len(held) > 0 {
		fmt.Fprintln(os.Stderr, "plugins that nobody ended hold locks:", held, err)
		return 1
	}
	return code
}

// world is a simulated account over TLS, with an SSH server in each Droplet.
type world struct {
	sim   *dosim.Sim
	fleet *guest.Fleet
	url   string

	others bool // not only plugins ask: others may speak HTTP/2
}

var worlds atomic.Int32

// newWorld makes a world. Its plugins ask through wrap, if one is given.
func newWorld(t *testing.T, o dosim.Options, wrap ...func(http.Handler) http.Handler) *world {
	t.Helper()
	fleet, err := guest.NewFleet(guest.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{fleet: fleet}
	// Each world has loopback addresses of its own.
	first := int(worlds.Add(1)) * 100
	o.Address = func(n int) (public, private netip.Addr) { return dosim.LoopbackAddress(first + n) }
	o.Hooks = fleet.Hooks("", time.Until, func(d dosim.Droplet, err error) {
		if d.PublicIPv4.IsLoopback() { // one that a test gave another address is for lists only
			t.Errorf("boot %s: %v", d.Name, err)
		}
	})
	w.sim = dosim.New(o)
	var handler http.Handler = w.sim
	if specification != nil {
		handler = specification.Wrap(handler)
	}
	for _, wrap := range wrap {
		handler = wrap(handler)
	}
	url, stop := host.Serve(handler)
	w.url = url
	t.Cleanup(func() {
		w.sim.Close()
		stop()
		fleet.Close()
		// The server offers HTTP/2, of which Go's client repeats requests by itself, also creates.
		for _, r := range w.sim.Requests() {
			if r.Proto != "HTTP/1.1" && !w.others {
				t.Errorf("%s %s came by %s", r.Method, r.Path, r.Proto)
			}
		}
	})
	return w
}

// config is a plugin_config for the world.
func (w *world) config(more map[string]any) map[string]any {
	c := map[string]any{
		"name": "ci", "api_url": w.url, "token": dosim.DefaultToken,
		"region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
		"max_instances": 10,
	}
	for k, v := range more {
		c[k] = v
	}
	return c
}

// awaitEmpty waits for Droplets whose removal has been accepted.
func (w *world) awaitEmpty(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		if n := len(w.sim.Droplets()); n > 0 {
			return fmt.Errorf("%d Droplets are left: %v", n, w.sim.Droplets())
		}
		return nil
	})
}

// assertNothingLeft fails if the account has anything that costs, or is left over.
func (w *world) assertNothingLeft(t *testing.T) {
	t.Helper()
	w.awaitEmpty(t)
	for _, k := range w.sim.Keys() {
		if strings.HasPrefix(k.Name, "fleeting-") && !strings.HasSuffix(k.Name, "-static") {
			t.Errorf("the key %s is left", k.Name)
		}
	}
	for _, tag := range w.sim.Tags() {
		if instancegroup.IsDeleteTag(tag) {
			t.Errorf("the tag %s is left", tag)
		}
	}
	for _, v := range w.sim.Violations() {
		t.Errorf("the simulator saw: %v", v)
	}
}

// eventually polls what other processes do, for up to within.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("after %s: %v", within, err)
		case <-tick.C:
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

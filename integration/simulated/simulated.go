// Package simulated is what tests with the real plugin have in common: its binary, what that finds around it, and accounts
// whose Droplets are SSH servers.
package simulated

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// What Main makes for all tests.
var (
	Scratch string // a directory
	Plugin  string // the binary
	Host    *harness.Host
)

// Main runs the tests of a package, and fails if a plugin outlives them.
func Main(m *testing.M) (code int) {
	_ = os.Setenv("GORACE", "halt_on_error=1") // of the plugin, in which nobody would see it
	var err error
	if Scratch, err = os.MkdirTemp("", "plugin"); err == nil {
		defer os.RemoveAll(Scratch)
		Plugin, err = harness.BuildPlugin(context.Background(), Scratch)
	}
	if err == nil {
		Host, err = harness.NewHost(Scratch)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if held, err := Host.HeldLocks(); err != nil || len(held) > 0 {
		fmt.Fprintln(os.Stderr, "plugins that nobody ended hold locks:", held, err)
		return 1
	}
	return code
}

// Account is a simulated account over TLS.
type Account struct {
	Sim    *dosim.Sim
	Fleet  *guest.Fleet
	URL    string
	Others bool // not only plugins ask: others may speak HTTP/2
}

// Open opens an account, with an SSH server in each Droplet that lets user in, for a test. What comes to it passes through
// wrap, if one is given.
func Open(t testing.TB, o dosim.Options, g guest.Options, user string, wrap ...func(http.Handler) http.Handler) *Account {
	t.Helper()
	g.Log = t.Logf
	fleet, err := guest.NewFleet(g)
	if err != nil {
		t.Fatal(err)
	}
	a := &Account{Fleet: fleet}
	o.Address = dosim.LoopbackBlock()
	o.Hooks = fleet.Hooks(user, time.Until, func(d dosim.Droplet, err error) {
		if d.PublicIPv4.IsLoopback() { // one that a test gave another address is for lists only
			t.Errorf("Droplet %s did not boot: %v", d.Name, err)
		}
	})
	a.Sim = dosim.New(o)
	var handler http.Handler = a.Sim
	for _, wrap := range wrap {
		handler = wrap(handler)
	}
	url, stop := Host.Serve(handler)
	a.URL = url
	t.Cleanup(func() {
		a.Sim.Close()
		stop()
		fleet.Close()
		// The server offers HTTP/2, of which Go's client repeats requests by itself, also creates.
		for _, r := range a.Sim.Requests() {
			if r.Proto != "HTTP/1.1" && !a.Others {
				t.Errorf("%s %s came by %s", r.Method, r.Path, r.Proto)
			}
		}
	})
	return a
}

// Images is the registry that ServeRegistry serves. It keeps all in memory.
var Images = registry.New(registry.Logger(log.New(io.Discard, "", 0)))

// ServeRegistry serves a container registry until the process ends: on port 80, since the runner reads none with a port in
// its name. What fault returns true for it has answered itself.
func ServeRegistry(fault func(http.ResponseWriter, *http.Request) bool) error {
	l, err := net.Listen("tcp", "127.0.0.1:80")
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fault(w, r) {
			Images.ServeHTTP(w, r)
		}
	})}
	if err == nil {
		go server.Serve(l)
	}
	return err
}

// Keys are those that do not outlive a plugin.
func (a *Account) Keys() (keys []string) {
	for _, k := range a.Sim.Keys() {
		if strings.HasPrefix(k.Name, "fleeting-") && !strings.HasSuffix(k.Name, "-static") {
			keys = append(keys, "key "+k.Name)
		}
	}
	return keys
}

// Left is what costs, or is left over.
func (a *Account) Left() []string {
	left := a.Keys()
	for _, d := range a.Sim.Droplets() {
		left = append(left, "Droplet "+d.Name)
	}
	for _, tag := range a.Sim.Tags() {
		if instancegroup.IsDeleteTag(tag) {
			left = append(left, "tag "+tag)
		}
	}
	return left
}

package provider

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Go reads SSL_CERT_FILE once a process, so one server serves every run of the test.
var (
	served   atomic.Pointer[dosim.Sim]
	serveTLS = sync.OnceValues(func() (*dosim.Server, error) {
		return dosim.ServeTLS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.Load().ServeHTTP(w, r) }))
	})
)

// TestCreatesOverTLS: a server that offers HTTP/2, carries creates out and resets them
// in the way after which Go's own HTTP/2 client sends them again, makes each name once.
func TestCreatesOverTLS(t *testing.T) {
	ownState(t)
	sim := dosim.New(dosim.Options{})
	defer sim.Close()
	served.Store(sim)
	server, err := serveTLS()
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", ca)

	g := configured(t, sim, options{"api_url": server.URL, "max_instances": 10})
	g.transport = nil // the network
	if _, _, err := tryInit(t, g); err != nil {
		t.Fatal(err)
	}
	fault, err := dosim.ParseFault("POST /v2/droplets: applied reset code REFUSED_STREAM times forever")
	if err != nil {
		t.Fatal(err)
	}
	sim.Inject(fault)
	increase(t, g, 10)
	if n := len(sim.Ledger()); n != 10 {
		t.Errorf("%d Droplets were made, want 10", n)
	}
	sim.ClearFaults()
	if shown := states(t, g); len(shown) != 10 {
		t.Errorf("%d are shown", len(shown))
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range sim.Requests() {
		if r.Proto != "HTTP/1.1" {
			t.Errorf("%s over %s", r.Op, r.Proto)
		}
	}
	if v := sim.Violations(); len(v) > 0 {
		t.Error(v)
	}
}

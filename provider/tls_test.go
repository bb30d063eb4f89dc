package provider

import (
	"os"
	"path/filepath"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestCreatesOverTLS: a server that offers HTTP/2, carries creates out and resets them
// in the way after which Go's own HTTP/2 client sends them again, makes each name once.
func TestCreatesOverTLS(t *testing.T) {
	ownState(t)
	sim := dosim.New(dosim.Options{})
	server, err := dosim.ServeTLS(sim)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	defer sim.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", ca) // Go reads it once: no other test here speaks TLS

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

package dosim_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// serveTLS serves the Sim, and returns godo over TLS, with HTTP/2 where the server offers it or without.
func serveTLS(t *testing.T, sim *dosim.Sim, http2 bool) *godo.Client {
	t.Helper()
	server, err := dosim.ServeTLS(specified(t, sim))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(server.CA) {
		t.Fatal("the certificate is not in PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, Protocols: new(http.Protocols)}
	t.Cleanup(transport.CloseIdleConnections)
	transport.Protocols.SetHTTP1(true)
	transport.Protocols.SetHTTP2(http2)
	return newGodo(t, &http.Client{Transport: bearer{transport, dosim.DefaultToken}, Timeout: 10 * time.Second}, server.URL+"/")
}

func TestServedOverTLSWithEitherProtocol(t *testing.T) {
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(proto, func(t *testing.T) {
			sim := dosim.New(dosim.Options{DropletLimit: 1000})
			c := serveTLS(t, sim, http2)
			for range 200 {
				sim.AddDroplet(dosim.Droplet{Name: "ci"})
			}
			sim.AddDroplet(dosim.Droplet{Name: "the-last"})
			_, resp, err := c.Droplets.List(ctx, &godo.ListOptions{PerPage: 200})
			if err != nil || !strings.HasPrefix(resp.Links.Pages.Next, "https://127.0.0.1:") {
				t.Fatalf("%v; links %+v", err, resp.Links)
			}
			if got := sim.Requests()[0].Proto; got != proto {
				t.Errorf("logged as %s", got)
			}
			sim.Inject(dosim.Fault{Op: "*", Cut: true})
			if _, _, err := c.Droplets.List(ctx, &godo.ListOptions{PerPage: 200}); err == nil {
				t.Error("a list cut in half was read as a list")
			}
			if got := all(t, c); strings.Count(got, "ci") != 200 {
				t.Errorf("after a cut answer: %q", got)
			}
		})
	}
}

// A reset is one of TCP, or of the stream over HTTP/2.
func TestResetsOverTLS(t *testing.T) {
	for heard, http2 := range map[string]bool{syscall.ECONNRESET.Error(): false, "INTERNAL_ERROR": true} {
		sim := dosim.New(dosim.Options{})
		c := serveTLS(t, sim, http2)
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Applied: true, Reset: true})
		_, _, err := c.Droplets.Create(ctx, single("ci-1"))
		if err == nil || !strings.Contains(err.Error(), heard) || truth(sim) != "ci-1" {
			t.Errorf("HTTP/2 %t: heard %v, made %q", http2, err, truth(sim))
		}
	}
}

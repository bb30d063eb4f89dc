package dosim_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
)

// specification holds every request and answer of this suite to DigitalOcean's OpenAPI file. It is nil, and TestContract
// says so, when the environment does not name one.
var specification *contract.Validator

func TestMain(m *testing.M) {
	if path := os.Getenv(contract.Env); path != "" {
		var err error
		if specification, err = contract.New(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f one@example.com"

var ctx = context.Background()

// open makes an account, and godo, DigitalOcean's own client, in front of it: in-process, so that it also runs in a bubble.
func open(t *testing.T, o dosim.Options) (*dosim.Sim, *godo.Client) {
	t.Helper()
	sim := dosim.New(o)
	t.Cleanup(sim.Close)
	return sim, client(t, dosim.InProcess(specified(t, sim)), dosim.DefaultToken, "https://api.digitalocean.com/")
}

// network is open over real sockets and TLS, with HTTP/2 or without.
func network(t *testing.T, http2 bool) (*dosim.Sim, *godo.Client) {
	t.Helper()
	sim := dosim.New(dosim.Options{})
	server := httptest.NewUnstartedServer(specified(t, sim))
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close) // first, so that hanging requests end
	transport := server.Client().Transport.(*http.Transport)
	// A connection of its own for each request: net/http sends a GET again by itself when a kept one breaks.
	transport.DisableKeepAlives = true
	return sim, client(t, transport, dosim.DefaultToken, server.URL+"/")
}

func client(t *testing.T, transport http.RoundTripper, token, base string) *godo.Client {
	t.Helper()
	c := godo.NewClient(&http.Client{Transport: bearer{transport, token}})
	var err error
	if c.BaseURL, err = url.Parse(base); err != nil {
		t.Fatal(err)
	}
	return c
}

type bearer struct {
	next  http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// specified wraps the Sim in the specification, and fails the test at its end with what was not as specified.
func specified(t *testing.T, sim http.Handler) http.Handler {
	t.Helper()
	if specification == nil {
		return sim
	}
	before := len(specification.Faults())
	t.Cleanup(func() {
		for _, fault := range specification.Faults()[before:] {
			t.Error("not as DigitalOcean specifies: " + fault)
		}
	})
	return specification.Wrap(sim)
}

// ordinary is a create request.
func ordinary(name string) *godo.DropletCreateRequest {
	return &godo.DropletCreateRequest{
		Name: name, Region: "fra1", Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{Slug: "ubuntu-24-04-x64"},
	}
}

// must takes the results of a godo call and returns the first, or fails the test.
func must[T any](t *testing.T) func(T, *godo.Response, error) T {
	return func(v T, _ *godo.Response, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

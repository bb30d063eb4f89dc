package dosim_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
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

const (
	publicKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f one@example.com"
	anotherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA two@example.com"
)

// client is godo, DigitalOcean's own client, in front of a Sim: in-process, so that it also runs in a bubble.
func client(t *testing.T, sim *dosim.Sim) *godo.Client {
	t.Helper()
	t.Cleanup(sim.Close)
	return newGodo(t, &http.Client{Transport: bearer{dosim.InProcess(specified(t, sim)), dosim.DefaultToken}}, "https://api.digitalocean.com/")
}

// open makes an account and its client.
func open(t *testing.T, o dosim.Options) (*dosim.Sim, *godo.Client) {
	t.Helper()
	sim := dosim.New(o)
	return sim, client(t, sim)
}

// networkClient is client over real sockets and TLS, with HTTP/2 or without.
func networkClient(t *testing.T, sim *dosim.Sim, http2 bool) *godo.Client {
	t.Helper()
	server := httptest.NewUnstartedServer(specified(t, sim))
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close) // first, so that hanging requests end
	transport := server.Client().Transport.(*http.Transport)
	// A connection of its own for each request: net/http sends a GET again by itself when a kept one breaks.
	transport.DisableKeepAlives = true
	return newGodo(t, &http.Client{Transport: bearer{transport, dosim.DefaultToken}}, server.URL+"/")
}

func newGodo(t *testing.T, hc *http.Client, base string) *godo.Client {
	t.Helper()
	c := godo.NewClient(hc)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	c.BaseURL = u
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

// single is an ordinary create request.
func single(name string, tags ...string) *godo.DropletCreateRequest {
	return &godo.DropletCreateRequest{
		Name: name, Region: "fra1", Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{Slug: "ubuntu-24-04-x64"}, Tags: tags,
	}
}

// several is one for n Droplets named ci-0, ci-1 ...
func several(n int, tags ...string) *godo.DropletMultiCreateRequest {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("ci-%d", i)
	}
	return &godo.DropletMultiCreateRequest{
		Names: names, Region: "fra1", Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{Slug: "ubuntu-24-04-x64"}, Tags: tags,
	}
}

// create makes one Droplet or fails the test.
func create(t *testing.T, c *godo.Client, name string, tags ...string) *godo.Droplet {
	t.Helper()
	d, _, err := c.Droplets.Create(context.Background(), single(name, tags...))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// remove deletes a Droplet, or fails the test.
func remove(t *testing.T, c *godo.Client, id int) {
	t.Helper()
	if _, err := c.Droplets.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
}

// listed are the names in a list, in its order.
func listed(droplets []godo.Droplet) string {
	names := make([]string, len(droplets))
	for i, d := range droplets {
		names[i] = d.Name
	}
	return strings.Join(names, " ")
}

// all lists every Droplet of the account's first page.
func all(t *testing.T, c *godo.Client) string {
	t.Helper()
	droplets, _, err := c.Droplets.List(context.Background(), &godo.ListOptions{PerPage: 200})
	if err != nil {
		t.Fatal(err)
	}
	return listed(droplets)
}

// truth are the names of the Droplets that are billed.
func truth(sim *dosim.Sim) string {
	var names []string
	for _, d := range sim.Droplets() {
		names = append(names, d.Name)
	}
	return strings.Join(names, " ")
}

// wantRefusal fails the test unless err is DigitalOcean's with this status and this text in its message.
func wantRefusal(t *testing.T, err error, status int, message string) {
	t.Helper()
	refusal, ok := errors.AsType[*godo.ErrorResponse](err)
	if !ok {
		t.Fatalf("got error %v, want DigitalOcean's %d %q", err, status, message)
	}
	if refusal.Response.StatusCode != status || !strings.Contains(refusal.Message, message) {
		t.Fatalf("got %d %q, want %d %q", refusal.Response.StatusCode, refusal.Message, status, message)
	}
	if refusal.RequestID == "" {
		t.Errorf("%d %q has no request id", status, message)
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

var ctx = context.Background()

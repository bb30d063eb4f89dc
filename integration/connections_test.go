//go:build unix

package integration

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// A create that was carried out and reset is not sent again, whatever the reset: Go's
// client repeats some of them by itself over HTTP/2, which the server offers.
func TestCreatesAreNeverRepeated(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{"reset-refused": "REFUSED_STREAM", "reset-protocol": "PROTOCOL_ERROR"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			fault, err := dosim.ParseFault("POST /v2/droplets: applied reset code " + code + " times forever")
			if err != nil {
				t.Fatal(err)
			}
			w.sim.Inject(fault)
			r := startRunner(t, w, name) // whose max_instances is 10
			r.provisioner.Request(10)
			eventually(t, 20*time.Second, func() error { return r.running(10) })
			for _, i := range r.provisioner.Instances() {
				i.Delete()
			}
			r.provisioner.Shutdown(t.Context())
			r.Kill()
			w.assertNothingLeft(t)
			if n := len(w.sim.Ledger()); n != 10 {
				t.Errorf("%d Droplets were made, want 10", n)
			}
		})
	}
}

// A connection that is dead without a word, such as one that a firewall forgot, holds
// nothing up for long: Droplets are billed while no delete gets through.
func TestConnectionsDie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	l := forget(t, w.url)
	r, err := initRunner(t.Context(), w.config(map[string]any{"name": "forgotten", "api_url": "https://" + l.Addr().String()}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	r.provisioner.Request(2)
	eventually(t, 20*time.Second, func() error { return r.running(2) })

	if n := l.forgetAll(); n == 0 {
		t.Error("there was no connection")
	}
	for _, i := range r.provisioner.Instances() {
		i.Delete()
	}
	w.awaitEmpty(t)
	r.provisioner.Shutdown(t.Context())
	r.Kill()
	w.assertNothingLeft(t)
}

// forgetful is a firewall between plugin and server.
type forgetful struct {
	net.Listener
	server string

	mu    sync.Mutex
	known []*atomic.Bool // false: what is sent over this connection is dropped, and nobody is told
}

func forget(t *testing.T, server string) *forgetful {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{Listener: l, server: u.Host}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { f.forward(t, client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait() // for plugin or server to close each
	})
	return f
}

func (f *forgetful) forward(t *testing.T, client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.server)
	if err != nil {
		t.Errorf("the server: %v", err)
		return
	}
	defer server.Close()
	known := new(atomic.Bool)
	known.Store(true)
	f.mu.Lock()
	f.known = append(f.known, known)
	f.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(gate{client, known}, server) })
	_, _ = io.Copy(gate{server, known}, client)
	server.Close()
	back.Wait()
}

// forgetAll drops whatever comes over the connections that there are, and returns how
// many they were.
func (f *forgetful) forgetAll() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.known {
		k.Store(false)
	}
	return len(f.known)
}

// gate is a way to w that is open while the connection is known. It hides w's ReadFrom,
// which would pass it by.
type gate struct {
	w     io.Writer
	known *atomic.Bool
}

func (g gate) Write(p []byte) (int, error) {
	if !g.known.Load() {
		return len(p), nil
	}
	return g.w.Write(p)
}

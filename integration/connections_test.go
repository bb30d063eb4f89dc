//go:build unix

package integration

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// A create that was carried out and reset is not sent again. Go's client would repeat some by itself over HTTP/2,
// which the server offers: newWorld's clean-up fails a test whose plugin speaks it.
func TestCreatesAreNeverRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Applied: true, Reset: true, Times: -1})
	r := startRunner(t, w, "reset") // whose max_instances is 10
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
}

// A connection that is dead without a word, such as one that a firewall forgot, holds
// nothing up for long: Droplets are billed while no delete gets through.
func TestConnectionsDie(t *testing.T) {
	t.Parallel()
	f := &forgetful{forgotten: map[string]bool{}}
	w := newWorld(t, quick, f.wrap)
	r := startRunner(t, w, "forgotten")
	r.provisioner.Request(2)
	eventually(t, 20*time.Second, func() error { return r.running(2) })

	if n := f.forgetAll(); n == 0 {
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

// forgetful is what lies between plugin and server, and forgets connections.
type forgetful struct {
	mu        sync.Mutex
	forgotten map[string]bool // by the client's address: whether what is sent over the connection is lost
}

func (f *forgetful) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		lost := f.forgotten[r.RemoteAddr]
		f.forgotten[r.RemoteAddr] = lost
		f.mu.Unlock()
		if lost { // and nobody is told
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

// forgetAll forgets the connections that there are, and returns how many they were.
func (f *forgetful) forgetAll() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for address := range f.forgotten {
		f.forgotten[address] = true
	}
	return len(f.forgotten)
}

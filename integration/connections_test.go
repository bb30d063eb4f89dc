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
	w.Sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Applied: true, Reset: true, Times: -1})
	if err := life(t, w.config(map[string]any{"name": "reset"}), 10); err != nil { // max_instances is 10
		t.Error(err)
	}
	w.assertNothingLeft(t)
	if n := len(w.Sim.Ledger()); n != 10 {
		t.Errorf("%d Droplets were made, want 10", n)
	}
}

// A connection that is dead without a word, such as one that a firewall forgot, holds
// nothing up for long: Droplets are billed while no delete gets through.
func TestConnectionsDie(t *testing.T) {
	t.Parallel()
	var forgotten sync.Map // by the client's address: whether what is sent over the connection is lost
	w := newWorld(t, quick, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lost, _ := forgotten.LoadOrStore(r.RemoteAddr, false); lost.(bool) { // and nobody is told
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	var begin time.Time
	err := life(t, w.config(map[string]any{"name": "forgotten"}), 2, func() {
		begin = time.Now()
		n := 0
		for address := range forgotten.Range {
			forgotten.Store(address, true)
			n++
		}
		if n == 0 {
			t.Error("there was no connection")
		}
	})
	if err != nil || time.Since(begin) > 45*time.Second {
		t.Errorf("the Droplets were gone after %s: %v", time.Since(begin), err)
	}
	w.assertNothingLeft(t)
}

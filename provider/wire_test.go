package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// wire is the gRPC connection between the runner and a plugin, in one process
// and therefore under synctest: a reply is lost when there is an error, an error
// is only text afterwards, a state that the protocol lacks is dropped, and after
// kill -9 nothing answers. TestWireIsLikeGRPC holds it to the real thing.
//
// It watches what crosses it, and keeps what must never happen.
type wire struct {
	provider.InstanceGroup // the plugin
	sim                    *dosim.Sim
	dead                   *atomic.Bool

	mu       sync.Mutex
	shown    map[string]provider.State // by the last Update that had no error
	offences []string
}

// The promised bounds of the calls.
var bounds = map[string]time.Duration{
	"Increase": 15 * time.Second, "Decrease": 15 * time.Second, "Update": 15 * time.Second,
	"ConnectInfo": 10 * time.Second, "Shutdown": 20 * time.Second, "Init": 40 * time.Second, "Heartbeat": 0,
}

// call times a call, and makes of its error what the runner hears: without a value.
func call[T any](w *wire, name string, f func() (T, error)) (value T, err error) {
	var none T
	closed := errors.New("rpc error: code = Unavailable desc = connection closed")
	if w.dead.Load() {
		return none, closed
	}
	began := time.Now()
	value, err = f()
	if took := time.Since(began); took > bounds[name] {
		w.offend("%s took %s, more than %s", name, took, bounds[name])
	}
	if w.dead.Load() {
		return none, closed
	}
	if err != nil {
		return none, errors.New("rpc error: code = Unknown desc = " + err.Error())
	}
	return value, nil
}

func (w *wire) offend(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offences = append(w.offences, time.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

// offended returns what must never have happened.
func (w *wire) offended() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.offences)
}

func (w *wire) Init(ctx context.Context, log hclog.Logger, s provider.Settings) (provider.ProviderInfo, error) {
	return call(w, "Init", func() (provider.ProviderInfo, error) { return w.InstanceGroup.Init(ctx, log, s) })
}

// protocolStates are what the protocol has a number for.
var protocolStates = []provider.State{provider.StateCreating, provider.StateRunning, provider.StateDeleting,
	provider.StateDeleted, provider.StateTimeout, provider.StateSuspending, provider.StateSuspended, provider.StateResuming}

func (w *wire) Update(ctx context.Context, fn func(string, provider.State)) error {
	shown := map[string]provider.State{}
	_, err := call(w, "Update", func() (struct{}, error) {
		return struct{}{}, w.InstanceGroup.Update(ctx, func(id string, s provider.State) {
			if !slices.Contains(protocolStates, s) {
				w.offend("Update shows %s in the state %q, which is dropped on the wire", id, s)
				return
			}
			if s == provider.StateDeleted || s == provider.StateTimeout {
				w.checkGone(id, s)
			}
			shown[id] = s
			if !w.dead.Load() {
				fn(id, s)
			}
		})
	})
	if err == nil {
		w.mu.Lock()
		w.shown = shown
		w.mu.Unlock()
	}
	return err
}

// checkGone: no live Droplet is ever shown as deleted, unless a person keeps it.
func (w *wire) checkGone(id string, s provider.State) {
	for _, d := range w.sim.Droplets() {
		if d.Name == id && !slices.Contains(d.Tags, "fleeting-keep") {
			w.offend("%s is shown as %s, and Droplet %d lives: %s", id, s, d.ID, d.Status)
		}
	}
}

func (w *wire) Increase(ctx context.Context, n int) (int, error) {
	succeeded, err := call(w, "Increase", func() (int, error) { return w.InstanceGroup.Increase(ctx, n) })
	if succeeded > n {
		w.offend("Increase(%d) says %d, which panics older runners", n, succeeded)
	}
	return succeeded, err
}

func (w *wire) Decrease(ctx context.Context, ids []string) ([]string, error) {
	succeeded, err := call(w, "Decrease", func() ([]string, error) { return w.InstanceGroup.Decrease(ctx, ids) })
	for _, id := range succeeded {
		if !slices.Contains(ids, id) {
			w.offend("Decrease answers %s, which was not asked for: older runners crash", id)
		}
	}
	return succeeded, err
}

func (w *wire) ConnectInfo(ctx context.Context, id string) (provider.ConnectInfo, error) {
	return call(w, "ConnectInfo", func() (provider.ConnectInfo, error) { return w.InstanceGroup.ConnectInfo(ctx, id) })
}

func (w *wire) Heartbeat(ctx context.Context, id string) error {
	_, err := call(w, "Heartbeat", func() (struct{}, error) { return struct{}{}, w.InstanceGroup.Heartbeat(ctx, id) })
	return err
}

func (w *wire) Shutdown(ctx context.Context) error {
	_, err := call(w, "Shutdown", func() (struct{}, error) { return struct{}{}, w.InstanceGroup.Shutdown(ctx) })
	return err
}

// network is a plugin process's way to DigitalOcean. It ends with the process:
// after kill -9 nothing is sent any more, and no answer arrives.
type network struct {
	base http.RoundTripper
	dead *atomic.Bool
}

var errKilled = errors.New("the process was killed")

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.dead.Load() {
		return nil, errKilled
	}
	resp, err := n.base.RoundTrip(r)
	if n.dead.Load() {
		if err == nil {
			resp.Body.Close()
		}
		return nil, errKilled
	}
	return resp, err
}

// process is one plugin process with the part of the runner that drives it: the
// real provisioner, over the wire.
type process struct {
	*wire
	group       *InstanceGroup
	provisioner *fleeting.Provisioner
}

// launch starts a plugin process and the runner's provisioner on it.
func launch(ctx context.Context, group *InstanceGroup, sim *dosim.Sim, log hclog.Logger) (*process, error) {
	dead := new(atomic.Bool)
	group.transport = network{group.transport, dead}
	p := &process{group: group, wire: &wire{InstanceGroup: group, sim: sim, dead: dead}}
	var err error
	p.provisioner, err = fleeting.Init(ctx, log, p.wire)
	if err != nil {
		p.end()
		return p, err
	}
	return p, nil
}

// kill is kill -9 of the plugin, and the end of its runner.
func (p *process) kill() {
	p.dead.Store(true)
	p.provisioner.Shutdown(context.Background())
	p.end()
}

// stop ends the runner in good order.
func (p *process) stop() {
	p.provisioner.Shutdown(context.Background())
	p.end()
}

// end gives up what the kernel would: the lock, and connections. The
// provisioner's loop notices its own end after its next wait.
func (p *process) end() {
	p.dead.Store(true)
	time.Sleep(2 * time.Minute)
	if r := p.group.running.Load(); r != nil {
		r.state.Drop()
		r.api.Close()
	}
}

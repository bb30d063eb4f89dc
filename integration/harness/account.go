package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// bootTime is from the request to status active: on DigitalOcean some 30 s.
const bootTime = 2 * time.Second

// account is a simulated DigitalOcean account, served on loopback, whose Droplets boot into SSH servers.
type account struct {
	sim     *dosim.Sim
	fleet   *guest.Fleet
	url     string
	stop    func() // the server
	sshPort int    // that the runner dials

	mu       sync.Mutex
	unbooted []string // Droplets that got no guest
}

// openAccount opens an empty account, whose Droplets let in the user of the runner's connector, and reports their life to
// rec. The caller closes it.
func openAccount(host *Host, c runnerconfig.Connector, docker *guest.Docker, rec *recorder, log hclog.Logger) (*account, error) {
	fleet, err := guest.NewFleet(guest.Options{Docker: docker, Log: func(format string, args ...any) { // on any port: dial finds it
		log.Info(fmt.Sprintf(format, args...))
	}})
	if err != nil {
		return nil, err
	}
	a := &account{fleet: fleet, sshPort: c.ProtocolPort}
	// SSH answers a while after DigitalOcean calls a Droplet active, as it does in reality.
	ready := func(t time.Time) time.Duration { return time.Until(t) + bootTime/4 }
	boot := fleet.Hooks(c.Username, ready, func(d dosim.Droplet, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.unbooted = append(a.unbooted, fmt.Sprintf("%s: %v", d.Name, err))
	})
	a.sim = dosim.New(dosim.Options{
		BootTime: bootTime, DeleteTime: time.Second, Latency: 20 * time.Millisecond, Address: addressBlock(),
		Hooks: dosim.Hooks{
			Created: func(d dosim.Droplet) {
				rec.droplet(d.Name, creating)
				boot.Created(d)
			},
			Gone: func(d dosim.Droplet) {
				boot.Gone(d)
				rec.droplet(d.Name, gone)
			},
		},
	})
	a.url, a.stop = host.Serve(a.sim)
	return a, nil
}

// dial connects the runner to a guest, wherever it really listens.
func (a *account) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil && port == strconv.Itoa(a.sshPort) {
		address = net.JoinHostPort(host, strconv.Itoa(a.fleet.Port()))
	}
	return a.fleet.DialContext(ctx, network, address)
}

// droplets is the account's ledger, with times since begin.
func (a *account) droplets(begin time.Time) (all []Droplet) {
	for _, bill := range a.sim.Ledger() {
		d := Droplet{Name: bill.Name, Created: bill.Created.Sub(begin)}
		if !bill.Gone.IsZero() {
			d.Gone = bill.Gone.Sub(begin)
		}
		all = append(all, d)
	}
	return all
}

// check checks that nothing is left on the account, and that its client kept to the rules.
func (a *account) check(r *Report) {
	var droplets, keys, tags []string
	for _, d := range a.sim.Droplets() {
		droplets = append(droplets, d.Name)
	}
	for _, k := range a.sim.Keys() {
		if !strings.HasSuffix(k.Name, "-static") { // that of ssh_key_file outlives a run
			keys = append(keys, k.Name)
		}
	}
	for _, tag := range a.sim.Tags() {
		if instancegroup.IsDeleteTag(tag) {
			tags = append(tags, tag)
		}
	}
	wrong := a.sim.Violations()
	for _, q := range a.sim.Requests() {
		if q.Proto != "HTTP/1.1" {
			wrong = append(wrong, fmt.Sprintf("%s %s came by %s, which repeats requests by itself", q.Method, q.Path, q.Proto))
			break
		}
	}
	r.none("Droplet is left or billed", droplets)
	r.none("generated SSH key is left on the account", keys)
	r.none("delete tag is left on the account", tags)
	r.none("rule of the API was broken", wrong)
	a.mu.Lock()
	defer a.mu.Unlock()
	r.none("Droplet is without an SSH server", a.unbooted)
}

func (a *account) close() {
	a.sim.Close()
	a.stop()
	a.fleet.Close()
}

// Accounts that are open at the same time share this host's loopback network, so each gets a block of addresses to itself:
// blocks in a row within this process, beginning anywhere, for other processes do the same.
const (
	blockSize = 256
	blocks    = 1 << 21 / blockSize // what dosim.LoopbackAddress has
)

var nextBlock atomic.Uint32

func init() { nextBlock.Store(rand.Uint32N(blocks)) }

func addressBlock() func(n int) (public, private netip.Addr) {
	first := int(nextBlock.Add(1)%blocks) * blockSize
	return func(n int) (public, private netip.Addr) { return dosim.LoopbackAddress(first + n%blockSize) }
}

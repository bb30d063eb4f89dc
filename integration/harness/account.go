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

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// account is a simulated DigitalOcean account, served on loopback, whose
// Droplets boot into SSH servers.
type account struct {
	url     string
	stop    func() // the server
	sshPort int    // that the runner dials
	sim     *dosim.Sim
	fleet   *guest.Fleet

	mu     sync.Mutex
	faults []string // guests that could not be started
}

// accountOptions are the account's speed and what its Droplets let in.
type accountOptions struct {
	bootTime   time.Duration // from the request to status active
	deleteTime time.Duration // from the request until it is gone
	sshPort    int           // that the runner dials
	sshUser    string
	docker     *guest.Docker // of its Droplets, or nil
}

// openAccount opens an empty account and reports the life of its Droplets to
// rec. The caller closes it.
func openAccount(host *Host, o accountOptions, rec *recorder, log func(format string, args ...any)) (*account, error) {
	address := addressBlock()
	fleet, err := guest.NewFleet(guest.Options{Docker: o.docker, Log: log}) // on any port: dial finds it
	if err != nil {
		return nil, err
	}
	a := &account{fleet: fleet, sshPort: o.sshPort}
	// SSH answers a while after DigitalOcean calls a Droplet active, as it does in reality.
	ready := func(t time.Time) time.Duration { return time.Until(t) + o.bootTime/4 }
	boot := fleet.Hooks(o.sshUser, ready, func(d dosim.Droplet, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.faults = append(a.faults, fmt.Sprintf("Droplet %s got no SSH server: %v", d.Name, err))
	})
	a.sim = dosim.New(dosim.Options{
		BootTime:   o.bootTime,
		DeleteTime: o.deleteTime,
		Latency:    20 * time.Millisecond,
		Address:    address,
		Hooks: dosim.Hooks{
			Created: func(d dosim.Droplet) {
				rec.dropletCreated(d.Name)
				boot.Created(d)
			},
			Gone: func(d dosim.Droplet) {
				boot.Gone(d)
				rec.dropletGone(d.Name)
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

// settle waits until no Droplet is left, or ctx ends: a deletion takes its time
// after it was asked for.
func (a *account) settle(ctx context.Context) {
	for len(a.sim.Droplets()) > 0 && pause(ctx, 20*time.Millisecond) == nil {
	}
}

// dollars is what the account owes so far.
func (a *account) dollars() float64 {
	sum := 0.0
	for _, bill := range a.sim.Ledger() {
		sum += bill.Dollars
	}
	return sum
}

// droplets is the account's ledger, with times since begin.
func (a *account) droplets(begin time.Time, jobs map[string]int) []Droplet {
	var droplets []Droplet
	for _, bill := range a.sim.Ledger() {
		d := Droplet{Name: bill.Name, Size: bill.Size, Created: bill.Created.Sub(begin), Jobs: jobs[bill.Name]}
		if !bill.Gone.IsZero() {
			d.Gone = bill.Gone.Sub(begin)
		}
		droplets = append(droplets, d)
	}
	return droplets
}

// testify adds to e what is left on the account and what it saw go wrong.
func (a *account) testify(e *evidence) {
	for _, d := range a.sim.Droplets() {
		e.leftDroplets = append(e.leftDroplets, d.Name)
	}
	for _, k := range a.sim.Keys() {
		if !strings.HasSuffix(k.Name, "-static") { // that of ssh_key_file outlives a run
			e.leftKeys = append(e.leftKeys, k.Name)
		}
	}
	for _, tag := range a.sim.Tags() {
		if instancegroup.IsDeleteTag(tag) {
			e.leftTags = append(e.leftTags, tag)
		}
	}
	for _, r := range a.sim.Requests() {
		if r.Proto != "HTTP/1.1" {
			e.faults = append(e.faults, fmt.Sprintf("%s %s came by %s, which repeats requests by itself", r.Method, r.Path, r.Proto))
			break
		}
	}
	for _, v := range a.sim.Violations() {
		e.violations = append(e.violations, fmt.Sprint(v))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e.faults = append(e.faults, a.faults...)
}

func (a *account) close() {
	a.sim.Close()
	a.stop()
	a.fleet.Close()
}

// Accounts that are open at the same time share this host's loopback network,
// so each gets a block of addresses to itself: blocks in a row within this
// process, beginning anywhere, for other processes do the same.
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

package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
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

// The account's speed: on DigitalOcean it is some 30 s and a few.
const (
	bootTime   = 2 * time.Second // from the request to status active
	deleteTime = time.Second     // from the request until it is gone
)

// openAccount opens an empty account, whose Droplets let in the user of the runner's
// connector, and reports their life to rec. The caller closes it.
func openAccount(
	host *Host, c runnerconfig.Connector, docker *guest.Docker, rec *recorder, log func(format string, args ...any),
) (*account, error) {
	fleet, err := guest.NewFleet(guest.Options{Docker: docker, Log: log}) // on any port: dial finds it
	if err != nil {
		return nil, err
	}
	a := &account{fleet: fleet, sshPort: c.ProtocolPort}
	// SSH answers a while after DigitalOcean calls a Droplet active, as it does in reality.
	ready := func(t time.Time) time.Duration { return time.Until(t) + bootTime/4 }
	boot := fleet.Hooks(c.Username, ready, func(d dosim.Droplet, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.faults = append(a.faults, fmt.Sprintf("Droplet %s got no SSH server: %v", d.Name, err))
	})
	a.sim = dosim.New(dosim.Options{
		BootTime:   bootTime,
		DeleteTime: deleteTime,
		Latency:    20 * time.Millisecond,
		Address:    addressBlock(),
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

// droplets is the account's ledger, with times since begin, and the jobs that each Droplet had.
func (a *account) droplets(begin time.Time, jobs []JobResult) []Droplet {
	var droplets []Droplet
	for _, bill := range a.sim.Ledger() {
		d := Droplet{Name: bill.Name, Created: bill.Created.Sub(begin)}
		if !bill.Gone.IsZero() {
			d.Gone = bill.Gone.Sub(begin)
		}
		for _, j := range jobs {
			if j.Droplet == d.Name {
				d.Jobs++
			}
		}
		droplets = append(droplets, d)
	}
	return droplets
}

// findings are what is left on the account and what it saw its client do wrong; faults
// are what went wrong with the account itself.
func (a *account) findings() (findings []finding, faults []string) {
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
	for _, r := range a.sim.Requests() {
		if r.Proto != "HTTP/1.1" {
			wrong = append(wrong, fmt.Sprintf("%s %s came by %s, which repeats requests by itself", r.Method, r.Path, r.Proto))
			break
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return []finding{
		{"Droplet is left or billed", droplets},
		{"generated SSH key is left on the account", keys},
		{"delete tag is left on the account", tags},
		{"rule of the API was broken", wrong},
	}, slices.Clone(a.faults)
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

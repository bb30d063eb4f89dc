// Package dosim simulates DigitalOcean's v2 API where a fleeting plugin touches it: Droplets, tags, SSH keys, the
// catalog (images, sizes, regions, VPCs), projects, actions and rate limits.
//
// A [Sim] is an http.Handler with a clock. It is strict: what DigitalOcean rejects it rejects, with the same status
// and, where the public knows it, the same message. It shares no code with any client, so that it is an independent
// witness of the wire format; its tests drive it with godo and hold it to DigitalOcean's OpenAPI specification.
//
// Three things make it more than a mock. [Sim.Inject] makes any operation fail as DigitalOcean fails: carried out or
// not before the error. [Sim.Droplets] and [Sim.Ledger] are the truth, whatever the API's own lists say. And the
// simulator polices its client: [Sim.Violations] lists what a well-behaved fleet manager never does.
package dosim

import (
	"cmp"
	"context"
	"hash/crc32"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// DefaultToken is the bearer token of a Sim whose Options name none.
const DefaultToken = "dosim-token"

// Options configure a [Sim]. The zero value is an ordinary account on an ordinary day.
type Options struct {
	Now          func() time.Time // DigitalOcean's clock; nil: that of package time
	Token        string           // "": DefaultToken; any other bearer gets 401. Another token is another account
	DropletLimit int              // the account's droplet_limit; 0: 100
	GPULimit     int              // how many GPU Droplets there may be, of droplet_limit; 0: all
	BootTime     time.Duration    // from POST to active; 0: 30s, as measured in public
	DeleteTime   time.Duration    // from DELETE's 204 to gone (404, no longer billed); 0: 3s
	ListLag      time.Duration    // how long lists miss new Droplets and still show gone ones
	Latency      time.Duration    // a request's round trip: half of it before it is carried out, half after

	FirstDropletID     int // 0: 512000001; real ones have nine digits, too
	PerMinute, PerHour int // requests allowed per sliding minute and hour; 0: DigitalOcean's 250 and 5,000; negative: no limit

	// Address gives the n-th Droplet (from 1) its addresses. nil: LoopbackAddress.
	Address func(n int) (public, private netip.Addr)
	Hooks   Hooks
}

// Hooks hear of the lives of Droplets, for what boots in them. Each is called once for a
// Droplet and without the Sim's lock, so it may call the Sim. Gone is never called before Created has returned.
type Hooks struct {
	// Created is called as soon as a Droplet exists: its addresses, keys and ReadyAt are known, its status is new. A
	// ReadyAt of zero means that it never becomes active.
	Created func(Droplet)
	// Gone is called when the Droplet has ceased to exist and to cost.
	Gone func(Droplet)
}

// Sim is one DigitalOcean account behind an http.Handler. All its methods are safe for concurrent use.
//
// A Droplet's life is computed from timestamps when somebody looks, not by goroutines; only a Sim with a Gone hook
// has a goroutine for each Droplet on its way out. [Sim.Close] stops those.
type Sim struct {
	opt Options
	mux *http.ServeMux

	closing context.Context // done once Close is called
	close   context.CancelFunc
	timers  sync.WaitGroup // of the goroutines that wait to call Hooks.Gone

	mu        sync.Mutex // owns everything below; never held while sleeping, writing an answer or calling a hook
	token     string
	account   Account
	limit     int        // of Droplets
	machines  []*machine // every Droplet ever made, by ascending id
	byID      map[int]*machine
	tags      map[string]bool // every tag
	keys      []*Key
	keySerial int // keys ever made: ids are not used again
	regions   []*region
	sizes     []*size
	images    []*Image
	vpcs      []*vpc
	projects  []string // uuids, that of the default project first
	faults    []*armedFault
	limits    limits
	requests  []Request
	police    police
}

// New returns an account with a catalog, a default project, VPCs and one private snapshot, and nothing that costs.
// Under testing/synctest call it in the bubble.
func New(opt Options) *Sim {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Address == nil {
		opt.Address = LoopbackAddress
	}
	opt.Token = cmp.Or(opt.Token, DefaultToken)
	opt.BootTime = cmp.Or(opt.BootTime, 30*time.Second)
	opt.DeleteTime = cmp.Or(opt.DeleteTime, 3*time.Second)
	opt.PerMinute = cmp.Or(opt.PerMinute, 250)
	opt.PerHour = cmp.Or(opt.PerHour, 5000)
	opt.FirstDropletID = cmp.Or(opt.FirstDropletID, 512_000_001)
	s := &Sim{
		opt:   opt,
		token: opt.Token,
		account: Account{
			Status: "active", EmailVerified: true, TeamName: "My Team",
			TeamUUID: fakeUUID("7ea3", int(crc32.ChecksumIEEE([]byte(opt.Token))>>1)),
		},
		limit:  cmp.Or(opt.DropletLimit, 100),
		byID:   map[int]*machine{},
		tags:   map[string]bool{},
		limits: newLimits(opt.PerMinute, opt.PerHour),
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.stock(s.now())
	s.mux = s.routes()
	return s
}

func (s *Sim) now() time.Time { return s.opt.Now().UTC() }

// sleep waits for d; the end of ctx and Close cut it short.
func (s *Sim) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.closing.Done():
	}
}

// Close ends hanging requests and stops the goroutines that wait to call Hooks.Gone; those calls are not made. It
// returns when no goroutine of the Sim's own is left. The Sim still answers afterwards, but without delays.
func (s *Sim) Close() {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	s.timers.Wait()
}

// LoopbackAddress gives the n-th Droplet a public address in 127.64.0.0/11 and a private one in 127.96.0.0/11: on
// Linux both reach a listener on this very host without any set-up. Addresses are never reused; the first two million
// Droplets have one of their own.
func LoopbackAddress(n int) (public, private netip.Addr) {
	at := func(second int) netip.Addr {
		return netip.AddrFrom4([4]byte{127, byte(second + n>>16), byte(n >> 8), byte(n)})
	}
	return at(64), at(96)
}

// addressV6 gives the n-th Droplet an address in the prefix that RFC 3849 keeps for documentation: it leads nowhere.
func addressV6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 0x01, 0x0d, 0xb8, 13: byte(n >> 16), byte(n >> 8), byte(n)})
}

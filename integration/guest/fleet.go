// Package guest is what boots in a simulated Droplet: an SSH server on the Droplet's own loopback addresses that accepts
// just the keys the Droplet was created with and runs commands with the host's shell.
//
// A guest is a directory, not a container. Its commands run as the user that runs the simulator, in a directory of their
// own, with an environment that holds nothing of the host's, and each in a process group that dies with its session. A
// process that leaves that group (setsid) is beyond its reach.
//
// cloud-init, docker and hostname are stand-ins, first in the PATH of every command.
package guest

import (
	"context"
	"crypto/ed25519"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// standIns are the programs of a Droplet that the host may lack, or has and must not lend: they say what they are.
//
//go:embed standins
var standIns embed.FS

// Options are what the guests of a Fleet share. The zero value works.
type Options struct {
	Port   int     // that every guest listens on, each on its own addresses; 0 picks a free one
	Docker *Docker // the Engine that the guests' docker commands reach; nil: a stand-in answers `docker info`, for ready commands

	// Log receives one line per event worth reading. It is called from many goroutines, never after Close. Nil discards.
	Log func(format string, args ...any)
}

// Fleet runs the guests of one simulated account. All of its methods may be called at the same time.
type Fleet struct {
	opt      Options
	dir      string     // holds bin and one directory per guest
	hostKey  ssh.Signer // one for all guests: no client of ours verifies it
	listen   func(network, address string) (net.Listener, error)
	reserved net.Listener // keeps other fleets off a port that was picked; nil: the caller chose it

	mu     sync.Mutex // owns what follows
	closed bool
	guests map[int]*guest
	// elsewhere has, for every guest address that could not be bound, where its guest listens instead.
	elsewhere map[netip.AddrPort]string
}

// NewFleet makes a fleet without guests. The caller must Close it.
func NewFleet(o Options) (*Fleet, error) {
	if o.Port < 0 || o.Port > 65535 {
		return nil, fmt.Errorf("guests cannot listen on port %d: choose one from 1 to 65535, or 0 for any free one", o.Port)
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	f := &Fleet{opt: o, listen: net.Listen, guests: map[int]*guest{}, elsewhere: map[netip.AddrPort]string{}}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("making the guests' host: %w", err), f.Close())
	}
	return f, nil
}

// open makes what the guests share.
func (f *Fleet) open() error {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	if f.hostKey, err = ssh.NewSignerFromSigner(private); err != nil {
		return err
	}
	if f.dir, err = os.MkdirTemp("", "guests"); err != nil {
		return err
	}
	bin := filepath.Join(f.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return err
	}
	programs, _ := standIns.ReadDir("standins") // which is part of this program
	for _, p := range programs {
		path := filepath.Join(bin, p.Name())
		if f.opt.Docker != nil && p.Name() == "docker" {
			err = os.Symlink(f.opt.Docker.command, path)
		} else {
			text, _ := standIns.ReadFile("standins/" + p.Name())
			err = os.WriteFile(path, text, 0o700)
		}
		if err != nil {
			return err
		}
	}
	if f.opt.Port == 0 {
		if f.reserved, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		f.opt.Port = f.reserved.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// Hooks boot a guest in every Droplet of a simulated account that becomes active, and cut its power at the Droplet's end.
// User is the one who may log in, "" is root. until tells how far away, in real time, a moment of the account's clock is.
// failed hears of a Droplet that got no guest.
func (f *Fleet) Hooks(user string, until func(time.Time) time.Duration, failed func(dosim.Droplet, error)) dosim.Hooks {
	if user == "" {
		user = "root"
	}
	return dosim.Hooks{
		Created: func(d dosim.Droplet) {
			if d.ReadyAt.IsZero() {
				return // it never becomes active
			}
			if err := f.start(d, user, until(d.ReadyAt)); err != nil {
				failed(d, err)
			}
		},
		Gone: func(d dosim.Droplet) { f.stop(d.ID) },
	}
}

// start powers a guest on. It listens when start returns, and serves once it has booted. A start that fails leaves
// nothing behind.
func (f *Fleet) start(d dosim.Droplet, user string, boot time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.New("the fleet is closed")
	}
	g, err := f.newGuest(d, user)
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{d.PublicIPv4, d.PrivateIPv4} { // those of IPv6 are no addresses of this host
		if !a.IsValid() {
			continue
		}
		l, err := f.bind(netip.AddrPortFrom(a, uint16(f.Port())))
		if err != nil {
			g.stop()
			return err
		}
		g.wg.Go(func() { g.serve(l, boot) })
	}
	f.guests[d.ID] = g
	return nil
}

// bind listens at addr, or, where the host does not have the address, at a port of 127.0.0.1 that stands in for it.
func (f *Fleet) bind(addr netip.AddrPort) (net.Listener, error) {
	if !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("%v is not a loopback address: guests are never reachable from outside the host", addr)
	}
	l, err := f.listen("tcp", addr.String())
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		if l, err = f.listen("tcp", "127.0.0.1:0"); err == nil {
			f.elsewhere[addr] = l.Addr().String()
		}
	}
	return l, err
}

// DialContext connects to a guest at the address it has on the simulated account, such as "127.64.0.7:22". It is for
// hosts that do not have that address (macOS has no aliases of 127/8): there the guest listens elsewhere, and DialContext
// knows where. Every other address is dialled as it is.
//
// It has the signature of the DialFn in the runner's connector.DialOptions.
func (f *Fleet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if addr, err := netip.ParseAddrPort(address); err == nil {
		f.mu.Lock()
		if elsewhere, ok := f.elsewhere[addr]; ok {
			address = elsewhere
		}
		f.mu.Unlock()
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// stop is a power cut: the guest's listeners and connections are closed, its commands are killed, and its directory is
// removed. When it returns, nothing of the guest is left.
func (f *Fleet) stop(id int) {
	f.mu.Lock()
	g := f.guests[id]
	delete(f.guests, id)
	f.mu.Unlock()
	if g != nil { // a Droplet may be destroyed before it booted
		g.stop()
	}
}

// Port is the port that the guests listen on: the runner's connector_config.protocol_port.
func (f *Fleet) Port() int { return f.opt.Port }

// Close stops all guests, waits for their goroutines and processes, and removes the fleet's directory.
func (f *Fleet) Close() error {
	f.mu.Lock()
	f.closed = true
	guests := f.guests
	f.guests = nil
	f.mu.Unlock()
	if f.reserved != nil {
		f.reserved.Close()
	}
	var wg sync.WaitGroup
	for _, g := range guests {
		wg.Go(g.stop)
	}
	wg.Wait()
	return os.RemoveAll(f.dir)
}

// Package guest is what boots in a simulated Droplet: an SSH server on the
// Droplet's own loopback addresses that accepts just the keys the Droplet was
// created with and runs commands with the host's shell.
//
// A guest is a directory, not a container. Its commands run as the user that
// runs the simulator, in a directory of their own, with an environment that
// holds nothing of the host's, and each in a process group that dies with its
// session. A process that leaves that group (setsid) is beyond its reach.
//
// cloud-init, docker and hostname are stand-ins (see standins), first in the PATH
// of every command.
package guest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Options are what the guests of a Fleet share. The zero value works.
type Options struct {
	// Port is the TCP port that every guest listens on, each on its own
	// addresses. 0 picks a free one.
	Port int

	// Docker is the Engine that the guests' docker commands reach. Nil is none: a
	// stand-in answers 'docker info', for ready commands.
	Docker *Docker

	// Log receives one line per event worth reading (refused logins, commands
	// that could not start, addresses that could not be bound). It is called
	// from many goroutines, never after Close. Nil discards.
	Log func(format string, args ...any)
}

// Fleet runs the guests of one simulated account. All of its methods may be
// called at the same time.
type Fleet struct {
	port    int
	dir     string     // holds bin and one directory per guest
	hostKey ssh.Signer // one for all guests: no client of ours verifies it
	docker  *Docker
	log     func(format string, args ...any)

	listen func(network, address string) (net.Listener, error) // net.Listen

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
	f := &Fleet{
		port:      o.Port,
		docker:    o.Docker,
		log:       o.Log,
		listen:    net.Listen,
		guests:    make(map[int]*guest),
		elsewhere: make(map[netip.AddrPort]string),
	}
	if f.log == nil {
		f.log = func(string, ...any) {}
	}
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
	if err := installStandIns(f.binDir()); err != nil {
		return err
	}
	if f.docker != nil {
		if err := f.docker.install(f.binDir()); err != nil {
			return err
		}
	}
	if f.port == 0 {
		if f.reserved, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		f.port = f.reserved.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// Start powers a guest on. It listens when Start returns, and serves once
// [Spec.ReadyIn] has passed. It fails, and leaves nothing behind, when the
// spec is invalid, the id is already running or an address is taken.
func (f *Fleet) Start(spec Spec) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("starting guest %d (%s): %w", spec.ID, spec.Name, err)
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.New("the fleet is closed")
	}
	if g, ok := f.guests[spec.ID]; ok {
		return fmt.Errorf("it already runs as %s; stop it first", g.spec.Name)
	}
	g, err := newGuest(f, spec)
	if err != nil {
		return err
	}
	for _, addr := range g.addrs {
		l, err := f.bind(addr)
		if err != nil {
			g.stop()
			return err
		}
		g.wg.Go(func() { g.serve(l) })
	}
	f.guests[spec.ID] = g
	return nil
}

// Stop is a power cut: the guest's listeners and connections are closed, its
// commands are killed, and its directory is removed. When it returns, nothing
// of the guest is left, and the id may be started again with an empty disk.
// An unknown id is no error, since a Droplet may be destroyed before it booted.
func (f *Fleet) Stop(id int) {
	f.mu.Lock()
	g, ok := f.guests[id]
	f.mu.Unlock()
	if !ok {
		return
	}
	g.stop()
	// Only now may the id be started again: the directory has its name.
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.guests[id] == g {
		delete(f.guests, id)
	}
}

// Port is the port that the guests listen on: the runner's
// connector_config.protocol_port.
func (f *Fleet) Port() int { return f.port }

// Close stops all guests, waits for their goroutines and processes, and
// removes the fleet's directory. Closing again does nothing.
func (f *Fleet) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
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

func (f *Fleet) binDir() string { return filepath.Join(f.dir, "bin") }

func (f *Fleet) guestDir(id int) string { return filepath.Join(f.dir, strconv.Itoa(id)) }

package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Spec is what a Droplet boots with.
type Spec struct {
	ID             int
	Name           string        // the hostname
	Addrs          []netip.Addr  // its own loopback addresses (public and private); each gets the SSH port
	AuthorizedKeys []string      // OpenSSH public keys; exactly these are accepted
	User           string        // the only user who may log in; "" is root
	ReadyIn        time.Duration // the boot: until then connections are held, not refused
}

// guest is one powered-on Droplet.
type guest struct {
	spec  Spec
	dir   string // "home" and "tmp" of its commands
	addrs []netip.AddrPort
	env   []string // of its commands

	ssh *ssh.ServerConfig
	log func(format string, args ...any)

	power   context.Context // done when the power is cut
	cut     context.CancelFunc
	wg      sync.WaitGroup // every goroutine of the guest
	stopped sync.Once
}

// newGuest checks the spec and makes the guest's directory. The caller serves
// its listeners, and owes it a stop.
func newGuest(f *Fleet, spec Spec) (*guest, error) {
	if spec.User == "" {
		spec.User = "root"
	}
	g := &guest{spec: spec, dir: f.guestDir(spec.ID), log: f.log}

	if len(spec.Addrs) == 0 {
		return nil, errors.New("it has no address: give it at least one in Spec.Addrs")
	}
	for _, a := range spec.Addrs {
		a = a.Unmap()
		if !a.IsLoopback() {
			return nil, fmt.Errorf("address %v is not a loopback address: guests are never reachable from outside the host", a)
		}
		g.addrs = append(g.addrs, netip.AddrPortFrom(a, uint16(f.port)))
	}
	var err error
	if g.ssh, err = serverConfig(f.hostKey, spec); err != nil {
		return nil, err
	}
	for _, d := range []string{g.home(), g.tmp()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("making its directory: %w", err), os.RemoveAll(g.dir))
		}
	}
	g.env = environment(g, f)
	g.power, g.cut = context.WithCancel(context.Background())

	return g, nil
}

// serve owns l. It accepts nothing before the guest has booted: until then
// the kernel completes the connections and holds them in the listener's queue,
// which costs no goroutine and resets them if the power is cut.
func (g *guest) serve(l net.Listener) {
	defer context.AfterFunc(g.power, func() { l.Close() })()
	defer l.Close()

	boot := time.NewTimer(g.spec.ReadyIn)
	defer boot.Stop()
	select {
	case <-boot.C:
	case <-g.power.Done():
		return
	}

	for {
		conn, err := l.Accept()
		if err != nil {
			if g.power.Err() == nil {
				g.log("guest %s: accepting a connection: %v", g.spec.Name, err)
			}
			return
		}
		g.wg.Go(func() { g.handle(conn) })
	}
}

// stop cuts the power and waits until nothing of the guest is left. A second
// stop waits for the first, and leaves the directory alone: by the time it
// returns another guest may have the id.
func (g *guest) stop() {
	g.stopped.Do(func() {
		g.cut()
		g.wg.Wait()
		if err := os.RemoveAll(g.dir); err != nil {
			g.log("guest %s: removing its directory: %v", g.spec.Name, err)
		}
	})
}

func (g *guest) home() string { return filepath.Join(g.dir, "home") }
func (g *guest) tmp() string  { return filepath.Join(g.dir, "tmp") }

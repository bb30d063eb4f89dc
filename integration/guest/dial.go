package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// DialContext connects to a guest at the address it has on the simulated
// account, such as "127.64.0.7:22". It is for hosts that do not have that address
// (macOS has no aliases of 127/8): there the guest listens elsewhere, and DialContext knows where.
// Once such a guest is stopped its address is refused rather than dialled,
// since the host's own SSH server may well answer there. Every other address
// is dialled as it is.
//
// It has the signature of the DialFn in the runner's connector.DialOptions.
func (f *Fleet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if addr, err := netip.ParseAddrPort(address); err == nil {
		f.mu.Lock()
		standIn, ok := f.standIns[addr]
		f.mu.Unlock()

		if ok && standIn == "" {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(addr), Err: syscall.ECONNREFUSED}
		}
		if ok {
			address = standIn
		}
	}

	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// bind listens at addr, or, where the host does not have the address, at a port of
// 127.0.0.1 that stands in for it.
// The caller holds f.mu.
func (f *Fleet) bind(addr netip.AddrPort) (net.Listener, error) {
	if f.standIns[addr] != "" {
		return nil, fmt.Errorf("%v belongs to another guest", addr)
	}

	if f.reserved != nil && f.reserved.Addr().String() == addr.String() {
		l := f.reserved
		f.reserved = nil
		return l, nil
	}

	l, err := f.listen("tcp", addr.String())
	switch {
	case err == nil:
		delete(f.standIns, addr)
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%v belongs to another guest or another server of this host: choose another address or Options.Port: %w", addr, err)
	case !errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, err
	}

	l, standInErr := f.listen("tcp", "127.0.0.1:0")
	if standInErr != nil {
		return nil, errors.Join(err, standInErr)
	}
	f.standIns[addr] = l.Addr().String()
	f.log("%v cannot be bound (%v): listening at %v, which only DialContext knows", addr, err, l.Addr())

	return l, nil
}

// forget makes the addresses that g could not bind refuse connections.
// The caller holds f.mu.
func (f *Fleet) forget(g *guest) {
	for _, addr := range g.addrs {
		if _, ok := f.standIns[addr]; ok {
			f.standIns[addr] = ""
		}
	}
}

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
// Every other address is dialled as it is.
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

// bind listens at addr, or, where the host does not have the address, at a port of
// 127.0.0.1 that stands in for it. The caller holds f.mu.
func (f *Fleet) bind(addr netip.AddrPort) (net.Listener, error) {
	l, err := f.listen("tcp", addr.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%v belongs to another guest or another server of this host: choose another address or port: %w", addr, err)
	}
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		if l, err = f.listen("tcp", "127.0.0.1:0"); err == nil {
			f.elsewhere[addr] = l.Addr().String()
			f.log("%v cannot be bound: listening at %v, which only DialContext knows", addr, l.Addr())
		}
	}
	return l, err
}

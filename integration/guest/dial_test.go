package guest

import (
	"bufio"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// On a host that does not have the address the guest is reached through DialContext,
// at the very address that the simulated account tells.
func TestDialContextFindsGuestsThatCannotBind(t *testing.T) {
	f, err := NewFleet(Options{Port: 22, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.listen = func(network, address string) (net.Listener, error) {
		if address != "127.0.0.1:0" {
			return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EADDRNOTAVAIL}
		}
		return net.Listen(network, address)
	}
	public, private := netip.MustParseAddr("127.64.0.7"), netip.MustParseAddr("127.65.0.7")
	spec := Spec{ID: 1, Name: "ci-1", Addrs: []netip.Addr{public, private}}
	if err := f.Start(spec); err != nil {
		t.Fatal(err)
	}
	if f.Port() != 22 {
		t.Errorf("Port is %d, want the one that was asked for", f.Port())
	}

	for _, address := range []string{"127.64.0.7:22", "127.65.0.7:22"} {
		conn, err := f.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		conn.Close()
	}

	f.Stop(1)
	if _, err := f.DialContext(t.Context(), "tcp", "127.64.0.7:22"); err == nil {
		t.Error("a stopped guest answers")
	}
}

package harness

import (
	"net"
	"net/netip"
	"testing"
)

func TestGuestsYieldAPortThatTheHostHolds(t *testing.T) {
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held := netip.MustParseAddrPort(holder.Addr().String())
	if got := guestPort(held); got != 0 {
		t.Errorf("%s is held, and guests would listen on port %d", held, got)
	}
	holder.Close()
	if got := guestPort(held); got != int(held.Port()) {
		t.Errorf("%s is free, and guests would listen on port %d", held, got)
	}
}

func TestAccountsThatAreOpenTogetherShareNoAddress(t *testing.T) {
	seen := make(map[netip.Addr]bool)
	for range 20 {
		address := addressBlock()
		for n := range blockSize {
			public, private := address(n)
			if seen[public] || seen[private] {
				t.Fatalf("%s or %s is given out twice", public, private)
			}
			seen[public], seen[private] = true, true
		}
	}
}

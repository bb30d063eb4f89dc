package harness

import (
	"net/netip"
	"testing"
)

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

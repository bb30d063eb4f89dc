package dosim

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
)

// Accounts that are open at the same time share this host's loopback network, so each gets a block of addresses to itself:
// blocks in a row within a process, beginning anywhere, for other processes do the same.
const (
	blockSize = 256
	blocks    = 1 << 21 / blockSize // what LoopbackAddress has
)

var nextBlock atomic.Uint32

func init() { nextBlock.Store(rand.Uint32N(blocks)) }

// LoopbackBlock is LoopbackAddress for one of several accounts.
func LoopbackBlock() func(n int) (public, private netip.Addr) {
	first := int(nextBlock.Add(1)%blocks) * blockSize
	return func(n int) (public, private netip.Addr) { return LoopbackAddress(first + n%blockSize) }
}

package dosim

import "net/netip"

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
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	a[13], a[14], a[15] = byte(n>>16), byte(n>>8), byte(n)
	return netip.AddrFrom16(a)
}

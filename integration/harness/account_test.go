package harness

import (
	"crypto/ed25519"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
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

func TestTheRunnersPortLeadsToTheGuestsPort(t *testing.T) {
	fleet, err := guest.NewFleet(guest.Options{Port: 0})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	err = fleet.Start(guest.Spec{
		ID: 1, Name: "ci-a",
		Addrs:          []netip.Addr{netip.MustParseAddr("127.0.0.2")},
		AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(key))},
	})
	if err != nil {
		t.Fatal(err)
	}

	a := &account{fleet: fleet, sshPort: 22}
	conn, err := a.dial(t.Context(), "tcp", "127.0.0.2:22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	banner := make([]byte, 8)
	if _, err := io.ReadFull(conn, banner); err != nil || string(banner) != "SSH-2.0-" {
		t.Errorf("the guest said %q (%v)", banner, err)
	}
	if port := conn.RemoteAddr().(*net.TCPAddr).Port; port == 22 {
		t.Error("port 22 was dialled as it is")
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

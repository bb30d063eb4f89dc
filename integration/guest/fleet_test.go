//go:build unix

package guest_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

func addrs(a ...netip.Addr) []netip.Addr { return a }

func TestStartRefuses(t *testing.T) {
	f := newFleet(t)
	boot(t, f)
	free := netip.MustParseAddr("127.64.0.8")

	tests := map[string]struct {
		spec guest.Spec
		want string
	}{
		"no address": {
			guest.Spec{ID: 2, Name: "ci-2"},
			"starting guest 2 (ci-2): it has no address",
		},
		"an address that others can reach": {
			guest.Spec{ID: 2, Name: "ci-2", Addrs: addrs(netip.MustParseAddr("192.0.2.1"))},
			"starting guest 2 (ci-2): address 192.0.2.1 is not a loopback address",
		},
		"an address that is taken": {
			guest.Spec{ID: 2, Name: "ci-2", Addrs: addrs(free, addr)},
			"belongs to another guest",
		},
		"an id that is taken": {
			guest.Spec{ID: 1, Name: "ci-2", Addrs: addrs(free)},
			"starting guest 1 (ci-2): it already runs as ci-1; stop it first",
		},
		"a key that is none": {
			guest.Spec{ID: 2, Name: "ci-2", Addrs: addrs(free), AuthorizedKeys: []string{newKey(t).authorized, "ssh-rsa AAAA"}},
			"starting guest 2 (ci-2): authorized key 2 is not an OpenSSH public key",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := f.Start(tt.spec)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q in it", err, tt.want)
			}
			if _, err := os.Stat(filepath.Dir(f.DockerSocket(2))); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a refused guest left its directory behind (%v)", err)
			}
		})
	}
}

func TestOptionsRefused(t *testing.T) {
	if _, err := guest.NewFleet(guest.Options{Port: 65536}); err == nil {
		t.Error("port 65536 accepted")
	}

	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 25))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := guest.NewFleet(guest.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Start(guest.Spec{ID: 1, Addrs: addrs(addr)}); err == nil || !strings.Contains(err.Error(), "choose a shorter Options.Dir") {
		t.Errorf("a directory too long for unix sockets: got %v", err)
	}
}

// Every address of a Droplet leads to it, without any mapping where the host
// has all of 127/8.
func TestAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127/8")
	}
	f := newFleet(t)
	private := netip.MustParseAddr("127.65.0.7")
	start(t, f, guest.Spec{ID: 1, Name: "ci-1", Addrs: addrs(addr, private)})

	for _, a := range addrs(addr, private) {
		conn, err := net.Dial("tcp", netip.AddrPortFrom(a, uint16(f.Port())).String())
		if err != nil {
			t.Error(err)
			continue
		}
		if banner := readBanner(t, conn); banner != "SSH-2.0-simulated-droplet\r\n" {
			t.Errorf("%v says %q", a, banner)
		}
		conn.Close()
	}
}

// The picked port is held on 127.0.0.1, and a guest may have that address.
func TestAGuestAtTheAddressThatHoldsThePort(t *testing.T) {
	f := newFleet(t)
	home := netip.MustParseAddr("127.0.0.1")
	spec := guest.Spec{ID: 1, Name: "ci-1", Addrs: addrs(home)}
	start(t, f, spec)
	f.Stop(1)
	start(t, f, spec)

	conn, err := net.Dial("tcp", netip.AddrPortFrom(home, uint16(f.Port())).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if banner := readBanner(t, conn); !strings.HasPrefix(banner, "SSH-2.0-") {
		t.Errorf("got %q", banner)
	}
}

// A stopped guest leaves nothing, and its id and address can be used again.
func TestStop(t *testing.T) {
	f := newFleet(t)
	k := boot(t, f)
	run(t, connect(t, f, k), "touch $HOME/file $TMPDIR/file", "")
	dir := filepath.Dir(f.DockerSocket(1))
	if _, err := os.Stat(filepath.Join(dir, "home", "file")); err != nil {
		t.Fatal(err)
	}

	f.Stop(1)
	f.Stop(1)
	f.Stop(99) // a Droplet that never booted

	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the guest's directory is left (%v)", err)
	}
	if _, err := f.DialContext(t.Context(), "tcp", netip.AddrPortFrom(addr, uint16(f.Port())).String()); err == nil {
		t.Error("the guest still listens")
	}

	k = boot(t, f)
	if got := run(t, connect(t, f, k), "ls -A", ""); got.Stdout != "" {
		t.Errorf("the disk outlived the Droplet: %q", got.Stdout)
	}
}

func TestClose(t *testing.T) {
	f := newFleet(t)
	boot(t, f)
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := f.Start(guest.Spec{ID: 2, Name: "ci-2", Addrs: addrs(addr)}); err == nil || !strings.Contains(err.Error(), "the fleet is closed") {
		t.Errorf("Start after Close: got %v", err)
	}
	f.Stop(1)
}

// A runner that asks for a hundred Droplets gets them, all with jobs, and the
// end of the fleet in the middle of it all wedges nothing.
func TestManyGuestsAtOnce(t *testing.T) {
	f := newFleet(t)
	k := newKey(t)
	const n = 100
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			a := netip.AddrFrom4([4]byte{127, 64, 1, byte(i)})
			err := f.Start(guest.Spec{ID: i, Name: "ci", Addrs: addrs(a), AuthorizedKeys: []string{k.authorized}, ReadyIn: time.Duration(i) * time.Millisecond})
			if err != nil {
				t.Error(err)
				return
			}
			conn, err := f.DialContext(t.Context(), "tcp", netip.AddrPortFrom(a, uint16(f.Port())).String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			readBanner(t, conn)
			if i%2 == 0 {
				f.Stop(i)
			}
		})
	}
	wg.Wait()
}

// readBanner reads a server's first line.
func readBanner(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	var line []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(line), "\n"); line = append(line, b...) {
		if _, err := conn.Read(b); err != nil {
			t.Errorf("reading the banner of %v: %v", conn.RemoteAddr(), err)
			break
		}
	}
	return string(line)
}

//go:build unix

package guest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A connection that is made before the boot is held, and served on time.
func TestBootHoldsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		g := bootGuest(t, l, 40*time.Second)
		start := time.Now()
		conn := l.dial()
		defer conn.Close()

		banner, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || banner != "SSH-2.0-simulated-droplet\r\n" {
			t.Errorf("got %q, %v", banner, err)
		}
		if got := time.Since(start); got != 40*time.Second {
			t.Errorf("served after %v, want 40s", got)
		}
		g.stop()
	})
}

func TestPowerCutDuringBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		g := bootGuest(t, l, time.Hour)
		start := time.Now()
		synctest.Wait()

		g.stop()

		if got := time.Since(start); got != 0 {
			t.Errorf("the power cut waited %v for the boot", got)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is left open (%v)", err)
		}
	})
}

// A client that connects and says nothing is dropped, as OpenSSH does it.
func TestSilentClientIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		g := bootGuest(t, l, 0)
		start := time.Now()
		conn := l.dial()
		defer conn.Close()

		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("got %v, want the end of the connection", err)
		}
		if got := time.Since(start); got != 2*time.Minute {
			t.Errorf("dropped after %v, want 2m", got)
		}
		g.stop()
	})
}

// bootGuest serves one guest on l. The test must stop it.
func bootGuest(t *testing.T, l net.Listener, readyIn time.Duration) *guest {
	t.Helper()
	f, err := NewFleet(Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	g, err := newGuest(f, Spec{ID: 1, Name: "ci-1", Addrs: []netip.Addr{netip.MustParseAddr("127.64.0.7")}, ReadyIn: readyIn})
	if err != nil {
		t.Fatal(err)
	}
	g.wg.Go(func() { g.serve(l) })
	return g
}

// pipeListener is a listener without a network, for synctest.
type pipeListener struct {
	conns  chan net.Conn // the backlog
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case conn := <-l.conns:
		return conn, nil
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

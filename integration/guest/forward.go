package guest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// forwardUnix serves a direct-streamlocal channel (OpenSSH's PROTOCOL, section
// 2.4): the client is connected to a unix socket. The usual path of Docker's
// is the guest's own, never the host's; others are the host's, and a relative
// path starts in the guest's home.
func (g *guest) forwardUnix(incoming ssh.NewChannel) {
	var m struct {
		Path      string
		Reserved  string
		Reserved2 uint32
	}
	if err := ssh.Unmarshal(incoming.ExtraData(), &m); err != nil {
		_ = incoming.Reject(ssh.ConnectionFailed, "malformed request: "+err.Error())
		return
	}

	path := m.Path
	switch {
	case path == "/var/run/docker.sock" || path == "/run/docker.sock":
		path = g.dockerSocket()
	case !filepath.IsAbs(path):
		path = filepath.Join(g.home(), path)
	}
	g.forward(incoming, "unix", path)
}

// forwardTCP serves a direct-tcpip channel (RFC 4254, section 7.2) to the
// loopback interface, which a guest shares with the host.
func (g *guest) forwardTCP(incoming ssh.NewChannel) {
	var m struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(incoming.ExtraData(), &m); err != nil {
		_ = incoming.Reject(ssh.ConnectionFailed, "malformed request: "+err.Error())
		return
	}

	host := m.Host
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if addr, err := netip.ParseAddr(host); err != nil || !addr.IsLoopback() {
		_ = incoming.Reject(ssh.Prohibited, fmt.Sprintf("a simulated Droplet reaches loopback addresses only, not %q", m.Host))
		return
	}
	g.forward(incoming, "tcp", net.JoinHostPort(host, strconv.FormatUint(uint64(m.Port), 10)))
}

// forward copies both ways between the channel and the address until both
// sides have said all, the client closes the channel, or the power is cut.
func (g *guest) forward(incoming ssh.NewChannel, network, address string) {
	var d net.Dialer
	conn, err := d.DialContext(g.power, network, address)
	if err != nil {
		_ = incoming.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	ch, requests, err := incoming.Accept()
	if err != nil {
		return
	}

	var copies, closed sync.WaitGroup
	copies.Go(func() { send(conn, ch) })
	copies.Go(func() {
		_, _ = io.Copy(ch, conn)
		_ = ch.CloseWrite()
	})
	closed.Go(func() {
		ssh.DiscardRequests(requests) // until the channel is closed
		conn.Close()
	})
	copies.Wait()
	_ = ch.Close()
	closed.Wait()
}

// dialDocker is `docker system dial-stdio`, which is how the runner reaches a
// Droplet's Docker: it connects the session to the daemon's socket.
func (s *session) dialDocker(ctx context.Context) exit {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.guest.dockerSocket())
	if err != nil {
		fmt.Fprintf(s.ch.Stderr(), "simulated Droplet %s: no Docker daemon runs here: %v\n", s.guest.spec.Name, err)
		return exit{status: 1}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	s.wg.Go(func() { send(conn, s.ch) })
	_, _ = io.Copy(s.ch, conn)

	return exit{}
}

// send copies what the client says, and passes on that it has said all.
func send(conn net.Conn, client io.Reader) {
	_, _ = io.Copy(conn, client)
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

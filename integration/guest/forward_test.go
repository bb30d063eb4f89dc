//go:build unix

package guest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The three ways to the Docker of a Droplet, and one to any of its servers.
func TestWaysToAServerInTheGuest(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))
	greet(t, "unix", f.DockerSocket(1))
	tcp := greet(t, "tcp", "127.0.0.1:0")

	tests := map[string]func() (net.Conn, error){
		"docker system dial-stdio":     func() (net.Conn, error) { return client.DialRun(t.Context(), "docker system dial-stdio") },
		"the socket":                   func() (net.Conn, error) { return client.Dial("unix", f.DockerSocket(1)) },
		"the socket, as a Droplet has": func() (net.Conn, error) { return client.Dial("unix", "/var/run/docker.sock") },
		"TCP":                          func() (net.Conn, error) { return client.Dial("tcp", tcp) },
		"TCP by name": func() (net.Conn, error) {
			return client.Dial("tcp", strings.Replace(tcp, "127.0.0.1", "localhost", 1))
		},
	}
	for name, dial := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()

			if _, err := io.WriteString(conn, "Droplet\n"); err != nil {
				t.Fatal(err)
			}
			// The server hangs up after its answer, and that arrives too.
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != "hello, Droplet\n" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// The end of what the client says reaches the server, which may then answer.
func TestDialStdioPassesTheEndOfInputOn(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))
	serve(t, "unix", f.DockerSocket(1), func(conn net.Conn) {
		n, err := io.Copy(io.Discard, conn)
		fmt.Fprintln(conn, n, err)
	})

	got := run(t, client, "docker system dial-stdio", strings.Repeat("x", 3<<20))
	if diff := cmp.Diff(result{Stdout: "3145728 <nil>\n"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDialStdioWithoutADaemon(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))

	got := run(t, client, "docker system dial-stdio", "")
	if got.Status != 1 || !strings.HasPrefix(got.Stderr, "simulated Droplet ci-1: no Docker daemon runs here: ") {
		t.Errorf("got %+v", got)
	}
}

// The client hears that its command was taken before it hears how it ended,
// however soon that is.
func TestACommandEndsAfterItsReply(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))

	for range 200 {
		if got := run(t, client, "docker system dial-stdio", ""); got.Status != 1 {
			t.Fatalf("got %+v", got)
		}
	}
}

func TestForwardingRefused(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))

	tests := map[string]struct{ network, address, want string }{
		"beyond the loopback interface": {"tcp", "192.0.2.1:443", "reaches loopback addresses only"},
		"by another name":               {"tcp", "digitalocean.com:443", "reaches loopback addresses only"},
		"a socket that is not there":    {"unix", "nothing.sock", "connect failed"},
		"the host's Docker":             {"unix", "/var/run/docker.sock", f.DockerSocket(1)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := client.Dial(tt.network, tt.address)
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

// Neither end of a forwarded connection outlives the other, or the power.
func TestForwardedConnectionsEnd(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))
	ended := make(chan struct{}, 1)
	serve(t, "unix", f.DockerSocket(1), func(conn net.Conn) {
		_, _ = io.WriteString(conn, "ready\n")
		_, _ = io.Copy(io.Discard, conn)
		ended <- struct{}{}
	})
	open := func() net.Conn {
		t.Helper()
		conn, err := client.Dial("unix", f.DockerSocket(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	wait := func(what string) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatalf("the connection outlives %s", what)
		}
	}

	open().Close()
	wait("the client's end")

	conn := open()
	f.Stop(1)
	wait("the power")
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the client reads %v, want the end", err)
	}
}

// A server that never hangs up, whatever its client does, wedges nothing.
func TestForwardingToAServerThatNeverHangsUp(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))
	accepted := make(chan struct{}, 3)
	release := make(chan struct{})
	defer close(release)
	serve(t, "unix", f.DockerSocket(1), func(net.Conn) {
		accepted <- struct{}{}
		<-release
	})

	closed, err := client.Dial("unix", f.DockerSocket(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Dial("unix", f.DockerSocket(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DialRun(t.Context(), "docker system dial-stdio"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-accepted
	}
	closed.Close()

	stopped := make(chan struct{})
	go func() { f.Stop(1); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("Stop waits for the server")
	}
}

// greet serves "hello, <line>" and hangs up. It returns where.
func greet(t *testing.T, network, address string) string {
	return serve(t, network, address, func(conn net.Conn) {
		name, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil {
			_, _ = io.WriteString(conn, "hello, "+name)
		}
	})
}

// serve handles connections until the test ends.
func serve(t *testing.T, network, address string, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

package digitalocean

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// A create that is carried out and then reset is made exactly once, and is
// unconfirmed, though the server speaks HTTP/2, as DigitalOcean does, and with it a
// reset after which Go would send it again. HTTP/2 is not so much as offered; neither
// is an old TLS.
func TestCreateIsSentOnce(t *testing.T) {
	var creates atomic.Int64
	var hello atomic.Pointer[tls.ClientHelloInfo]
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: certified.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) { hello.Store(h); return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go carryOutAndReset(conn.(*tls.Conn), &creates)
		}
	}()
	transport := newTransport()
	transport.TLSClientConfig.RootCAs = certified.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := newClient(t, Options{URL: "https://" + listener.Addr().String(), Transport: transport})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = c.Create(ctx, ig.CreateRequest{Names: []string{"ci-7k2m9qxabc"}})
	if !errors.Is(err, ig.ErrUnconfirmed) || creates.Load() != 1 {
		t.Errorf("%d creates were carried out, want 1; error %v", creates.Load(), err)
	}
	if h := hello.Load(); slices.Contains(h.SupportedProtos, "h2") || slices.Min(h.SupportedVersions) < tls.VersionTLS12 {
		t.Errorf("offered %q and TLS %#x", h.SupportedProtos, h.SupportedVersions)
	}
}

// carryOutAndReset counts every request on conn, and ends it without an answer: over
// HTTP/2 with RST_STREAM (PROTOCOL_ERROR).
func carryOutAndReset(conn *tls.Conn, count *atomic.Int64) {
	defer conn.Close()
	if conn.Handshake() != nil {
		return
	}
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			count.Add(1)
		}
		return
	}
	const data, headers, reset, settings, endStream, protocolError = 0, 1, 3, 4, 1, 1
	_, _ = io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	_, _ = conn.Write([]byte{0, 0, 0, settings, 0, 0, 0, 0, 0})
	frame := make([]byte, 9)
	for {
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, conn, int64(frame[0])<<16|int64(frame[1])<<8|int64(frame[2]))
		if kind, flags := frame[3], frame[4]; (kind == data || kind == headers) && flags&endStream != 0 {
			count.Add(1)
			_, _ = conn.Write(slices.Concat([]byte{0, 0, 4, reset, 0}, frame[5:9], []byte{0, 0, 0, protocolError}))
		}
	}
}

// Connections that die silently, all at once and while idle, cost one attempt.
func TestDeadConnections(t *testing.T) {
	var dead atomic.Bool
	var conns sync.Map // those that die
	var together sync.WaitGroup
	together.Add(8)
	stop := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, old := conns.LoadOrStore(r.RemoteAddr, true); {
		case !dead.Load():
			together.Done()
			together.Wait() // so that each has its own connection
		case old:
			<-stop
		}
		_, _ = io.WriteString(w, `{"regions":[]}`)
	}))
	server.Start()
	defer server.Close()
	defer close(stop)
	c := newClient(t, Options{URL: server.URL})
	defer c.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Regions(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	dead.Store(true)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Regions(short); err == nil {
		t.Fatal("the connection is not dead")
	}
	began := time.Now()
	if _, err := c.Regions(t.Context()); err != nil || time.Since(began) > time.Second {
		t.Errorf("after one request found its connection dead, the next took %s: %v", time.Since(began), err)
	}
}

// Whatever is sent goes below the path in the API's address, says who sends it, and
// cannot be sent again by Go's transport: it has no way to get its body again.
func TestEveryRequest(t *testing.T) {
	for _, o := range operations {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, Options{URL: "https://proxy.example/do/", UserAgent: "test/1", Transport: answering(func(r *http.Request) (*http.Response, error) {
				if !strings.HasPrefix(r.URL.EscapedPath(), "/do/v2/") || r.GetBody != nil ||
					r.Header.Get("Authorization") != "Bearer "+testToken || !strings.HasPrefix(r.UserAgent(), "test/1") {
					t.Errorf("%s: %s, GetBody %v, headers %v", o.name, r.URL, r.GetBody != nil, r.Header)
				}
				return answer(404, `{"id":"not_found"}`), nil
			})})
			_, _ = o.call(t.Context(), c)
		})
	}
}

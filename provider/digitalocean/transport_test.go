package digitalocean

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// A create that is carried out and then reset is made once, and is unconfirmed, though
// the server speaks HTTP/2, as DigitalOcean does. HTTP/2 is not so much as offered;
// neither is an old TLS. (What a server can do with HTTP/2: TestCreatesAreNeverRepeated.)
func TestCreateIsSentOnce(t *testing.T) {
	var creates atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if creates.Add(1); r.ProtoMajor != 1 || r.TLS == nil {
			t.Errorf("sent by %s", r.Proto)
		}
		panic(http.ErrAbortHandler)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(h.SupportedProtos, "h2") || slices.Min(h.SupportedVersions) < tls.VersionTLS12 {
			t.Errorf("offered %q and TLS %#x", h.SupportedProtos, h.SupportedVersions)
		}
		return nil, nil
	}}
	server.StartTLS()
	defer server.Close()
	transport := newTransport()
	transport.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := newClient(t, Options{URL: server.URL, Transport: transport})
	defer c.Close()
	if err := sendCreate(c); !errors.Is(err, ig.ErrUnconfirmed) || creates.Load() != 1 {
		t.Errorf("%d creates were carried out, want 1; error %v", creates.Load(), err)
	}
}

// pooled counts how often its idle connections are closed.
type pooled struct {
	answering
	closed int
}

func (p *pooled) CloseIdleConnections() { p.closed++ }

// One request that finds its connection dead gives up those that are idle: they may be as
// dead, and each would cost another attempt. One that is answered, or nobody waits for, does not.
func TestDeadConnections(t *testing.T) {
	for _, dead := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := &pooled{answering: func(r *http.Request) (*http.Response, error) {
				if !dead {
					return answer(200, `{"regions":[]}`), nil
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			}}
			canceled, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, _ = over(t, p).Regions(canceled)
			if p.closed > 0 {
				t.Error("idle connections are closed without need")
			}
			_, _ = over(t, p).Regions(t.Context())
			if (p.closed > 0) != dead {
				t.Errorf("dead %v: idle connections were closed %d times", dead, p.closed)
			}
		})
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

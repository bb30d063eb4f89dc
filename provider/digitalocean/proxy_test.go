package digitalocean

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// The host that httptest's certificate is for. Nothing of these tests goes there.
const proxied = "https://example.com"

// TestEnvironment: HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE are honoured. Go reads
// each once in a process's life, so each case is a process of its own.
func TestEnvironment(t *testing.T) {
	sim := dosim.New(dosim.Options{Token: testToken})
	t.Cleanup(sim.Close)
	api := httptest.NewUnstartedServer(sim)
	api.Config.ErrorLog = log.New(io.Discard, "", 0) // one client does not know the CA
	api.StartTLS()
	t.Cleanup(api.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(407) }))
	t.Cleanup(refusing.Close)
	closed := httptest.NewServer(nil)
	closed.Close()

	for _, tt := range []struct {
		name    string
		env     []string
		want    string
		tunnels int64
	}{
		{"proxy and CA", []string{"HTTPS_PROXY=%", "SSL_CERT_FILE=" + ca}, "9 regions", 1},
		{"unknown CA", []string{"HTTPS_PROXY=%"}, "unsent: GET /v2/regions: tls: failed to verify certificate: x509: certificate signed by unknown authority", readTries},
		{"the proxy refuses", []string{"HTTPS_PROXY=" + strings.Replace(refusing.URL, "//", "//user:hunter2@", 1), "SSL_CERT_FILE=" + ca},
			"unsent: GET /v2/regions: proxyconnect tcp: the proxy " + strings.TrimPrefix(refusing.URL, "http://") + " does not connect to DigitalOcean: 407 Proxy Authentication Required", 0},
		{"the proxy is gone", []string{"HTTPS_PROXY=" + closed.URL}, "unsent: GET /v2/regions: proxyconnect tcp: dial tcp " + strings.TrimPrefix(closed.URL, "http://") + ": connect: connection refused", 0},
		{"not for this host", []string{"HTTPS_PROXY=%", "NO_PROXY=example.com"}, "no proxy", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var tunnels atomic.Int64
			proxy := httptest.NewServer(tunnel(api.Listener.Addr().String(), &tunnels))
			defer proxy.Close()
			tt.env[0] = strings.Replace(tt.env[0], "%", proxy.URL, 1)
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnvironmentChild$")
			child.Env = append(tt.env, "DIGITALOCEAN_TEST_CHILD=1", "SSL_CERT_DIR=/nonexistent", "GORACE=atexit_sleep_ms=0")
			out, err := child.CombinedOutput()
			got, _, _ := strings.Cut(string(out), "\n")
			if err != nil || got != tt.want || tunnels.Load() != tt.tunnels {
				t.Errorf("got  %q\nwant %q\n%d tunnels, want %d; %v", got, tt.want, tunnels.Load(), tt.tunnels, err)
			}
		})
	}
}

// TestEnvironmentChild is the other process.
func TestEnvironmentChild(t *testing.T) {
	if os.Getenv("DIGITALOCEAN_TEST_CHILD") == "" {
		t.Skip("only as a child of TestEnvironment")
	}
	transport := newTransport()
	c := newClient(t, Options{URL: proxied, Transport: transport})
	req := httptest.NewRequest(http.MethodGet, proxied, nil)
	if proxy, err := transport.Proxy(req); proxy == nil {
		fmt.Println(strings.TrimSuffix("no proxy "+fmt.Sprint(err), " <nil>"))
		return // and do not go to the host itself
	}
	regions, err := c.Regions(t.Context())
	switch {
	case errors.Is(err, ig.ErrUnsent):
		fmt.Println("unsent:", err)
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println(len(regions), "regions")
	}
}

// tunnel is a proxy that connects every CONNECT to addr.
func tunnel(addr string, count *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			http.Error(w, "only CONNECT to example.com:443", http.StatusBadRequest)
			return
		}
		count.Add(1)
		to, err := net.Dial("tcp", addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, buffered); to.Close() }()
		_, _ = io.Copy(from, to)
	}
}

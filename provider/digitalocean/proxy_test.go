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
	"testing"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestEnvironment: HTTPS_PROXY and SSL_CERT_FILE are honoured. Go reads each once in a
// process's life, so each case is a process of its own, this test again. Nothing goes to
// the host that httptest's certificate is for but through a proxy.
func TestEnvironment(t *testing.T) {
	if os.Getenv("DIGITALOCEAN_TEST_CHILD") != "" {
		regions, err := newClient(t, Options{URL: "https://example.com"}).Regions(t.Context())
		fmt.Println(len(regions), "regions, unsent", errors.Is(err, ig.ErrUnsent), err)
		return
	}
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
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", api.Listener.Addr().String())
		from, buffered, hijackErr := http.NewResponseController(w).Hijack()
		if err != nil || hijackErr != nil || r.Method != http.MethodConnect || r.Host != "example.com:443" {
			t.Error(err, hijackErr, r)
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, buffered); to.Close() }()
		_, _ = io.Copy(from, to)
		from.Close()
	}))
	t.Cleanup(proxy.Close)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(407) }))
	t.Cleanup(refusing.Close)
	withPassword := strings.Replace(refusing.URL, "//", "//user:hunter2@", 1)
	for want, env := range map[string][]string{
		"9 regions, unsent false <nil>": {"HTTPS_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + ca},
		"0 regions, unsent true GET /v2/regions: tls: failed to verify certificate: x509: certificate signed by unknown authority": {"HTTPS_PROXY=" + proxy.URL},
		"0 regions, unsent true GET /v2/regions: proxyconnect tcp: the proxy " + refusing.Listener.Addr().String() +
			" answers 407 Proxy Authentication Required": {"HTTPS_PROXY=" + withPassword},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnvironment$")
			child.Env = append(env, "DIGITALOCEAN_TEST_CHILD=1", "SSL_CERT_DIR=/nonexistent", "GORACE=atexit_sleep_ms=0")
			out, err := child.CombinedOutput()
			if got, _, _ := strings.Cut(string(out), "\n"); err != nil || got != want {
				t.Errorf("got  %q\nwant %q\n%v", got, want, err)
			}
		})
	}
}

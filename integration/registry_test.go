package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// A testRegistry is a container registry as users meet them: over TLS, at port 443
// of a loopback address, since fleeting's installer cannot read a registry that
// names a port.
type testRegistry struct {
	host string // "127.0.0.153"
	cert string // a file, for SSL_CERT_FILE

	registry http.Handler // what answers unless a fault does

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool // answers instead of the registry, if it returns true
}

// registryRequired makes it an error, not a reason to skip, that there can be no
// registry.
const registryRequired = "TEST_REGISTRY"

// newRegistry serves go-containerregistry's registry, which keeps all in memory.
func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	long(t)
	if runtime.GOOS != "linux" {
		skipOrFail(t, "elsewhere programs do not heed SSL_CERT_FILE")
	}
	l, err := listenOnPort443()
	if err != nil {
		skipOrFail(t, fmt.Sprintf("no registry on port 443 of a loopback address, which needs root: %v", err))
	}
	host, _, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := &testRegistry{host: host, cert: filepath.Join(t.TempDir(), "cert.pem"),
		registry: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		fault := r.fault
		r.mu.Unlock()
		if fault == nil || !fault(w, req) {
			r.registry.ServeHTTP(w, req)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that have heard enough
	server.Listener.Close()
	server.Listener = l
	server.TLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t, net.ParseIP(host))}}
	server.StartTLS()
	t.Cleanup(server.Close)
	if err := os.WriteFile(r.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// selfSigned is a certificate of an address that httptest's own does not name.
func selfSigned(t *testing.T, ip net.IP) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{ip},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listenOnPort443 takes a loopback address that is free.
func listenOnPort443() (l net.Listener, err error) {
	for n := 100; n < 200; n++ {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.%d:443", n)); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func skipOrFail(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv(registryRequired) != "" {
		t.Fatal(reason)
	}
	t.Skip("not run: " + reason)
}

// repository is where the plugin is in this registry.
func (r *testRegistry) repository() string {
	return r.host + "/fleeting-digitalocean/fleeting-plugin-digitalocean"
}

func (r *testRegistry) setFault(fault func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// builtIn is where GoReleaser puts this host's binary below its dist directory.
func builtIn(dir string) string {
	return filepath.Join(dir, "fleeting-plugin-digitalocean_"+runtime.GOOS+"_"+runtime.GOARCH+"_v1", "fleeting-plugin-digitalocean")
}

// distOf builds the plugin as a version, for this host alone, as `make dist` lays it out.
func distOf(t *testing.T, version string) string {
	t.Helper()
	return onceADir(t, "dist-"+version, func(dir string) error {
		out, err := inModule(t.Context(), nil, "make", "-s", "build", "VERSION="+version, "PLUGIN="+builtIn(dir))
		if err != nil {
			return fmt.Errorf("make build: %w\n%s", err, out)
		}
		return nil
	})
}

// standInOf is a dist for tests of what happens to it on its way, and not of the
// plugin: a program that is built, packed and sent in no time.
func standInOf(t *testing.T, version string) string {
	t.Helper()
	const source = `package main

import "os"

var version string

func main() { os.Stdout.WriteString("Version:      " + version + "\n") }
`
	return onceADir(t, "stand-in-"+version, func(dir string) error {
		main := save(t, "main.go", source)
		out, err := inModule(t.Context(), nil, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version,
			"-o", builtIn(dir), main)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
}

// onceADir makes a directory of a name once for all tests.
func onceADir(t *testing.T, name string, make func(dir string) error) string {
	t.Helper()
	dirs.Lock()
	defer dirs.Unlock()
	dir := filepath.Join(filepath.Dir(binary), name)
	if !dirs.made[name] {
		if err := make(dir); err != nil {
			t.Fatal(err)
		}
		dirs.made[name] = true
	}
	return dir
}

var dirs = struct {
	sync.Mutex
	made map[string]bool
}{made: map[string]bool{}}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

// asBuilt has the go command compile for programs that tests run as `make build` does, so that each package is
// compiled once for all of them.
var asBuilt = []string{"CGO_ENABLED=0", "GOFLAGS=" + os.Getenv("GOFLAGS") + " -trimpath -buildvcs=false"}

// inModule runs a command at the top of the module, and returns what it says.
func inModule(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = ".."
	cmd.Env = slices.Concat(environ, asBuilt, env)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// release pushes a version to this registry as `make release` does, of a dist that dist makes.
func (r *testRegistry) release(t *testing.T, dist func(t *testing.T, version string) string, version string) (string, error) {
	t.Helper()
	return inModule(t.Context(), []string{"SSL_CERT_FILE=" + r.cert}, ".ci/release-oci", dist(t, version), r.repository(), version)
}

// artifact is fleeting-artifact, whose code is behind gitlab-runner's fleeting
// install; plugins is where it installs to.
func (r *testRegistry) artifact(ctx context.Context, plugins string, args ...string) (string, error) {
	return r.run(ctx, fleetingArtifact, plugins, args)
}

// crane tells what is in the registry.
func (r *testRegistry) crane(ctx context.Context, args ...string) (string, error) {
	return r.run(ctx, crane, "", args)
}

func (r *testRegistry) run(ctx context.Context, tool func() (string, error), plugins string, args []string) (string, error) {
	program, err := tool()
	if err != nil {
		return program, err
	}
	return inModule(ctx, []string{"FLEETING_PLUGIN_PATH=" + plugins, "SSL_CERT_FILE=" + r.cert}, program, args...)
}

// Tools of go.mod, built once: each program's path, or what the go command says instead.
var fleetingArtifact, crane = goTool("fleeting-artifact"), goTool("crane")

func goTool(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		out, err := inModule(context.Background(), nil, "go", "tool", "-n", name)
		return strings.TrimSpace(out), err
	})
}

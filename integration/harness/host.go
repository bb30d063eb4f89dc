package harness

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/gofrs/flock"
)

// BuildPlugin builds the plugin into dir, with the Makefile's tags, and returns the binary's path. It works in every
// directory of the module. With the race detector, if its caller has it, the plugin has it too.
func BuildPlugin(ctx context.Context, dir string) (path string, err error) {
	const of = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/cmd/fleeting-plugin-digitalocean"
	path = filepath.Join(dir, filepath.Base(of))
	// As the caller was built, or as `make build` does, so that what is compiled is found.
	flag, cgo := "-trimpath", "CGO_ENABLED=0"
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		flag, cgo = "-race", "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "grpcnotrace", "-o", path, flag, of)
	cmd.Env = append(os.Environ(), cgo)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, output)
	}
	return path, nil
}

// Host is what the plugins that this process starts find around them: a state directory, and the certificates that they
// trust. A plugin inherits the environment of the process that starts it, and gets no other, so there can be one Host in a
// process.
type Host struct{ dir string }

// NewHost makes a Host in dir, which the caller removes, and sets the environment of this process.
func NewHost(dir string) (*Host, error) {
	h := &Host{dir: filepath.Join(dir, "host")}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		return nil, err
	}
	server := httptest.NewTLSServer(nil) // every one of httptest's has the same certificate
	defer server.Close()
	trusted := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(h.Certificates(), trusted, 0o600); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"XDG_STATE_HOME": h.dir, "STATE_DIRECTORY": "", // which has precedence
		"SSL_CERT_FILE": h.Certificates(),
	} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Certificates is the file of what plugins trust, in PEM.
func (h *Host) Certificates() string { return filepath.Join(h.dir, "certificates.pem") }

// Serve serves a simulated account as DigitalOcean serves its API: over TLS, with HTTP/2 on offer. Stop waits for the
// requests that are under way: close the account first, so that those that hang end.
func (h *Host) Serve(account http.Handler) (url string, stop func()) {
	server := httptest.NewUnstartedServer(account)
	server.EnableHTTP2 = true
	if runtime.GOOS == "darwin" { // whose own store is asked, and no file
		server.Start()
	} else {
		server.StartTLS()
	}
	return server.URL, server.Close
}

// Holder returns the plugin process that holds a group's lock, or held it last.
func (h *Host) Holder(group string) (pid int, err error) {
	files := h.lockFiles(group)
	if len(files) != 1 {
		return 0, fmt.Errorf("group %s has the lock files %v, want one", group, files)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return 0, err
	}
	var holder struct{ PID int }
	if err := json.Unmarshal(content, &holder); err != nil || holder.PID <= 0 { // to a signal 0 would be a group of processes
		return 0, fmt.Errorf("the lock of group %s names no process: %q", group, content)
	}
	return holder.PID, nil
}

// HeldLocks are the lock files that plugins hold: of those that live.
func (h *Host) HeldLocks() (held []string, err error) {
	for _, file := range h.lockFiles("*") {
		lock := flock.New(file, flock.SetFlag(os.O_RDONLY))
		free, err := lock.TryRLock()
		if err := errors.Join(err, lock.Close()); err != nil {
			return nil, err
		}
		if !free {
			held = append(held, file)
		}
	}
	return held, nil
}

func (h *Host) lockFiles(group string) []string {
	files, _ := filepath.Glob(filepath.Join(h.dir, "fleeting-plugin-digitalocean", group+"-????????.lock")) // a good pattern
	return files
}

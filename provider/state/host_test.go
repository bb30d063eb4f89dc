package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of Unix")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	const name = "/fleeting-plugin-digitalocean"
	for _, test := range []struct {
		systemd, xdg, home string
		root               bool
		want               string
	}{
		{"/var/lib/runner:/var/lib/b", "/x", "/home/me", true, "/var/lib/runner" + name},
		{"/var/lib" + name + "/", "/x", "/home/me", true, "/var/lib" + name},
		{"", "/x", "/home/me", true, "/x" + name},
		{"relative", "relative", "/home/me", true, "/var/lib" + name},
		{"", "", "/home/me", false, "/home/me/.local/state" + name},
		{"", "", "", true, "/var/lib" + name},
		{"", "", "", false, filepath.Join(me.HomeDir, ".local/state") + name},
	} {
		t.Setenv("STATE_DIRECTORY", test.systemd)
		t.Setenv("XDG_STATE_HOME", test.xdg)
		t.Setenv("HOME", test.home)
		if got := directory(test.root); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// TestAccess: everything is for this user alone, and what is not, or is of another type,
// is refused, by Open and Peek.
func TestAccess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no modes")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h, target := ci(t), filepath.Join(t.TempDir(), "target")
	must(errors.Join(os.WriteFile(target, []byte("theirs"), 0o600), os.MkdirAll(h.dir, 0o700), os.Symlink(target, h.state+".new"))) // ours to replace
	s := mustOpen(t, nil)
	s.Begin("x7k2", "")
	s.Drop()
	content, err := os.ReadFile(h.state)
	must(err)
	refused := func(want string) {
		t.Helper()
		_, openErr := Open(t.Context(), hclog.NewNullLogger(), api, "ci")
		_, peekErr := Peek(t.Context(), api, "ci")
		for _, err := range []error{openErr, peekErr} {
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		}
	}
	for _, test := range []struct {
		path             string
		mode, wide, want fs.FileMode
		typ              string
	}{
		{h.dir, 0o700, 0o777, 0o755, "directory"}, {h.lock, 0o600, 0o666, 0o600, "regular file"}, {h.state, 0o600, 0o640, 0o600, "regular file"},
	} {
		if info, err := os.Lstat(test.path); err != nil || info.Mode().Perm() != test.mode {
			t.Errorf("%s: %v, %v, want %v", test.path, info.Mode(), err, test.mode)
		}
		must(os.Chmod(test.path, test.wide))
		refused(fmt.Sprintf("other users have access to %s (mode %04o): chmod it to %04o", test.path, test.wide, test.want))
		must(os.Chmod(test.path, test.mode))
		if os.Geteuid() == 0 { // only root can give a file away
			must(os.Chown(test.path, 4711, -1))
			refused(fmt.Sprintf("%s belongs to user 4711, and this process runs as user 0: run it as that user, or chown %[1]s", test.path))
			must(os.Chown(test.path, 0, -1))
		}
		moved := filepath.Join(t.TempDir(), "moved")
		must(errors.Join(os.Rename(test.path, moved), os.Symlink(moved, test.path)))
		refused(fmt.Sprintf("%s is not a %s, and symbolic links are not followed: remove it", test.path, test.typ))
		must(errors.Join(os.Remove(test.path), os.Rename(moved, test.path)))
	}
	for path, want := range map[string][]byte{h.state: content, target: []byte("theirs")} {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has been changed to %s (%v)", path, got, err)
		}
	}
}

// TestNoDirectory: what to set is said.
func TestNoDirectory(t *testing.T) {
	ci(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", file)
	_, err := Open(t.Context(), hclog.NewNullLogger(), api, "ci")
	const set = "; set StateDirectory=fleeting-plugin-digitalocean in the runner's systemd unit, or XDG_STATE_HOME to a directory that the runner's user can write to"
	if err == nil || !strings.HasPrefix(err.Error(), "state directory: mkdir ") || !strings.HasSuffix(err.Error(), set) {
		t.Error(err)
	}
}

// TestIdentity distinguishes a Droplet from the one that its snapshot is of.
func TestIdentity(t *testing.T) {
	var answer string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
			answer = "1"
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	const id, machine = "3d1219c7c4c5404aaa1f6d2a48adfda4\n", "machine-f277a5c4c36a965bf4b1e66cd8446d5d"
	for _, test := range []struct{ vendor, machineID, metadata, want string }{ // "" = an error
		{machineID: "uninitialized\n"},
		{machineID: id, want: machine},
		{vendor: "QEMU\n", machineID: id, metadata: "4711", want: machine},
		{vendor: "DigitalOcean\n", machineID: id, metadata: "4711\n", want: "droplet-4711"},
		{vendor: "DigitalOcean\n", machineID: id},
		{vendor: "DigitalOcean\n", machineID: id, metadata: "<html>"},
		{vendor: "DigitalOcean\n", machineID: id, metadata: strings.Repeat(" ", 64) + "4711"},
	} {
		answer = test.metadata
		onHost(t, test.vendor, test.machineID, server.URL)
		got, err := thisHost.identity(t.Context())
		if got != test.want || (err != nil) != (got == "" && test.vendor != "") {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
	thisHost.vendor, thisHost.machineID = "/nonexistent", "/nonexistent"
	if got, err := thisHost.identity(t.Context()); got != "" || err != nil {
		t.Errorf("of nothing: %q, %v", got, err)
	}
}

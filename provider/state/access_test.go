package state

import (
	"bytes"
	"fmt"
	"io"
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
	for _, test := range []struct {
		systemd, xdg, home string
		root               bool
		want               string
	}{
		{"/var/lib/runner:/var/lib/b", "/x", "/home/me", true, "/var/lib/runner/fleeting-plugin-digitalocean"},
		{"/var/lib/fleeting-plugin-digitalocean/", "/x", "/home/me", true, "/var/lib/fleeting-plugin-digitalocean"},
		{"", "/x", "/home/me", true, "/x/fleeting-plugin-digitalocean"},
		{"relative", "relative", "/home/me", true, "/var/lib/fleeting-plugin-digitalocean"},
		{"", "", "/home/me", false, "/home/me/.local/state/fleeting-plugin-digitalocean"},
		{"", "", "", true, "/var/lib/fleeting-plugin-digitalocean"},
	} {
		t.Setenv("STATE_DIRECTORY", test.systemd)
		t.Setenv("XDG_STATE_HOME", test.xdg)
		t.Setenv("HOME", test.home)
		if got := directory(test.root); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
	me, err := user.Current()
	if got := directory(false); err != nil || got != filepath.Join(me.HomeDir, ".local/state/fleeting-plugin-digitalocean") { // HOME is unset
		t.Errorf("%q, %v", got, err)
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
	h := ciIn(filepath.Join(t.TempDir(), "a", "state"))
	target := filepath.Join(t.TempDir(), "target")
	must(os.WriteFile(target, []byte("theirs"), 0o600))
	must(os.MkdirAll(h.dir, 0o700))
	must(os.Symlink(target, h.state+".new")) // ours to replace
	s := h.mustOpen(t, io.Discard)
	s.Begin("x7k2")
	s.Drop()
	content, err := os.ReadFile(h.state)
	must(err)
	for _, test := range []struct {
		path             string
		mode, wide, want fs.FileMode
		typ              string
	}{
		{h.dir, 0o700, 0o777, 0o755, "directory"}, {h.lock, 0o600, 0o666, 0o600, "regular file"}, {h.state, 0o600, 0o640, 0o600, "regular file"},
	} {
		info, err := os.Lstat(test.path)
		if err != nil || info.Mode().Perm() != test.mode {
			t.Errorf("%s: %v, %v, want %v", test.path, info.Mode(), err, test.mode)
		}
		wantRefused := func(want string) {
			t.Helper()
			_, openErr := h.open(t.Context(), hclog.NewNullLogger(), true)
			_, peekErr := h.peek()
			for _, err := range []error{openErr, peekErr} {
				if err == nil || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		}
		must(os.Chmod(test.path, test.wide))
		wantRefused(fmt.Sprintf("other users have access to %s (mode %04o): chmod it to %04o", test.path, test.wide, test.want))
		must(os.Chmod(test.path, test.mode))
		if os.Geteuid() == 0 { // only root can give a file away
			must(os.Chown(test.path, 4711, -1))
			wantRefused(fmt.Sprintf("%s belongs to user 4711, and this process runs as user 0: run it as that user, or chown %[1]s", test.path))
			must(os.Chown(test.path, 0, -1))
		}
		moved := filepath.Join(t.TempDir(), "moved")
		must(os.Rename(test.path, moved))
		must(os.Symlink(moved, test.path))
		wantRefused(fmt.Sprintf("%s is not a %s, and symbolic links are not followed: remove it", test.path, test.typ))
		must(os.Remove(test.path))
		must(os.Rename(moved, test.path))
	}
	if after, err := os.ReadFile(h.state); err != nil || !bytes.Equal(after, content) {
		t.Errorf("what was refused has been changed to %s (%v)", after, err)
	}
	if content, err := os.ReadFile(target); string(content) != "theirs" {
		t.Errorf("behind the link: %q, %v", content, err)
	}
}

// TestNoDirectory: what to set is said.
func TestNoDirectory(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const set = "; set StateDirectory=fleeting-plugin-digitalocean in the runner's systemd unit, or XDG_STATE_HOME to a directory that the runner's user can write to"
	_, err := ciIn(filepath.Join(blocked, "state")).open(t.Context(), hclog.NewNullLogger(), true)
	if want := "state directory: mkdir " + blocked + ": not a directory" + set; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if os.Geteuid() == 0 {
		return // who can write everywhere
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err = ciIn(dir).open(t.Context(), hclog.NewNullLogger(), true)
	if err == nil || !strings.HasSuffix(err.Error(), "permission denied"+set) {
		t.Errorf("not writable: %v", err)
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
	for _, test := range []struct{ vendor, machineID, metadata, want string }{
		{want: ""},
		{machineID: "uninitialized\n", want: ""},
		{machineID: id, want: machine},
		{vendor: "QEMU\n", machineID: id, metadata: "4711", want: machine},
		{vendor: "DigitalOcean\n", machineID: id, metadata: "4711\n", want: "droplet-4711"},
		{vendor: "DigitalOcean\n", machineID: id, want: "error"},
		{vendor: "DigitalOcean\n", machineID: id, metadata: "<html>", want: "error"},
		{vendor: "DigitalOcean\n", machineID: id, metadata: strings.Repeat(" ", 64) + "4711", want: "error"},
	} {
		dir := t.TempDir()
		write := func(name, content string) string {
			path := filepath.Join(dir, name)
			if content != "" {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return path
		}
		answer = test.metadata
		got, err := sources{write("vendor", test.vendor), write("machine-id", test.machineID), server.URL}.identity(t.Context())
		if err != nil {
			got = "error"
		}
		if got != test.want {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}

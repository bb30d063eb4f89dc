package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of Unix")
	}
	for _, test := range []struct {
		systemd, xdg, local string
		root                bool
		want                string
	}{
		{"/var/lib/runner:/var/lib/b", "/x", "", true, "/var/lib/runner/fleeting-plugin-digitalocean"},
		{"/var/lib/fleeting-plugin-digitalocean/", "/x", "", true, "/var/lib/fleeting-plugin-digitalocean"},
		{"", "/x", "/local", true, "/x/fleeting-plugin-digitalocean"},
		{"relative", "relative", "", true, "/var/lib/fleeting-plugin-digitalocean"},
		{"", "", "/local", false, "/local/fleeting-plugin-digitalocean"},
		{"", "", "", false, "/home/me/.local/state/fleeting-plugin-digitalocean"},
	} {
		getenv := func(key string) string {
			return map[string]string{"STATE_DIRECTORY": test.systemd, "XDG_STATE_HOME": test.xdg, "LocalAppData": test.local}[key]
		}
		got, err := dirOf(getenv, test.root, func() (string, error) { return "/home/me", nil })
		if err != nil || got != test.want {
			t.Errorf("%+v: %s, %v", test, got, err)
		}
	}
	_, err := dirOf(func(string) string { return "" }, false, func() (string, error) { return "", errors.New("$HOME is not defined") })
	want := "no directory for the state of the plugin: $HOME is not defined; " + setDirectory
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestHomeUnset: a system service has no HOME, but an entry in the user database.
func TestHomeUnset(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no HOME")
	}
	t.Setenv("HOME", "")
	if dir, err := homeDir(); err != nil || !filepath.IsAbs(dir) {
		t.Errorf("%q, %v", dir, err)
	}
}

func TestKey(t *testing.T) {
	want, err := keyOf(api, "ci")
	if err != nil || !strings.HasPrefix(want, "ci-") || len(want) != len("ci-")+8 {
		t.Fatalf("%s, %v", want, err)
	}
	for _, same := range []string{"HTTPS://API.DigitalOcean.com", "https://api.digitalocean.com:443/", "https://api.digitalocean.com:", api + "/"} {
		if got, _ := keyOf(same, "ci"); got != want {
			t.Errorf("%s: %s", same, got)
		}
	}
	for _, other := range []string{"http://api.digitalocean.com", "https://api.digitalocean.com:80", "https://api.digitalocean.com/A"} {
		if got, _ := keyOf(other, "ci"); got == want {
			t.Errorf("%s is the same", other)
		}
	}
	for _, name := range []string{"", ".", "..", "../evil", "a/b", "/evil", `a\b`, "a:b"} {
		if key, err := keyOf(api, name); err == nil {
			t.Errorf("%q is taken for a group: %s", name, key)
		}
	}
}

// TestAccess: everything is for this user alone, and what is not, or is of another type,
// is refused, by Open and Peek.
func TestAccess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no modes")
	}
	h := homeIn(filepath.Join(t.TempDir(), "a", "state"))
	s := h.mustOpen(t)
	s.Begin("x7k2")
	s.Drop()
	content, err := os.ReadFile(h.file(t))
	if err != nil {
		t.Fatal(err)
	}
	lock := strings.TrimSuffix(h.file(t), ".json") + ".lock"
	if files, _ := os.ReadDir(h.dir); len(files) != 2 {
		t.Errorf("files %v, want two", files)
	}
	for _, test := range []struct {
		path             string
		mode, wide, want fs.FileMode
		typ              string
	}{
		{h.dir, 0o700, 0o777, 0o755, "directory"}, {lock, 0o600, 0o666, 0o600, "regular file"}, {h.file(t), 0o600, 0o640, 0o600, "regular file"},
	} {
		info, err := os.Stat(test.path)
		if err != nil || info.Mode().Perm() != test.mode {
			t.Errorf("%s: %v, %v, want %v", test.path, info.Mode(), err, test.mode)
		}
		wantRefused := func(want string) {
			t.Helper()
			_, openErr := h.open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
			_, peekErr := h.peek(api, "ci")
			for _, err := range []error{openErr, peekErr} {
				if err == nil || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
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
	if after, err := os.ReadFile(h.file(t)); err != nil || !bytes.Equal(after, content) {
		t.Errorf("what was refused has been changed to %s (%v)", after, err)
	}

	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, h.file(t)+".new"); err != nil { // ours to replace
		t.Fatal(err)
	}
	s = h.mustOpen(t)
	s.Begin("y8m3")
	s.Drop()
	if got := h.mustPeek(t).DeadRuns(); len(got) != 2 {
		t.Errorf("written beside a link: %v", got)
	}
	if content, err := os.ReadFile(target); string(content) != "theirs" {
		t.Errorf("behind the link: %q, %v", content, err)
	}
}

func TestCheckPermissions(t *testing.T) {
	for _, test := range []struct {
		owner, self int
		mode        fs.FileMode
		err         string
	}{
		{owner: 7, self: 7, mode: 0o600},
		{owner: 0, self: 7, mode: 0o600},
		{owner: 0, self: 7, mode: 0o644, err: "other users have access to /f (mode 0644): chmod it to 0600"},
		{owner: 8, self: 7, mode: 0o600, err: "/f belongs to user 8, and this process runs as user 7: run it as that user, or chown /f"},
	} {
		err := checkPermissions("/f", test.owner, test.self, test.mode, 0o077)
		if (err != nil) != (test.err != "") || err != nil && err.Error() != test.err {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestNoDirectory: what to set is said.
func TestNoDirectory(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const set = "; set StateDirectory=fleeting-plugin-digitalocean in the runner's systemd unit, or XDG_STATE_HOME to a directory that the runner's user can write to"
	_, err := homeIn(filepath.Join(blocked, "state")).open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
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
	_, err = homeIn(dir).open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
	if err == nil || !strings.HasSuffix(err.Error(), "permission denied"+set) {
		t.Errorf("not writable: %v", err)
	}
}

// TestIdentity distinguishes a Droplet from the one that its snapshot is of.
func TestIdentity(t *testing.T) {
	var answer string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == "" {
			http.Error(w, "1", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	const id, machine = "3d1219c7c4c5404aaa1f6d2a48adfda4\n", "machine-a122b3bba101802afd3232c5b6351d78"
	for _, test := range []struct{ vendor, serial, machineID, metadata, want string }{
		{want: ""},
		{machineID: "uninitialized\n", want: ""},
		{machineID: id, want: machine},
		{vendor: "QEMU\n", serial: "12", machineID: id, metadata: "4711", want: machine},
		{vendor: "DigitalOcean\n", serial: "12\n", machineID: id, metadata: "4711", want: "droplet-12"},
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
		got, err := sources{write("vendor", test.vendor), write("serial", test.serial), write("machine-id", test.machineID), server.URL}.identity(t.Context())
		if err != nil {
			got = "error"
		}
		if got != test.want {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}

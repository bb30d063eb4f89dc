package state

import (
	"errors"
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
		goos, systemd, xdg string
		root               bool
		want               string
	}{
		{"linux", "/var/lib/runner:/var/lib/b", "/x", true, "/var/lib/runner/fleeting-plugin-digitalocean"},
		{"linux", "/var/lib/fleeting-plugin-digitalocean/", "/x", true, "/var/lib/fleeting-plugin-digitalocean"},
		{"linux", "", "/x", true, "/x/fleeting-plugin-digitalocean"},
		{"linux", "relative", "relative", true, "/var/lib/fleeting-plugin-digitalocean"},
		{"linux", "", "", false, "/home/me/.local/state/fleeting-plugin-digitalocean"},
		{"freebsd", "", "", true, "/var/lib/fleeting-plugin-digitalocean"},
		{"darwin", "", "", true, "/home/me/Library/Application Support/fleeting-plugin-digitalocean"},
		{"windows", "", "", false, "/local/fleeting-plugin-digitalocean"},
	} {
		getenv := func(key string) string {
			return map[string]string{"STATE_DIRECTORY": test.systemd, "XDG_STATE_HOME": test.xdg, "LocalAppData": "/local"}[key]
		}
		got, err := dirOf(test.goos, getenv, test.root, func() (string, error) { return "/home/me", nil })
		if err != nil || got != test.want {
			t.Errorf("%+v: %s, %v", test, got, err)
		}
	}
	_, err := dirOf("linux", func(string) string { return "" }, false, func() (string, error) { return "", errors.New("$HOME is not defined") })
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

// TestPermissions: everything is for this user alone, and what was not is made so.
func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no modes")
	}
	h := homeIn(filepath.Join(t.TempDir(), "a", "state"))
	s := h.mustOpen(t)
	s.Begin("x7k2")
	s.Drop()
	lock := strings.TrimSuffix(h.file(t), ".json") + ".lock"
	wantModes := func(dir, file fs.FileMode) {
		t.Helper()
		for path, want := range map[string]fs.FileMode{h.dir: dir, lock: file, h.file(t): file} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
			}
		}
		if files, _ := os.ReadDir(h.dir); len(files) != 2 {
			t.Errorf("files %v, want two", files)
		}
	}
	wantModes(0o700, 0o600)

	for path, mode := range map[string]fs.FileMode{h.dir: 0o777, lock: 0o666, h.file(t): 0o640} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.peek(api, "ci"); err == nil || err.Error() != "state directory: other users have access to "+h.dir+" (mode 0777): chmod it to 0755" {
		t.Errorf("seen from outside: %v", err)
	}
	h.mustOpen(t).Drop()
	wantModes(0o755, 0o600)
}

func TestAccess(t *testing.T) {
	for _, test := range []struct {
		owner, self int
		mode        fs.FileMode
		narrow      bool
		tooWide     bool
		err         string
	}{
		{owner: 7, self: 7, mode: 0o600},
		{owner: 0, self: 7, mode: 0o600},
		{owner: 7, self: 7, mode: 0o640, narrow: true, tooWide: true},
		{owner: 7, self: 7, mode: 0o640, err: "other users have access to /f (mode 0640): chmod it to 0600"},
		{owner: 0, self: 7, mode: 0o644, narrow: true, err: "other users have access to /f (mode 0644): chmod it to 0600"},
		{owner: 8, self: 7, mode: 0o600, narrow: true, err: "/f belongs to user 8, and this process runs as user 7: run it as that user, or chown /f"},
		{owner: 8, self: 0, mode: 0o600, narrow: true, err: "/f belongs to user 8, and this process runs as user 0: run it as that user, or chown /f"},
	} {
		tooWide, err := checkAccess("/f", test.owner, test.self, test.mode, 0o077, test.narrow)
		if tooWide != test.tooWide && err == nil || (err != nil) != (test.err != "") || err != nil && err.Error() != test.err {
			t.Errorf("%+v: %v, %v", test, tooWide, err)
		}
	}
}

// TestOwner: what belongs to somebody else is refused, whatever it is.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	h := homeIn(t.TempDir())
	s := h.mustOpen(t)
	s.Begin("x7k2")
	s.Drop()
	for _, path := range []string{h.dir, h.file(t), strings.TrimSuffix(h.file(t), ".json") + ".lock"} {
		if err := os.Chown(path, 4711, -1); err != nil {
			t.Fatal(err)
		}
		_, err := h.open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
		if err == nil || !strings.Contains(err.Error(), path+" belongs to user 4711") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := h.peek(api, "ci"); err == nil {
			t.Errorf("%s is believed", path)
		}
		if err := os.Chown(path, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLinks are not followed, and nothing but a regular file is opened.
func TestLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	for _, ending := range []string{".lock", ".json", ".json.new", ""} {
		h := homeIn(t.TempDir())
		target := filepath.Join(t.TempDir(), "target")
		path := strings.TrimSuffix(h.file(t), ".json") + ending
		if ending == "" {
			if err := os.Mkdir(target, 0o700); err != nil {
				t.Fatal(err)
			}
			path = h.dir
			os.Remove(path)
		} else if err := os.WriteFile(target, []byte("theirs"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		s, err := h.open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
		if ending == ".json.new" { // ours to replace
			if err != nil {
				t.Fatal(err)
			}
			s.Begin("x7k2")
			s.Drop()
			if got := h.mustPeek(t).DeadRuns(); len(got) != 1 {
				t.Errorf("beside %s nothing could be written", path)
			}
		} else {
			if err == nil {
				t.Errorf("%s was followed", path)
			} else {
				wantContains(t, err.Error(), path+" is a symbolic link, not a ")
			}
			if _, err := h.peek(api, "ci"); err == nil {
				t.Errorf("%s was followed from outside", path)
			}
		}
		if content, err := os.ReadFile(target); ending != "" && (err != nil || string(content) != "theirs") {
			t.Errorf("%s: its target has %q, %v", path, content, err)
		}
		if files, _ := os.ReadDir(target); len(files) > 0 {
			t.Errorf("made behind the link: %v", files)
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
	_, err = homeIn(blocked).open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
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
	answer := "4711\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == "" {
			http.Error(w, "1", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	dir := t.TempDir()
	s := sources{machineID: filepath.Join(dir, "machine-id"), vendor: filepath.Join(dir, "vendor"), dropletID: server.URL}
	write := func(path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want string) {
		t.Helper()
		if got := s.identity(t.Context()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	want("")
	write(s.machineID, "uninitialized\n")
	want("")
	write(s.machineID, "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
	machine := s.identity(t.Context())
	if !strings.HasPrefix(machine, "machine-") || len(machine) != len("machine-")+32 || strings.Contains(machine, "3d1219c7") {
		t.Errorf("of the machine-id: %q", machine)
	}
	write(s.vendor, "QEMU\n")
	want(machine)
	write(s.vendor, "DigitalOcean\n")
	want(machine + "/droplet-4711")
	for _, answer = range []string{"", "<html>", strings.Repeat(" ", 64) + "4711"} {
		want(machine)
	}
	server.Close()
	want(machine)
}

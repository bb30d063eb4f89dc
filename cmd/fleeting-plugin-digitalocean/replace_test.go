//go:build unix

package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	migration "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
)

const oldConfig = `[[runners]]
  executor = "docker+machine"
  [runners.docker]
    image = "alpine"
  [runners.machine]
    MachineDriver = "digitalocean"
    MachineName = "ci-%s"
    MachineOptions = ["digitalocean-access-token=dop_v1_0000000000000000"]
`

// nobody is a user without rights, where the tests run as root.
const nobody = 65534

// asNobody runs the command as a user who is not root.
func asNobody(t *testing.T, dir string, args ...string) (stderr string, code int) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's own binary is where only its user gets.
	program := filepath.Join(dir, "bin", "fleeting-plugin-digitalocean")
	if _, err := os.Stat(program); err != nil {
		copyFile(t, binary, program)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"HOME=/nonexistent", "PATH=/usr/bin:/bin"}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	_ = cmd.Run() // the code tells
	return said.String(), cmd.ProcessState.ExitCode()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// openDir is a directory that everybody gets into, which those in TMPDIR need not be.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "migrate-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A file that may not be read, may not be written, or is in a directory that may not
// be, is told, and nothing has changed or is left behind.
func TestMigrateWithoutPermission(t *testing.T) {
	for name, tt := range map[string]struct {
		file, dir fs.FileMode
		want      string
	}{
		"unreadable":            {0o000, 0o777, "error: %s: permission denied\nhint: sudo fleeting-plugin-digitalocean ...\n"},
		"another's":             {0o666, 0o777, "which a new file cannot be given: "},
		"read-only directory":   {0o666, 0o555, "permission denied\nhint: sudo fleeting-plugin-digitalocean ...\n"},
		"hidden in a directory": {0o666, 0o000, "permission denied\nhint: sudo fleeting-plugin-digitalocean ...\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := openDir(t)
			dir := filepath.Join(root, "etc")
			path := filepath.Join(dir, "config.toml")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(oldConfig), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, tt.dir); err != nil {
				t.Fatal(err)
			}
			stderr, code := asNobody(t, root, "migrate", "--write", path)
			if code != exitFailed || !strings.Contains(stderr, strings.ReplaceAll(tt.want, "%s", path)) {
				t.Errorf("exit code %d, stderr:\n%s", code, stderr)
			}
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != oldConfig {
				t.Errorf("changed: %v\n%s", err, text)
			}
			if left := namesIn(t, dir); !slices.Equal(left, []string{"config.toml"}) {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What is written belongs to whom the config.toml belonged to.
func TestReplaceKeepsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	f, err := openConfig(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if _, err := f.replace("new", []migration.Secret{{File: token, Value: config.NewSecret("t")}}); err != nil {
		t.Fatal(err)
	}
	for file, mode := range map[string]fs.FileMode{path: 0o640, token: 0o600, path + ".before-migrate": 0o600} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if s := info.Sys().(*syscall.Stat_t); s.Uid != nobody || s.Gid != nobody || info.Mode().Perm() != mode {
			t.Errorf("%s: user %d, group %d, mode %s", file, s.Uid, s.Gid, info.Mode())
		}
	}
}

// A runner that is not root's keeps its state beside its own file.
func TestStateOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(oldConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	want := dir
	if os.Geteuid() == 0 {
		f, err := openConfig(path, nil)
		if err != nil || f.stateDir() != "/var/lib/gitlab-runner" {
			t.Errorf("root's is in %s, %v", f.stateDir(), err)
		}
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := openConfig(path, nil); err != nil || f.stateDir() != want {
		t.Errorf("it is in %s, %v", f.stateDir(), err)
	}
}

// A file that somebody else writes meanwhile, as the runner does when one is
// registered, keeps what they wrote.
func TestReplaceOfAChangedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openConfig(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = f.replace("new", []migration.Secret{{File: filepath.Join(dir, "token"), Value: config.NewSecret("t")}})
	if err == nil || !strings.Contains(err.Error(), "was changed by somebody else meanwhile") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "somebody's" {
		t.Errorf("%v\n%s", err, text)
	}
	if left := namesIn(t, dir); !slices.Equal(left, []string{"config.toml"}) {
		t.Errorf("left behind: %q", left)
	}
}

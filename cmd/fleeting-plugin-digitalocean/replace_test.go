//go:build unix

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A file that may not be read, may not be written, or is in a directory that may not be, is told, and nothing has changed or
// is left behind.
func TestMigrateWithoutPermission(t *testing.T) {
	root, err := os.MkdirTemp("/tmp", "migrate-") // everybody gets into it, which TMPDIR and the test's own binary are not for
	must(t, err, os.Chmod(root, 0o755))
	t.Cleanup(func() { os.RemoveAll(root) })
	self, err := os.Executable()
	must(t, err)
	binary, err := os.ReadFile(self)
	program := filepath.Join(root, "fleeting-plugin-digitalocean")
	must(t, err, os.WriteFile(program, binary, 0o755))
	for name, tt := range map[string]struct {
		file, dir fs.FileMode
		want      string
	}{
		"unreadable":            {0o000, 0o777, "error: %s: permission denied\nhint: %hint\n"},
		"another's":             {0o666, 0o777, "which a new file cannot be given: "},
		"read-only directory":   {0o666, 0o555, "permission denied\nhint: %hint\n"},
		"hidden in a directory": {0o666, 0o000, "permission denied\nhint: %hint\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(root, name)
			path := filepath.Join(dir, "config.toml")
			must(t, os.Mkdir(dir, 0o755), os.WriteFile(path, []byte(oldConfig), 0o644), os.Chmod(path, tt.file), os.Chmod(dir, tt.dir))
			want := strings.NewReplacer("%s", path, "%hint", quote("sudo", program, "migrate", "--write", path)).Replace(tt.want)
			cmd := exec.Command(program, "migrate", "--write", path)
			cmd.Dir, cmd.Env = "/", []string{"HOME=/nonexistent", "PATH=/usr/bin:/bin"}
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			said, _ := cmd.CombinedOutput() // the code tells
			if cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(said), want) {
				t.Errorf("%v, it said:\n%s", cmd.ProcessState, said)
			}
			must(t, os.Chmod(dir, 0o755), os.Chmod(path, 0o644))
			if text, err := os.ReadFile(path); err != nil || string(text) != oldConfig {
				t.Errorf("changed: %v\n%s", err, text)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What is written belongs to whom the config.toml belonged to.
func TestReplaceKeepsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path, token := filepath.Join(t.TempDir(), "config.toml"), filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(path, []byte("old"), 0o640), os.Chown(path, nobody, nobody))
	f, err := openConfig(path)
	must(t, err)
	backup, err := f.replace("new", []migration.Secret{{File: token, Value: config.NewSecret("t")}})
	must(t, err)
	for file, mode := range map[string]fs.FileMode{path: 0o640, token: 0o600, backup: 0o600} {
		info, err := os.Stat(file)
		must(t, err)
		if s := info.Sys().(*syscall.Stat_t); s.Uid != nobody || s.Gid != nobody || info.Mode().Perm() != mode {
			t.Errorf("%s: user %d, group %d, mode %s", file, s.Uid, s.Gid, info.Mode())
		}
	}
}

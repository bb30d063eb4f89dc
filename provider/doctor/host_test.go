package doctor

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// write writes a file below dir, and returns its path.
func write(t *testing.T, mode fs.FileMode, content, dir string, path ...string) string {
	t.Helper()
	name := filepath.Join(append([]string{dir}, path...)...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// What plugin = "..." leads to is found where the runner finds it.
func TestFindPlugin(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("FLEETING_PLUGIN_PATH", dir)
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	inPath := write(t, 0o755, "", dir, "bin", "fleeting-plugin-digitalocean")
	text := write(t, 0o644, "", dir, "bin", "text")
	write(t, 0o755, "", dir, "registry.gitlab.com", "x", "y", "1.0.0", "plugin")
	for plugin, want := range map[string]bool{
		"fleeting-plugin-digitalocean": true, inPath: true, "registry.gitlab.com/x/y:1": true, "x/y@sha256:1": true,
		"fleeting-plugin-other": false, text: false, dir: false, "./none": false, "x/z:latest": false,
	} {
		if fault := findPlugin(plugin); (fault == "") != want {
			t.Errorf("%s: %q", plugin, fault)
		}
	}
	t.Setenv("FLEETING_PLUGIN_PATH", "")
	t.Setenv("HOME", dir)
	write(t, 0o755, "", dir, ".config", "fleeting", "plugins", "x.org", "y", "1.0.0", "plugin")
	if fault := findPlugin("x.org/y:1"); fault != "" {
		t.Error(fault)
	}
}

// The runner's version is that of the gitlab-runner in PATH, which may hang or fail.
func TestAskRunner(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for script, want := range map[string]string{
		"#!/bin/sh\necho 'Version:      18.6.6'\necho 'Git revision: abc'\n": "18.6.6",
		"#!/bin/sh\necho 'Version:      development version'\n":              "",
		"#!/bin/sh\necho no; exit 1\n":                                       "",
	} {
		write(t, 0o755, script, dir, "gitlab-runner")
		if got := askRunner(t.Context()); got != want {
			t.Errorf("%q: %q", script, got)
		}
	}
	t.Setenv("PATH", "")
	if got := askRunner(t.Context()); got != "" {
		t.Errorf("of no runner it is %q", got)
	}
}

// Look sees files, keys and locks as they are.
func TestLook(t *testing.T) {
	const api = "https://api.digitalocean.com"
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	path := write(t, 0o644, sound, dir, "config.toml")
	file, err := runnerconfig.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Subject{File: file, Runner: file.Runners[0], Account: config.Account{APIURL: api, Name: "ci"}}
	s.Config.SSHKeyFile, s.Account.Token.File = write(t, 0o600, "no key", dir, "key"), write(t, 0o644, "", dir, "token")
	h := Look(t.Context(), s)
	if h.StateFault != nil || h.Holder != "" || len(h.Addresses) == 0 || !filepath.IsAbs(h.Program) ||
		h.KeyFault == nil || len(h.Unprotected) != 1 {
		t.Errorf("%+v", h)
	}
	lock, err := state.Open(t.Context(), hclog.NewNullLogger(), api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	if h := Look(t.Context(), s); h.Holder == "" {
		t.Error("nobody holds the lock")
	}
	lock.Drop()
	t.Setenv("XDG_STATE_HOME", path) // a file
	if h := Look(t.Context(), s); h.StateFault == nil {
		t.Error("a directory can be in a file")
	}
}

package doctor

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("FLEETING_PLUGIN_PATH", dir)
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	inPath := write(t, 0o755, "", dir, "bin", "fleeting-plugin-digitalocean")
	text := write(t, 0o644, "", dir, "bin", "text")
	ours := write(t, 0o755, "", dir, "registry.gitlab.com", "x", "y", "1.0.0", "plugin")
	theirs := write(t, 0o755, "", dir, "registry.gitlab.com", "gitlab-org", "fleeting", "plugins", "aws", "1.0.0", "plugin")
	const plugins = "registry.gitlab.com/gitlab-org/fleeting/plugins/"
	for plugin, want := range map[string]Program{
		"fleeting-plugin-digitalocean": {Path: inPath, Dir: plugins + "fleeting-plugin-digitalocean"},
		"fleeting-plugin-other":        {Dir: plugins + "fleeting-plugin-other"},
		inPath:                         {Path: inPath},
		text:                           {Path: text, Fault: "is not executable"},
		dir:                            {Path: dir, Fault: "is no file"},
		"./none":                       {Path: "./none", Fault: "does not exist"},
		"registry.gitlab.com/x/y:1":    {Path: ours, Dir: "registry.gitlab.com/x/y"},
		"registry.gitlab.com/x/y:1.0":  {Path: ours, Dir: "registry.gitlab.com/x/y"},
		"x/y:1.0.0":                    {Path: ours, Dir: "registry.gitlab.com/x/y"},
		"x/y:1.0.1":                    {Dir: "registry.gitlab.com/x/y"},
		"x/y:0":                        {Dir: "registry.gitlab.com/x/y"},
		"x/y@sha256:1":                 {Path: ours, Dir: "registry.gitlab.com/x/y"},
		"x/z:latest":                   {Dir: "registry.gitlab.com/x/z"},
		"aws":                          {Path: theirs, Dir: plugins + "aws"},
		"aws:latest":                   {Path: theirs, Dir: plugins + "aws"},
	} {
		if want.Dir != "" {
			want.Dir = filepath.Join(dir, want.Dir)
		}
		if got := findProgram(plugin); got != want {
			t.Errorf("%s: %+v, expected %+v", plugin, got, want)
		}
	}
	t.Setenv("FLEETING_PLUGIN_PATH", "")
	t.Setenv("HOME", "/home/x")
	if got := pluginsDir(); got != "/home/x/.config/fleeting/plugins" {
		t.Error(got)
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
		if got, fault := askRunner(t.Context()); got != want || (got == "") != (fault != "") {
			t.Errorf("%q: %q, %s", script, got, fault)
		}
	}
	if err := os.Remove(filepath.Join(dir, "gitlab-runner")); err != nil {
		t.Fatal(err)
	}
	if got, fault := askRunner(t.Context()); got != "" || !strings.Contains(fault, "not in PATH") {
		t.Errorf("%q, %s", got, fault)
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
	r := file.Runners[0]
	r.Autoscaler.Connector.KeyPath = write(t, 0o600, "-----BEGIN NOTHING-----", dir, "none.pem")
	look := func() Host {
		return Look(t.Context(), file, r, config.Config{SSHKeyFile: filepath.Join(dir, "missing")}, api, "ci")
	}
	h := look()
	if len(h.Secrets) != 2 || h.Secrets[0].Mode != 0o644 || h.Secrets[0].Plain == "" || h.Secrets[1].Mode != 0o600 {
		t.Errorf("secrets %+v", h.Secrets)
	}
	if len(h.Keys) != 2 || h.Keys[0].Err == nil || h.Keys[1].Err == nil || os.IsNotExist(h.Keys[1].Err) {
		t.Errorf("keys %+v", h.Keys)
	}
	if h.StateFault != nil || h.Holder != "" || len(h.Addresses) == 0 || h.Owner != "" {
		t.Errorf("%+v", h)
	}
	lock, err := state.Open(t.Context(), hclog.NewNullLogger(), api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	if h := look(); h.Holder == "" {
		t.Error("nobody holds the lock")
	}
	lock.Drop()
	t.Setenv("XDG_STATE_HOME", path) // a file
	if h := look(); h.StateFault == nil {
		t.Error("a directory can be in a file")
	}
}

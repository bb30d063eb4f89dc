package doctor

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// What plugin = "..." leads to is found where the runner finds it.
func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("FLEETING_PLUGIN_PATH", dir)
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	write := func(mode os.FileMode, path ...string) string {
		name := filepath.Join(append([]string{dir}, path...)...)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	inPath := write(0o755, "bin", "fleeting-plugin-digitalocean")
	text := write(0o644, "bin", "text")
	ours := write(0o755, "registry.gitlab.com", "x", "y", "1.0.0", "plugin")
	theirs := write(0o755, "registry.gitlab.com", "gitlab-org", "fleeting", "plugins", "aws", "1.0.0", "plugin")
	for plugin, want := range map[string]Program{
		"fleeting-plugin-digitalocean": {Path: inPath},
		"fleeting-plugin-other":        {},
		inPath:                         {Path: inPath},
		text:                           {Path: text, Fault: "is not executable"},
		dir:                            {Path: dir, Fault: "is no file"},
		"./none":                       {Path: "./none", Fault: "does not exist"},
		"registry.gitlab.com/x/y:1":    {Path: ours},
		"x/y":                          {Path: ours},
		"x/z:latest":                   {},
		"aws":                          {Path: theirs},
		"aws:latest":                   {Path: theirs},
	} {
		want.Dir = dir
		if got := findProgram(plugin); got != want {
			t.Errorf("%s: %+v, expected %+v", plugin, got, want)
		}
	}
}

// A directory is one of the installer's when FLEETING_PLUGIN_PATH does not say.
func TestPluginsDir(t *testing.T) {
	t.Setenv("FLEETING_PLUGIN_PATH", "")
	t.Setenv("HOME", "/home/x")
	if got := pluginsDir(); got != "/home/x/.config/fleeting/plugins" {
		t.Error(got)
	}
}

// A doctor --boot that is at work is seen by its lock.
func TestLookSeesBoot(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	const api = "https://api.digitalocean.com"
	look := func() string {
		return Look(t.Context(), nil, runnerconfig.Runner{}, config.Config{}, api, "ci").Booting
	}
	if got := look(); got != "" {
		t.Errorf("process %s, before it began", got)
	}
	lock, err := state.Open(t.Context(), hclog.NewNullLogger(), api, BootGroup("ci"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := look(), strconv.Itoa(os.Getpid()); got != want {
		t.Errorf("process %q, expected %s", got, want)
	}
	lock.Drop()
	if got := look(); got != "" {
		t.Errorf("process %s, after its end", got)
	}
}

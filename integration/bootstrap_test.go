//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The artifact is a container image too. As Kubernetes does, its layers become a
// root, in it runs its entry point as a user without rights, with /plugins shared
// with a runner, and the runner finds the plugin there.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "true").CombinedOutput(); err != nil {
		skipOrFail(t, "a container needs the right to mount: "+string(out))
	}
	r := newRegistry(t)
	if out, err := r.release(t, distOf, "0.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	image, platform := r.repository()+":0.1", "--platform="+runtime.GOOS+"/"+runtime.GOARCH
	about, err := r.crane(t.Context(), "config", platform, image)
	if err != nil {
		t.Fatalf("%v\n%s", err, about)
	}
	var config struct {
		Config struct{ Entrypoint, Env []string }
	}
	if err := json.Unmarshal([]byte(about), &config); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/plugin/plugin"}) {
		t.Errorf("entry point: %v", config.Config.Entrypoint)
	}
	root := t.TempDir()
	layers := filepath.Join(t.TempDir(), "layers.tar")
	if out, err := r.crane(t.Context(), "export", platform, image, layers); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", "-x", "-C", root, "-f", layers).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	// run is a container of the image, with plugins mounted at /plugins. It has what
	// a container runtime gives it, and no shell, libc or /tmp; and nobody's rights,
	// like the pods of the runner's chart.
	const container = `set -e
mkdir -p "$ROOT/proc" "$ROOT/plugins"
mount -t proc proc "$ROOT/proc"
mount --bind "$PLUGINS" "$ROOT/plugins"
chroot=$(command -v chroot)
exec env -i $IMAGE_ENV "$chroot" --userspec=100:65533 "$ROOT" "$@"`
	run := func(plugins string, args ...string) (string, error) {
		inside := append([]string{"--mount", "sh", "-c", container, "sh"}, config.Config.Entrypoint...)
		cmd := exec.CommandContext(t.Context(), "unshare", append(inside, args...)...)
		cmd.Env = append(os.Environ(), "ROOT="+root, "PLUGINS="+plugins, "IMAGE_ENV="+strings.Join(config.Config.Env, " "))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	newPlugins := func() string {
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, 100, 65533), os.Chmod(root, 0o755)); err != nil {
			t.Fatal(err)
		}
		return dir
	}

	plugins := newPlugins()
	for range 2 { // a pod that starts again
		out, err := run(plugins, "bootstrap", r.repository())
		if want := "/plugins/" + r.repository() + "/0.1.0\n"; err != nil || out != want {
			t.Fatalf("%v, it prints %q, want %q", err, out, want)
		}
	}
	for _, constraint := range []string{":latest", ":0", ":0.1"} {
		path, err := r.artifact(t.Context(), plugins, "lookpath", r.repository()+constraint)
		if err != nil {
			t.Fatalf("%s: %v\n%s", constraint, err, path)
		}
		if out, err := exec.CommandContext(t.Context(), strings.TrimSpace(path), "version").Output(); err != nil || !strings.Contains(string(out), "Version:      0.1.0\n") {
			t.Errorf("%s: %v\n%s", constraint, err, out)
		}
	}
	// With a tag, as people write it.
	if out, err := run(newPlugins(), "bootstrap", r.repository()+":latest"); err != nil || !strings.HasSuffix(out, "/fleeting-plugin-digitalocean/0.1.0\n") {
		t.Errorf("%v, it prints %q", err, out)
	}
}

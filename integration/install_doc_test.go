//go:build linux

package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// notRunOfInstall are the commands of docs/install.md that are not run, and why.
var notRunOfInstall = map[string]string{
	"git clone":      "GitLab is out of reach; the test is in a clone already",
	"scp ":           "there is no other host",
	"cd fleeting":    "see git clone",
	"helm ":          "needs a cluster; TestKubernetesExample and TestBootstrap hold the values to the plugin",
	"docker run":     "needs a container engine; TestBootstrap unpacks the image and runs the same in its root",
	"cosign ":        "needs Sigstore and a release",
	"sudo systemctl": "needs a runner; TestSignalToTheGroup stops and starts its plugin",
}

// What stands between the page and the world: sudo installs below a directory of the
// test's, gitlab-runner is the installer that it has in it, and curl and the installer
// ask this test in the place of gitlab.com and registry.gitlab.com.
const installStubs = `
ROOT=%q REGISTRY=%q FILES_SERVER=%q MODULE=%q
export HOME=$ROOT/home PATH=$ROOT/usr/local/bin:$PATH
mkdir -p "$ROOT/usr/local/bin" "$HOME"
sudo() {
	[ "$1" != -H ] || shift
	local args=() a
	for a; do case $a in /usr/local/*|/etc/*) a=$ROOT$a ;; esac; args+=("$a"); done
	"${args[@]}"
}
gitlab-runner() {
	local plugin
	plugin=$(sed -n 's/^ *plugin = "\(.*\)"/\1/p' "$ROOT/etc/gitlab-runner/config.toml")
	case "$*" in
	"fleeting install" | "fleeting install --upgrade") (cd "$MODULE" && go tool fleeting-artifact install "${plugin/registry.gitlab.com/$REGISTRY}") &&
		ln -sfn "$REGISTRY" "$HOME/.config/fleeting/plugins/registry.gitlab.com" ;;
	"fleeting list") (cd "$MODULE" && go tool fleeting-artifact lookpath "${plugin/registry.gitlab.com/$REGISTRY}") ;;
	*) echo "gitlab-runner $*: not a command of this test" >&2; return 1 ;;
	esac
}
curl() { command curl "${@/https:\/\/gitlab.com/$FILES_SERVER}"; }
`

// Every command of docs/install.md, in its order, in one shell; what the page says
// that they print they print.
func TestInstallDoc(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("not run: the page is about linux/amd64")
	}
	r := newRegistry(t)
	if out, err := r.release(t, distOf, "0.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	doc := readDoc(t, "docs/install.md")
	root, work := t.TempDir(), t.TempDir()
	files := servePackages(t, "0.1.0")
	etc := filepath.Join(root, "etc", "gitlab-runner")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etc, "config.toml"), []byte(readDoc(t, "examples/config.toml")), 0o600); err != nil {
		t.Fatal(err)
	}
	// From source: in a copy, as in a clone.
	if out, err := inModule(t.Context(), nil, "sh", "-c",
		"tar -c --exclude=./bin --exclude=./dist --exclude=./build --exclude=./.git . | tar -x -C "+work); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}

	commands, err := commandsOf("docs/install.md", doc)
	if err != nil {
		t.Fatal(err)
	}
	commands = slices.DeleteFunc(commands, func(c command) bool {
		why := whyNotRun(c.text)
		if why != "" {
			t.Logf("not run: %v (%s)", c, why)
		}
		return why != ""
	})
	if len(commands) < 10 {
		t.Fatalf("%d commands", len(commands))
	}
	var script strings.Builder
	fmt.Fprintf(&script, "set -eo pipefail\n"+installStubs+"cd %q\n", root, r.host, files, module, work)
	for i, c := range commands {
		fmt.Fprintf(&script, "echo '== %d'\n%s\n", i, c.text)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-s")
	cmd.Stdin = strings.NewReader(script.String())
	caches, err := goEnv() // they are not in the HOME of the test
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = slices.Concat(environ, caches, asBuilt, []string{"SSL_CERT_FILE=" + r.cert, "FLEETING_PLUGIN_PATH=",
		"VERSION=0.1.0"}) // of the copy, which is in no repository
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), errs.String())
	}
	said := strings.Split("\n"+out.String(), "\n== ")[1:]
	for i, c := range commands {
		t.Logf("run: %v", c)
		for _, line := range c.shown {
			if line != "..." && !slices.Contains(strings.Split(said[i], "\n"), line) {
				t.Errorf("%v\nprints\n%s\nand not %q", c, said[i], line)
			}
		}
	}
}

func whyNotRun(command string) string {
	for prefix, why := range notRunOfInstall {
		if strings.HasPrefix(command, prefix) {
			return why
		}
	}
	return ""
}

// servePackages serves a version's binary where GitLab does.
func servePackages(t *testing.T, version string) (url string) {
	t.Helper()
	dir := t.TempDir()
	const name = "fleeting-plugin-digitalocean-linux-amd64" // .goreleaser.yaml's
	plugin := builtIn(distOf(t, version))
	if err := os.Symlink(plugin, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checksums.txt"), []byte(sumOf(t, plugin)+"  "+name+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	prefix := "/api/v4/projects/fleeting-digitalocean%2Ffleeting-plugin-digitalocean/packages/generic/fleeting-plugin-digitalocean/" + version + "/"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name, ok := strings.CutPrefix(req.URL.EscapedPath(), prefix)
		if !ok || strings.Contains(name, "/") {
			http.NotFound(w, req)
			return
		}
		http.ServeFile(w, req, filepath.Join(dir, name))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

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

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

const reference = "registry.gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean"

// notRunOfInstall are the commands of docs/install.md that are not run, and why.
var notRunOfInstall = map[string]string{
	"git clone":      "GitLab is out of reach; the test is in a clone already",
	"cd fleeting":    "see git clone",
	"helm ":          "needs a cluster; TestKubernetesExample and TestBootstrap hold the values to the plugin",
	"docker run":     "needs a container engine; TestBootstrap unpacks the image and runs the same in its root",
	"cosign ":        "needs Sigstore and a release",
	"sudo systemctl": "needs a runner; TestUpgrade restarts its manager",
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
	"fleeting install") (cd "$MODULE" && go tool fleeting-artifact install "${plugin/registry.gitlab.com/$REGISTRY}") &&
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

	var script strings.Builder
	fmt.Fprintf(&script, "set -eo pipefail\n"+installStubs+"cd %q\n", root, r.host, files, module, work)
	type step struct {
		command string
		prints  []string
	}
	var steps []step
	for _, block := range blocks(doc, "console") {
		running := false
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			command, isCommand := strings.CutPrefix(line, "$ ")
			if !isCommand {
				if running && line != "..." {
					steps[len(steps)-1].prints = append(steps[len(steps)-1].prints, line)
				}
				continue
			}
			if why := whyNotRun(command); why != "" {
				t.Logf("not run: %s (%s)", command, why)
				running = false
				continue
			}
			running = true
			steps = append(steps, step{command: command})
			fmt.Fprintf(&script, "echo '== %d'\n%s\n", len(steps), command)
		}
	}
	if len(steps) < 10 {
		t.Fatalf("%d commands", len(steps))
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-s")
	cmd.Stdin = strings.NewReader(script.String())
	caches, err := goEnv() // they are not in the HOME of the test
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(append(environ, caches...), "SSL_CERT_FILE="+r.cert, "FLEETING_PLUGIN_PATH=",
		"VERSION=0.1.0") // of the copy, which is in no repository
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), errs.String())
	}
	said := strings.Split(out.String(), "\n== ")
	for i, s := range steps {
		t.Logf("run: %s", s.command)
		for _, line := range s.prints {
			if !slices.Contains(strings.Split(said[i], "\n"), line) {
				t.Errorf("%s\nprints\n%s\nand not %q", s.command, said[i], line)
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
	plugin := filepath.Join(distOf(t, version), hostPlatform, "plugin")
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

// The values for GitLab's chart: the init container puts the plugin where the runner
// looks for it, and the runner's configuration is one that the plugin accepts.
func TestKubernetesExample(t *testing.T) {
	var values struct {
		InitContainers []struct {
			Image           string
			Args            []string
			VolumeMounts    []mount        `yaml:"volumeMounts"`
			SecurityContext map[string]any `yaml:"securityContext"`
		} `yaml:"initContainers"`
		ExtraEnv     map[string]string `yaml:"extraEnv"`
		Volumes      []struct{ Name string }
		VolumeMounts []mount `yaml:"volumeMounts"`
		Replicas     int
		Runners      struct{ Executor, Config string }
	}
	if err := yaml.Unmarshal([]byte(readDoc(t, "examples/kubernetes/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	if len(values.InitContainers) != 1 || values.Replicas != 1 {
		t.Fatalf("%d init containers, %d replicas", len(values.InitContainers), values.Replicas)
	}
	c := values.InitContainers[0]
	image, tag, _ := strings.Cut(c.Image, ":")
	if image != reference || !slices.Equal(c.Args, []string{"bootstrap", reference}) {
		t.Errorf("image %s, args %v", c.Image, c.Args)
	}
	// As TestBootstrap runs it.
	if c.SecurityContext["runAsUser"] != 100 || c.SecurityContext["runAsGroup"] != 65533 {
		t.Errorf("security context: %v", c.SecurityContext)
	}
	plugins := func(m mount) bool { return m.MountPath == "/plugins" && m.Name == "fleeting-plugins" }
	if values.ExtraEnv["FLEETING_PLUGIN_PATH"] != "/plugins" || !slices.ContainsFunc(c.VolumeMounts, plugins) || !slices.ContainsFunc(values.VolumeMounts, plugins) {
		t.Error("the runner looks for plugins where none are put")
	}
	for _, m := range values.VolumeMounts {
		if !slices.ContainsFunc(values.Volumes, func(v struct{ Name string }) bool { return v.Name == m.Name }) {
			t.Errorf("there is no volume %s", m.Name)
		}
	}
	var runner struct {
		Runners []struct {
			Executor   string
			Autoscaler struct {
				Plugin string
				Config map[string]any `toml:"plugin_config"`
			}
		}
	}
	if _, err := toml.Decode(values.Runners.Config, &runner); err != nil {
		t.Fatal(err)
	}
	a := runner.Runners[0].Autoscaler
	if a.Plugin != reference+":"+tag || runner.Runners[0].Executor != values.Runners.Executor {
		t.Errorf("plugin %s, executor %s", a.Plugin, runner.Runners[0].Executor)
	}
	// The files are below what is mounted.
	for _, key := range []string{"token_file", "ssh_key_file"} {
		path, _ := a.Config[key].(string)
		if !slices.ContainsFunc(values.VolumeMounts, func(m mount) bool { return strings.HasPrefix(path, m.MountPath+"/") }) {
			t.Errorf("%s %q is in no volume", key, path)
		}
	}
	if !strings.HasPrefix(a.Config["user_data"].(string), "#cloud-config\n") {
		t.Errorf("cloud-init would not know what this is: %q", a.Config["user_data"])
	}
	host := config.ThisHost()
	host.ReadFile = func(string, int64) ([]byte, error) { return []byte("dop_v1_0123"), nil }
	if _, err := config.Parse(mustJSON(t, a.Config), host); err != nil {
		t.Error(err)
	}
}

type mount struct {
	Name      string
	MountPath string `yaml:"mountPath"`
}

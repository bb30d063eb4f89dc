package migrate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// cloudConfigs are all user data of the golden files, also what is to be pasted into a
// user's own file, and one with everything at once.
func cloudConfigs(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, g := range goldens(t) {
		file, err := runnerconfig.Parse("config.toml", g.files["out.toml"])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Runners {
			if r.Autoscaler == nil {
				continue
			}
			if text, _ := r.Autoscaler.PluginConfig["user_data"].(string); text != "" {
				all[text] = g.name
			}
		}
		var pasted strings.Builder
		for line := range strings.Lines(g.files["out.toml"]) {
			line, ok := strings.CutPrefix(strings.TrimSpace(line), "# ")
			if ok && (pasted.Len() > 0 || line == "#cloud-config") {
				pasted.WriteString(line + "\n")
			} else if pasted.Len() > 0 {
				all[pasted.String()] = g.name + ", in a comment"
				pasted.Reset()
			}
		}
	}
	for class := imageGone; class <= imageUnknown; class++ {
		c := cloudConfig{image: class, port: "2222/tcp", user: "builder"}
		for _, option := range []string{"label=a: b # c", `log-opt env-regex=^(a|b)"\'$`, "mtu=1400", "debug", "dns=1.1.1.1"} {
			flag, value := splitFlag(option)
			if _, wrong := c.engine.set(flag, value); wrong != "" {
				t.Fatal(wrong)
			}
		}
		if wrong := c.engine.setEnv(`HTTP_PROXY=http://u:p%40"\x@proxy:3128`); wrong != "" {
			t.Fatal(wrong)
		}
		all[c.String()] = "everything"
	}
	return all
}

// What cloud-init reads out of the user data is what was put in.
func TestUserDataSaysWhatItShould(t *testing.T) {
	c := cloudConfig{image: imageOwn, port: "ssh"}
	want := map[string]any{
		"labels":   []any{`a: b # "c" \ 'd'`, "e=\u00fc\U0001F600"},
		"log-opts": map[string]any{"max-size": "10m", "tag": "{{.Name}}"},
		"mtu":      1400.0,
		"debug":    true,
	}
	for _, f := range [][2]string{{"label", `a: b # "c" \ 'd'`}, {"label", "e=\u00fc\U0001F600"}, {"log-opt", "max-size=10m"}, {"log-opt", "tag={{.Name}}"},
		{"mtu", "1400"}, {"debug", ""}} {
		if _, wrong := c.engine.set(f[0], f[1]); wrong != "" {
			t.Fatal(wrong)
		}
	}
	if wrong := c.engine.setEnv(`HTTP_PROXY=http://u:p%40"\x@proxy:3128`); wrong != "" {
		t.Fatal(wrong)
	}
	var read struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   []string                         `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(c.String()), &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Files) != 2 || read.Files[0].Path != "/etc/docker/daemon.json" {
		t.Fatalf("%+v", read.Files)
	}
	var daemon map[string]any
	if err := json.Unmarshal([]byte(read.Files[0].Content), &daemon); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, daemon); diff != "" {
		t.Errorf("daemon.json, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff("[Service]\nEnvironment=\"HTTP_PROXY=http://u:p%%40\\\"\\\\x@proxy:3128\"\n", read.Files[1].Content); diff != "" {
		t.Errorf("drop-in, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"command -v docker >/dev/null || (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y docker.io)",
		"if command -v ufw >/dev/null; then ufw allow ssh; fi", "systemctl daemon-reload", "systemctl restart docker",
	}, read.Run); diff != "" {
		t.Errorf("runcmd, -want +got:\n%s", diff)
	}
}

// cloud-init knows the user data by its own schema, where it is installed.
func TestCloudInitTakesUserData(t *testing.T) {
	t.Parallel()
	configs := cloudConfigs(t)
	if len(configs) < 10 {
		t.Fatalf("%d user data", len(configs))
	}
	for text, name := range configs {
		if !strings.HasPrefix(text, "#cloud-config\n") || len(text) > 64<<10 || strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%s: not cloud-config in ASCII of at most 64 KiB:\n%s", name, text)
		}
	}
	if _, err := exec.LookPath("cloud-init"); err != nil {
		t.Skip("not run: cloud-init is not installed; Debian's package cloud-init has it (make verify installs it for root)")
	}
	path := filepath.Join(t.TempDir(), "user-data")
	for text, name := range configs {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		said, err := exec.CommandContext(t.Context(), "cloud-init", "schema", "--config-file", path).CombinedOutput()
		if err != nil || !strings.Contains(string(said), "Valid") {
			t.Errorf("%s: %v\n%s\nof:\n%s", name, err, said, text)
		}
	}
}

// The schema can refuse.
func TestCloudInitRefusesOtherUserData(t *testing.T) {
	if _, err := exec.LookPath("cloud-init"); err != nil {
		t.Skip("not run: cloud-init is not installed")
	}
	path := filepath.Join(t.TempDir(), "user-data")
	if err := os.WriteFile(path, []byte("#cloud-config\npackages: docker.io\nruncmd: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), "cloud-init", "schema", "--config-file", path).CombinedOutput(); err == nil {
		t.Errorf("it takes anything:\n%s", said)
	}
}

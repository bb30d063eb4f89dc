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

// cloudConfigs are all user data of the golden files, also what is to be pasted into a user's own file, and one with
// everything at once.
func cloudConfigs(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, g := range goldens(t) {
		file, err := runnerconfig.Parse("config.toml", g.files["out.toml"])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Runners {
			if r.Autoscaler != nil {
				text, _ := r.Autoscaler.PluginConfig["user_data"].(string)
				all[text] = g.name
			}
		}
	}
	delete(all, "")
	for class := imageUseless; class <= imageUnknown; class++ {
		var e engine
		setAll(t, &e, "label=a: b # c", `log-opt=env-regex=^(a|b)"\'$`, "mtu=1400", "debug=", "dns=1.1.1.1")
		e.env = []string{`HTTP_PROXY=http://u:p%40"\x@proxy:3128`}
		all[merged(t, e.cloudConfig(class, "builder", 2222), "#!/bin/sh\necho\n")] = "everything and a script"
	}
	return all
}

func merged(t *testing.T, c cloudConfig, theirs string) string {
	t.Helper()
	text, err := c.mergedInto(theirs)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func setAll(t *testing.T, e *engine, flags ...string) {
	t.Helper()
	for _, f := range flags {
		flag, value, _ := strings.Cut(f, "=")
		if err := e.set(flag, value); err != nil {
			t.Fatal(err)
		}
	}
}

// A user's cloud-config is continued, or the reason is told why it is not.
func TestMerge(t *testing.T) {
	ours := engine{daemon: map[string]any{"mtu": 1400}}.cloudConfig(imagePlain, "root", 22)
	for theirs, want := range map[string]string{
		"#cloud-config\n": merged(t, ours, cloudHeader),
		"#cloud-config\r\npackage_update: false # no\r\nruncmd: [[a, b]]\r\n": "#cloud-config\npackage_update: true\nruncmd:\n  - [a, b]\n",
		"#cloud-config\nruncmd: x\n":                                          "has no list in runcmd",
		"#cloud-config\n- x\n":                                                "is no cloud-config",
		"#cloud-config\n\tx\n":                                                "is no YAML",
		"## template: jinja\n#cloud-config\n":                                 "is no cloud-config",
		"#cloud-config\nwrite_files: [{path: /etc/docker/daemon.json}]\n":     "writes /etc/docker/daemon.json too",
	} {
		got, err := ours.mergedInto(theirs)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q:\n%s\nwant\n%s", theirs, got, want)
		}
	}
}

// What cloud-init reads out of the user data is what was put in.
func TestUserDataSaysWhatItShould(t *testing.T) {
	n := engine{env: []string{`HTTP_PROXY=http://u:p%40"\x@proxy:3128`}}
	setAll(t, &n, `label=a: b # "c" \ 'd'`, "log-opt=max-size=10m", "log-opt=tag={{.Name}}", "mtu=1400", "debug=", "icc=false")
	want := map[string]any{
		"labels":   []any{`a: b # "c" \ 'd'`},
		"log-opts": map[string]any{"max-size": "10m", "tag": "{{.Name}}"},
		"mtu":      1400.0,
		"debug":    true,
		"icc":      false,
	}
	var read struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   []string                         `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(merged(t, n.cloudConfig(imageOwn, "root", 22), cloudHeader)), &read); err != nil {
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

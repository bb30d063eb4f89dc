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
	daemon := map[string][]string{"registry-mirrors": {"http://a: b # c", `"'\`}}
	all[merged(t, newCloudConfig("debian-13-x64", daemon, "builder", 2222), "#!/bin/sh\necho\n")] = "everything and a script"
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

// A user's cloud-config is continued, or the reason is told why it is not.
func TestMerge(t *testing.T) {
	ours := newCloudConfig(dockerImage, map[string][]string{"insecure-registries": {"r:5000"}}, "root", 22)
	for theirs, want := range map[string]string{
		"#cloud-config\n": merged(t, ours, cloudHeader),
		"#cloud-config\r\nfqdn: x # no\r\nruncmd: [[a, b]]\r\n":           "#cloud-config\nfqdn: x # no\nruncmd:\n  - [a, b]\n",
		"#cloud-config\nruncmd: x\n":                                      "has no list in runcmd",
		"#cloud-config\n- x\n":                                            "is no cloud-config",
		"#cloud-config\n\tx\n":                                            "is no YAML",
		"## template: jinja\n#cloud-config\n":                             "is no cloud-config",
		"#cloud-config\nwrite_files: [{path: /etc/docker/daemon.json}]\n": "writes /etc/docker/daemon.json too",
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
	want := map[string]any{"registry-mirrors": []any{`a: b # "c" \ 'd'`, "http://r:5000"}}
	daemon := map[string][]string{"registry-mirrors": {`a: b # "c" \ 'd'`, "http://r:5000"}}
	text := merged(t, newCloudConfig("debian-13-x64", daemon, "builder", 2222), "#!/bin/sh\necho\n")
	var read struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   []string                         `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Files) != 2 || read.Files[0].Content != "#!/bin/sh\necho\n" || read.Files[1].Path != "/etc/docker/daemon.json" {
		t.Fatalf("%+v", read.Files)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(read.Files[1].Content), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("daemon.json, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"/usr/local/sbin/user-data",
		"command -v docker >/dev/null || (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y docker.io)",
		"command -v docker >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y docker-cli",
		"if command -v ufw >/dev/null; then ufw allow 2222/tcp; fi", "systemctl restart docker", "usermod -aG docker builder",
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
	configs["#cloud-config\npackages: docker.io\nruncmd: 5\n"] = "" // which it refuses
	for text, name := range configs {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		said, err := exec.CommandContext(t.Context(), "cloud-init", "schema", "--config-file", path).CombinedOutput()
		if valid := err == nil && strings.Contains(string(said), "Valid"); valid != (name != "") {
			t.Errorf("%s: %v\n%s\nof:\n%s", name, err, said, text)
		}
	}
}

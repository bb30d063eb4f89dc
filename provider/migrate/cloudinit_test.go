package migrate

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// cloudConfigs are all user data of the golden files.
func cloudConfigs(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, g := range goldens(t) {
		file, err := runnerconfig.Parse("config.toml", g.files["out.toml"])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Runners {
			if !r.OurPlugin() {
				continue
			}
			if text, ok := r.Autoscaler.PluginConfig["user_data"].(string); ok {
				all[text] = g.name
			}
		}
	}
	return all
}

// A user's cloud-config is continued, or the reason is told why it is not.
func TestMerge(t *testing.T) {
	ours := cloudConfig{Files: []cloudFile{{Path: daemonFile, Content: "x"}}, Run: []string{"y"}}
	for theirs, want := range map[string]string{
		"#cloud-config\n": "#cloud-config\nwrite_files:\n  - path: /etc/docker/daemon.json\n",
		"#cloud-config\r\nfqdn: x # no\r\nruncmd: [[a, b]]\r\n":           "#cloud-config\nfqdn: x # no\nruncmd:\n  - [a, b]\n",
		"#cloud-config\nruncmd: x\n":                                      errNotMerged.Error(),
		"#cloud-config\n- x\n":                                            errNotMerged.Error(),
		"#cloud-config\n\tx\n":                                            errNotMerged.Error(),
		"## template: jinja\n#cloud-config\n":                             errNotMerged.Error(),
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

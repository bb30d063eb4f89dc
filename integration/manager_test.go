package integration

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

const (
	managerConfig = "examples/manager/cloud-init.yaml"
	managerUnit   = "/etc/systemd/system/gitlab-runner.service.d/fleeting.conf"
)

// managerFile is a file that the manager's cloud-init writes.
type managerFile struct {
	Path, Owner, Permissions, Content string
}

// managerFiles are all of them, by path.
func managerFiles(t *testing.T) map[string]managerFile {
	t.Helper()
	var config struct {
		WriteFiles []managerFile `yaml:"write_files"`
	}
	if err := yaml.Unmarshal([]byte(readDoc(t, managerConfig)), &config); err != nil {
		t.Fatal(err)
	}
	files := map[string]managerFile{}
	for _, f := range config.WriteFiles {
		files[f.Path] = f
	}
	return files
}

// The manager's user data has no secret in it, and what it writes is what its
// configuration and its own commands name.
func TestManager(t *testing.T) {
	t.Parallel()
	text, files := readDoc(t, managerConfig), managerFiles(t)
	if m := regexp.MustCompile(`do[opr]_v1_\w+|glrt-[0-9a-z]\S*`).FindString(text); m != "" || len(text) > 64<<10 {
		t.Errorf("%d bytes of user data, with the secret %q", len(text), m)
	}
	for path, f := range files {
		if f.Owner != "root:root" || !regexp.MustCompile(`^0[67][0-5][0-5]$`).MatchString(f.Permissions) {
			t.Errorf("%s: owner %q, permissions %q", path, f.Owner, f.Permissions)
		}
	}
	runner := files["/etc/gitlab-runner/config.toml"]
	if runner.Permissions != "0600" {
		t.Errorf("config.toml, with the runner's token, has the permissions %s", runner.Permissions)
	}
	file, err := runnerconfig.Parse("config.toml", runner.Content)
	if err != nil {
		t.Fatal(err)
	}
	plugin := file.Runners[0].Autoscaler.PluginConfig
	if droplet := files[plugin["user_data_file"].(string)].Content; !strings.Contains(droplet, "ufw allow ssh") {
		t.Errorf("%s: %q", plugin["user_data_file"], droplet)
	}
	unit := files[managerUnit].Content
	writable := strings.Fields(regexp.MustCompile(`(?m)^ReadWritePaths=(.*)$`).FindStringSubmatch(unit)[1])
	for _, path := range []string{plugin["ssh_key_file"].(string), file.Runners[0].Autoscaler.StateStorage.Dir} {
		if !slices.ContainsFunc(writable, func(dir string) bool { return strings.HasPrefix(path+"/", dir+"/") }) {
			t.Errorf("the unit cannot write to %s", path)
		}
	}
	// A directory for the plugin's state, and a HOME, below which the runner installs plugins.
	for _, line := range []string{"StateDirectory=fleeting-plugin-digitalocean", "Environment=HOME=/root"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	for _, m := range regexp.MustCompile(`\[(install-[a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if files["/usr/local/sbin/"+m[1]].Permissions != "0755" {
			t.Errorf("runcmd names %s, which is not there", m[1])
		}
	}
}

// checkedBy skips a test without the program that an environment variable names, else
// returns what runs it.
func checkedBy(t *testing.T, variable, debian string) func(args ...string) (said string, err error) {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("not run: set %s to the path of a program of Debian's package %s; make verify does", variable, debian)
	}
	return func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
}

// save writes a file that a program is to look at.
func save(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// cloud-init takes all user data of the docs and of the examples.
func TestCloudConfigs(t *testing.T) {
	t.Parallel()
	run := checkedBy(t, "CLOUD_INIT", "cloud-init")
	all := map[string]string{managerConfig: readDoc(t, managerConfig)}
	for path, f := range managerFiles(t) {
		if strings.HasPrefix(f.Content, "#cloud-config\n") {
			all[path] = f.Content
		}
	}
	for name, source := range configurations(t) {
		file, err := runnerconfig.Parse(name, source)
		if err != nil {
			continue // TestConfigurationsInDocs
		}
		for _, r := range file.Runners {
			if r.Autoscaler != nil {
				if text, ok := r.Autoscaler.PluginConfig["user_data"].(string); ok {
					all[name] = text
				}
			}
		}
	}
	for path, doc := range docs(t) {
		for _, f := range fences(doc) {
			if strings.HasPrefix(f.text, "#cloud-config\n") {
				all[path] += f.text
			}
		}
	}
	if len(all) < 4 {
		t.Errorf("found only %v", slices.Collect(maps.Keys(all)))
	}
	for name, text := range all {
		if said, err := run("schema", "--config-file", save(t, "user-data", text)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
	}
}

// shellcheck has nothing to say about any script of the examples, of their
// cloud-configs, and of these tests.
func TestScripts(t *testing.T) {
	t.Parallel()
	run := checkedBy(t, "SHELLCHECK", "shellcheck")
	var scripts []string
	for path, f := range managerFiles(t) {
		if strings.HasPrefix(f.Content, "#!") {
			scripts = append(scripts, save(t, filepath.Base(path), f.Content))
		}
	}
	for _, pattern := range []string{"../examples/*/*.sh", "testdata/host/*.bash", "testdata/host/bin/*", "../.ci/examples"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: %v %v", pattern, found, err)
		}
		scripts = append(scripts, found...)
	}
	if said, err := run(append([]string{"--severity=warning"}, scripts...)...); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// systemd knows every line of the manager's unit.
func TestUnit(t *testing.T) {
	t.Parallel()
	run := checkedBy(t, "SYSTEMD_ANALYZE", "systemd")
	unit := save(t, "gitlab-runner.service", "[Unit]\nDescription=GitLab Runner\n[Service]\nExecStart=/bin/true run\n")
	err := errors.Join(os.Mkdir(unit+".d", 0o700),
		os.WriteFile(filepath.Join(unit+".d", "fleeting.conf"), []byte(managerFiles(t)[managerUnit].Content), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if said, err := run("verify", unit); err != nil || said != "" { // it warns of what it does not know, and goes on
		t.Error(said, err)
	}
}

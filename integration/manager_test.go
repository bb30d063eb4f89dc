package integration

import (
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

const managerConfig = "examples/manager/cloud-init.yaml"

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
	if len(files) < 5 {
		t.Fatalf("found only %v", slices.Collect(maps.Keys(files)))
	}
	return files
}

// The manager's user data has no secret in it, and what it writes is what its
// configuration and its own commands name.
func TestManager(t *testing.T) {
	t.Parallel()
	text := readDoc(t, managerConfig)
	if !strings.HasPrefix(text, "#cloud-config\n") || len(text) > 64<<10 || strings.ContainsFunc(text, func(r rune) bool { return r > '~' }) {
		t.Errorf("no user data: %d bytes", len(text))
	}
	if m := regexp.MustCompile(`do[opr]_v1_\w+|glrt-[0-9a-z]\S*`).FindString(text); m != "" {
		t.Errorf("a secret: %s", m)
	}
	files := managerFiles(t)
	for path, f := range files {
		if f.Owner != "root:root" || !regexp.MustCompile(`^0[67][0-5][0-5]$`).MatchString(f.Permissions) {
			t.Errorf("%s: owner %q, permissions %q", path, f.Owner, f.Permissions)
		}
	}
	if p := files["/etc/gitlab-runner/config.toml"].Permissions; p != "0600" {
		t.Errorf("config.toml, with the runner's token, has the permissions %s", p)
	}
	file, err := runnerconfig.Parse("config.toml", files["/etc/gitlab-runner/config.toml"].Content)
	if err != nil {
		t.Fatal(err)
	}
	plugin := file.Runners[0].Autoscaler.PluginConfig
	droplet := files[plugin["user_data_file"].(string)].Content
	if !strings.HasPrefix(droplet, "#cloud-config\n") || !strings.Contains(droplet, "ufw allow ssh") {
		t.Errorf("%s: %q", plugin["user_data_file"], droplet)
	}
	unit := files["/etc/systemd/system/gitlab-runner.service.d/fleeting.conf"].Content
	for _, path := range []string{plugin["ssh_key_file"].(string), file.Runners[0].Autoscaler.StateStorage.Dir} {
		writable := strings.Fields(regexp.MustCompile(`(?m)^ReadWritePaths=(.*)$`).FindStringSubmatch(unit)[1])
		if !slices.ContainsFunc(writable, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }) {
			t.Errorf("the unit cannot write to %s", path)
		}
	}
	if !strings.Contains(unit, "\nStateDirectory=fleeting-plugin-digitalocean\n") {
		t.Error("the unit gives the plugin no directory for its state")
	}
	if !strings.Contains(unit, "\nEnvironment=HOME=/root\n") {
		t.Error("the runner has no HOME, below which plugins are installed")
	}
	for _, m := range regexp.MustCompile(`\[(install-[a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if files["/usr/local/sbin/"+m[1]].Permissions != "0755" {
			t.Errorf("runcmd names %s, which is not there", m[1])
		}
	}
}

// The tutorial explains the manager's configuration line by line: every line, and none
// that it does not have.
func TestManagerInTutorial(t *testing.T) {
	t.Parallel()
	_, section, ok := strings.Cut(readDoc(t, "docs/tutorial.md"), "\n## The configuration, line by line\n")
	section, _, also := strings.Cut(section, "\n### ")
	if !ok || !also {
		t.Fatal("the section is not there")
	}
	lines := func(text string) map[string]bool {
		found := map[string]bool{}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				found[line] = true
			}
		}
		return found
	}
	explained := lines(strings.Join(blocks(section, "toml"), ""))
	manager := lines(managerFiles(t)["/etc/gitlab-runner/config.toml"].Content)
	for line := range manager {
		if !explained[line] && !regexp.MustCompile(`^(token|listen_address) =`).MatchString(line) { // of steps 4, and of monitoring.md
			t.Errorf("the tutorial does not explain %s", line)
		}
	}
	for line := range explained {
		if !manager[line] {
			t.Errorf("the manager does not have %s", line)
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
		said, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
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
	for name, source := range wholeConfigurations(t) {
		file, err := runnerconfig.Parse(name, source)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Runners {
			if r.Autoscaler == nil {
				continue
			}
			if text, ok := r.Autoscaler.PluginConfig["user_data"].(string); ok {
				all[name] = text
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
	if said, err := run("schema", "--config-file", save(t, "user-data", "#cloud-config\nruncmd: {a: b}\n")); err == nil {
		t.Errorf("cloud-init takes anything: %s", said)
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
	const name = "/etc/systemd/system/gitlab-runner.service.d/fleeting.conf"
	verify := func(dropIn string) string {
		dir := t.TempDir()
		unit := filepath.Join(dir, "gitlab-runner.service")
		for path, content := range map[string]string{
			unit: "[Unit]\nDescription=GitLab Runner\n[Service]\nExecStart=/bin/true run\n",
			filepath.Join(dir, "gitlab-runner.service.d", "fleeting.conf"): dropIn,
		} {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		said, err := run("verify", unit) // which warns of what it does not know, and goes on
		if err != nil {
			return said + err.Error()
		}
		return said
	}
	text := managerFiles(t)[name].Content
	if said := verify(text); said != "" {
		t.Error(said)
	}
	if said := verify(strings.ReplaceAll(text, "ProtectClock", "ProtectClocks")); !strings.Contains(said, "ProtectClocks") {
		t.Errorf("systemd takes anything: %s", said)
	}
}

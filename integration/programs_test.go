package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// The programs that the examples are for have nothing to say about them: shellcheck about any script of the examples, of
// their cloud-configs, and of these tests; systemd about the manager's unit; cloud-init about any user data, of the docs
// too; Prometheus about rules, configuration and the dashboard's queries, and the rules do what their tests say.
func TestPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	save := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var scripts, userData []string
	for _, pattern := range []string{"../examples/*/*.sh", "testdata/host/*.bash", "testdata/host/bin/*", "../.ci/examples"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: %v %v", pattern, found, err)
		}
		scripts = append(scripts, found...)
	}
	addUserData := func(text string) {
		if strings.HasPrefix(text, "#cloud-config\n") {
			userData = append(userData, save(fmt.Sprintf("user-data-%d", len(userData)), text))
		}
	}
	addUserData(texts.Read(t, texts.Manager))
	for path, f := range texts.ManagerFiles(t) {
		if addUserData(f.Content); strings.HasPrefix(f.Content, "#!") {
			scripts = append(scripts, save(filepath.Base(path), f.Content))
		}
	}
	for name, source := range texts.Configurations(t) {
		if file, err := runnerconfig.Parse(name, source); err == nil { // or TestConfigurationsInDocs says it
			for _, r := range file.Runners {
				if r.Autoscaler != nil {
					text, _ := r.Autoscaler.PluginConfig["user_data"].(string)
					addUserData(text)
				}
			}
		}
	}
	for _, doc := range texts.Docs(t) {
		for _, f := range texts.Fences(doc) {
			addUserData(f.Text)
		}
	}
	unit := save("gitlab-runner.service", "[Unit]\nDescription=GitLab Runner\n[Service]\nExecStart=/bin/true run\n")
	save("gitlab-runner.service.d/fleeting.conf", texts.ManagerFiles(t)[managerUnit].Content)
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, q := range dashboardQueries(t) {
		q = strings.NewReplacer("$__rate_interval", "1m", "$price", "0.03571").Replace(q)
		rules += fmt.Sprintf("  - record: query%d\n    expr: %q\n", i, q)
	}

	type check struct {
		variable, debian string
		silent           bool // it warns of what it does not know, and goes on
		args             []string
	}
	checks := []check{
		{"SHELLCHECK", "shellcheck", false, append([]string{"--severity=warning"}, scripts...)},
		{"SYSTEMD_ANALYZE", "systemd", true, []string{"verify", unit}},
		{"PROMTOOL", "prometheus", false, []string{"check", "config", "../examples/monitoring/prometheus.yml"}}, // with its rules
		{"PROMTOOL", "prometheus", false, []string{"test", "rules", "../examples/monitoring/alerts_test.yml"}},
		{"PROMTOOL", "prometheus", false, []string{"check", "rules", save("dashboard.yml", rules)}},
	}
	for _, path := range userData {
		checks = append(checks, check{"CLOUD_INIT", "cloud-init", false, []string{"schema", "--config-file", path}})
	}
	if len(userData) < 4 {
		t.Errorf("found only %v", userData)
	}
	for _, c := range checks {
		t.Run(c.debian+" "+filepath.Base(c.args[len(c.args)-1]), func(t *testing.T) {
			program := os.Getenv(c.variable)
			if program == "" {
				t.Skipf("not run: set %s to the path of a program of Debian's package %s; make verify does", c.variable, c.debian)
			}
			if said, err := exec.CommandContext(t.Context(), program, c.args...).CombinedOutput(); err != nil || c.silent && len(said) > 0 {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
}

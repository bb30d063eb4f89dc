package integration

import (
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"testing"
)

// examples are all files that people copy, and what holds each to its purpose. What
// nothing here can run says so in the file itself.
var examples = map[string]string{
	"config.toml":                "TestConfigurationsInDocs, TestSessionHasARunner",
	"demo/config.toml":           "TestConfigurationsInDocs, and make demo",
	"kubernetes/values.yaml":     "TestKubernetesExample; not run: helm, and a cluster",
	"manager/cloud-init.yaml":    "TestManager, TestCloudConfigs, TestScripts, TestUnit, TestManagerInTutorial, and the tutorial's commands; not run: a Droplet",
	"monitoring/alerts.yml":      "TestAlerts, TestPromtool",
	"monitoring/alerts_test.yml": "TestPromtool",
	"monitoring/dashboard.json":  "TestDashboard, TestPromtool; not run: Grafana",
	"monitoring/prometheus.yml":  "TestPromtool",
	"packer/golden.pkr.hcl":      "TestPackerTemplate; not run: packer",
	"packer/provision.sh":        "TestScripts; not run: a Droplet",
	"packer/tag-snapshot.sh":     "TestTagSnapshot, TestScripts",
	"sweep/cron":                 "sweep-examples.txtar",
	"sweep/gitlab-ci.yml":        "sweep-examples.txtar",
}

func TestEveryExampleIsChecked(t *testing.T) {
	t.Parallel()
	unused := maps.Clone(examples)
	err := filepath.WalkDir("../examples", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel("../examples", path)
		by, known := examples[filepath.ToSlash(name)]
		if !known {
			t.Errorf("nothing checks %s", path)
		}
		delete(unused, filepath.ToSlash(name))
		t.Logf("%-28s %s", name, by)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for name := range unused {
		t.Errorf("there is no examples/%s", name)
	}
	tests := testNames(t)
	for name, by := range examples {
		for _, test := range regexp.MustCompile(`\bTest\w+`).FindAllString(by, -1) {
			if !tests[test] {
				t.Errorf("%s: there is no %s", name, test)
			}
		}
	}
}

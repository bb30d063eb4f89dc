package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// The policies of one runner are replaced, and nothing else of the file is shown.
func TestPolicyDiff(t *testing.T) {
	const head = "[[runners]]\n  token = \"glrt-1\"\n  [runners.autoscaler]\n    plugin = \"x\"\n"
	const old = "  [[runners.autoscaler.policy]] # day\n    idle_count = 1\n\n  [[ runners.autoscaler.policy ]]\n    idle_count = 2\n"
	const removed = "-  [[runners.autoscaler.policy]] # day\n-    idle_count = 1\n-  [[ runners.autoscaler.policy ]]\n-    idle_count = 2\n"
	const other = "[[runners]]\n  [[runners.autoscaler.policy]]\n    idle_count = 9\n"
	for name, c := range map[string]struct {
		config string
		runner int
		want   string // "" = it cannot
	}{
		"replaced":    {head + old + "  [runners.cache]\n" + other, 0, "@@ line 5 @@\n" + removed + "+NEW\n+  1\n"},
		"the first":   {head + "  [runners.cache]\n" + other, 0, "@@ after [runners.autoscaler], config.toml:3 @@\n+NEW\n+  1\n"},
		"of a second": {head + other, 1, "@@ line 6 @@\n-  [[runners.autoscaler.policy]]\n-    idle_count = 9\n+NEW\n+  1\n"},
		"in a line":   {head + "    policy = [{ idle_count = 1 }]\n", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile(filepath.Join(".", "config.toml"), []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			file, err := runnerconfig.Load("config.toml")
			if err != nil {
				t.Fatal(err)
			}
			got, err := setting{file: file, runner: file.Runners[c.runner]}.diff("NEW\n  1\n")
			if _, got, _ = strings.Cut(got, "+++ config.toml\n"); (err != nil) != (c.want == "") || got != c.want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
}

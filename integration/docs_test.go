package integration

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

func readDoc(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns the fenced blocks of a kind, without their indentation.
func blocks(doc, kind string) []string {
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^( *)```"+kind+"\n(.*?)^ *```$").FindAllStringSubmatch(doc, -1) {
		found = append(found, regexp.MustCompile("(?m)^"+m[1]).ReplaceAllString(m[2], ""))
	}
	return found
}

func TestReadmeTableHasEveryKey(t *testing.T) {
	_, table, _ := strings.Cut(readDoc(t, "README.md"), "## Configuration:")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(table, -1) {
		for _, key := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(row[1], -1) {
			documented = append(documented, key[1])
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(config.Keys())), slices.Sorted(slices.Values(documented))); diff != "" {
		t.Errorf("keys of the code (-) and of the README (+):\n%s", diff)
	}
}

// What people paste must be accepted, by the plugin and by the runner.
func TestConfigurationsInDocs(t *testing.T) {
	sources := map[string]string{
		"examples/config.toml":      readDoc(t, "examples/config.toml"),
		"examples/demo/config.toml": readDoc(t, "examples/demo/config.toml"),
	}
	for i, block := range blocks(readDoc(t, "README.md"), "toml") {
		sources["README.md block "+string(rune('1'+i))] = block
	}
	if len(sources) != 3 {
		t.Fatalf("found %v", slices.Sorted(maps.Keys(sources)))
	}
	// Keys that the runner's [runners.autoscaler] and its tables have.
	autoscaler := strings.Fields(`plugin capacity_per_instance max_use_count max_instances update_interval
		update_interval_when_expecting instance_ready_command delete_instances_on_shutdown shutdown_deletion_interval
		state_storage plugin_config connector_config policy`)
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			var file struct {
				Runners []struct {
					Executor   string
					Autoscaler map[string]any
				}
			}
			if _, err := toml.Decode(source, &file); err != nil {
				t.Fatal(err)
			}
			if len(file.Runners) != 1 || file.Runners[0].Executor != "docker-autoscaler" {
				t.Fatalf("runners: %v", file.Runners)
			}
			a := file.Runners[0].Autoscaler
			for key := range a {
				if !slices.Contains(autoscaler, key) {
					t.Errorf("the runner would ignore [runners.autoscaler] %s", key)
				}
			}
			// What a real first run needs.
			for _, key := range []string{"update_interval", "update_interval_when_expecting", "instance_ready_command"} {
				if a[key] == nil {
					t.Errorf("[runners.autoscaler] %s is missing", key)
				}
			}
			connector := a["connector_config"].(map[string]any)
			if connector["protocol_port"] != int64(22) || connector["use_external_addr"] != true {
				t.Errorf("connector_config: %v", connector)
			}
			plugin := a["plugin_config"].(map[string]any)
			if !strings.Contains(plugin["user_data"].(string), "ufw allow ssh") {
				t.Error("the 1-Click image's firewall would lock the runner out")
			}
			token := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(token, []byte("dop_v1_0123"), 0o600); err != nil {
				t.Fatal(err)
			}
			plugin["token_file"] = token
			if _, err := config.Parse(mustJSON(t, plugin), config.ThisHost()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The README quotes errors. They are what a user would see.
func TestErrorsInReadme(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	quoted := strings.Split(strings.TrimSpace(blocks(readDoc(t, "README.md"), "text")[1]), "\n")
	wrong := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(wrong, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, change := range []map[string]any{
		{"regoin": "fra1", "region": nil},
		{"size": "s-2vcpu-4g", "name": "readme-size"},
		{"token_file": wrong, "token": nil, "name": "readme-token"},
	} {
		c := w.config(change)
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		r, err := initRunner(t.Context(), c)
		if err == nil {
			r.Kill()
			t.Fatalf("%v is accepted", change)
		}
		want := strings.ReplaceAll(quoted[i], "/etc/gitlab-runner/digitalocean-token", wrong)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the README says\n%s\nthe plugin says\n%v", want, err)
		}
	}
}

// The README names lines of the log. Each is in the code.
func TestLogLinesInReadme(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"../instancegroup/*.go", "../provider/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				code.WriteString(readDoc(t, filepath.Join("integration", f)))
			}
		}
	}
	lines := strings.Split(strings.TrimSpace(blocks(readDoc(t, "README.md"), "log")[0]), "\n")
	for _, line := range lines {
		if !strings.Contains(code.String(), `"`+line+`"`) {
			t.Errorf("no code logs %q", line)
		}
	}
}

// Every command in the docs is run by something. One that is not is named here
// with its reason, and so in the test's output.
func TestCommandsInDocs(t *testing.T) {
	ran := map[string]string{
		"make demo":  "make verify",
		"make test":  "CI",
		"make build": "make demo",
		"journalctl -u gitlab-runner | grep subsystem=fleeting-plugin":                      "not run: needs an installed runner",
		"sudo systemctl stop gitlab-runner":                                                 "not run: needs an installed runner",
		"doctl compute droplet list --tag-name fleeting-group:ci":                           "not run: needs doctl and an account",
		"doctl compute droplet delete --tag-name fleeting-group:ci":                         "not run: needs doctl and an account",
		"doctl compute tag create fleeting-group:ci":                                        "not run: needs doctl and an account",
		"doctl compute tag delete fleeting-group:ci":                                        "not run: needs doctl and an account",
		"doctl compute ssh-key list":                                                        "not run: needs doctl and an account",
		`doctl compute firewall create --name ci --tag-names fleeting-group:ci \`:           "not run: needs doctl and an account",
		"go run ./cmd/dosim -guests":                                                        "the tests of cmd/dosim",
		"sudo install bin/fleeting-plugin-digitalocean /usr/local/bin/":                     "not run: it changes the host",
		`sudo install -m 600 /dev/stdin /etc/gitlab-runner/digitalocean-token <<< "$TOKEN"`: "not run: it changes the host",
	}
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(docs, "../README.md") {
		for _, block := range blocks(readDoc(t, filepath.Join("integration", path)), "console") {
			for line := range strings.Lines(block) {
				command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
				if !ok {
					continue
				}
				by, known := ran[command]
				if !known {
					t.Errorf("%s: nothing runs %q", path, command)
				}
				t.Logf("%s: %s", command, by)
			}
		}
	}
	for command := range ran {
		if target, ok := strings.CutPrefix(command, "make "); ok && !strings.Contains(readDoc(t, "Makefile"), "\n"+target+":") {
			t.Errorf("the Makefile has no %s", target)
		}
	}
}

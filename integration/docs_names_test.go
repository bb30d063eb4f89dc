package integration

import (
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// elsewhere are words with a "_" that docs may use and that neither the plugin nor
// [runners.autoscaler] has.
var elsewhere = map[string]string{
	"assign_resource": "a part of DigitalOcean's scope project:assign_resource",
	"ssh_key":         "a part of DigitalOcean's scopes, and a field of the log",
	"droplet_limit":   "a field of DigitalOcean's account",
	"runner_name":     "a label of the runner's metrics",
	"system_id":       "a label of the runner's metrics",

	"use_slot_cgroups":       "a key of [[runners]]",
	"slot_cgroup_template":   "a key of [[runners]]",
	"reservation_throttling": "a key of [runners.autoscaler] that nothing here reads",
	"vm_isolation":           "a key of [runners.autoscaler] that nothing here reads",
	"vpc_nat_gateways":       "a part of a request",
	"nat_gateway":            "a part of DigitalOcean's scope nat_gateway:read",
}

// keysOf are the TOML keys of a struct: of its scalar fields, and of those tables
// that are tables of their own.
func keysOf(table reflect.Type) (scalars, tables []string) {
	for f := range table.Fields() {
		name := f.Tag.Get("toml")
		if k := f.Type.Kind(); k == reflect.Struct || k == reflect.Map || k == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			tables = append(tables, name)
		} else {
			scalars = append(scalars, name)
		}
	}
	return scalars, tables
}

// The reference of [runners.autoscaler] has every key that this version of the runner
// knows, and no other.
func TestRunnerKeysInConfiguration(t *testing.T) {
	t.Parallel()
	doc := readDoc(t, "docs/configuration.md")
	for heading, table := range map[string]reflect.Type{
		"\n## `[runners.autoscaler]`\n":              reflect.TypeFor[runnerconfig.Autoscaler](),
		"\n`[runners.autoscaler.scale_throttle]`":    reflect.TypeFor[runnerconfig.ScaleThrottle](),
		"\n`[runners.autoscaler.state_storage]`":     reflect.TypeFor[runnerconfig.StateStorage](),
		"\n`[runners.autoscaler.connector_config]` ": reflect.TypeFor[runnerconfig.Connector](),
		"\n`[[runners.autoscaler.policy]]` ":         reflect.TypeFor[runnerconfig.Policy](),
	} {
		_, rest, ok := strings.Cut(doc, heading)
		_, rest, _ = strings.Cut(rest, "|---|")
		rows, _, _ := strings.Cut(rest, "\n\n")
		if !ok || rows == "" {
			t.Errorf("no table after %q", heading)
			continue
		}
		var documented []string
		for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(rows, -1) {
			for _, key := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
				documented = append(documented, key[1])
			}
		}
		keys, _ := keysOf(table)
		if diff := cmp.Diff(slices.Sorted(slices.Values(keys)), slices.Sorted(slices.Values(documented))); diff != "" {
			t.Errorf("keys of %s (-) and of its table (+):\n%s", strings.TrimSpace(heading), diff)
		}
	}
}

// underscored matches the words with a "_".
var underscored = regexp.MustCompile(`\b[a-z0-9]+(_[a-z0-9]+)+\b`)

// known are the words with a "_" that docs may use.
func known(t *testing.T) map[string]bool {
	t.Helper()
	words := map[string]bool{}
	add := func(more ...string) {
		for _, w := range more {
			words[w] = true
		}
	}
	add(config.Keys()...)
	for _, table := range []reflect.Type{reflect.TypeFor[runnerconfig.Autoscaler](), reflect.TypeFor[runnerconfig.ScaleThrottle](),
		reflect.TypeFor[runnerconfig.StateStorage](), reflect.TypeFor[runnerconfig.Connector](), reflect.TypeFor[runnerconfig.Policy](),
		reflect.TypeFor[runnerconfig.Runner](), reflect.TypeFor[runnerconfig.File]()} {
		scalars, tables := keysOf(table)
		add(scalars...)
		add(tables...)
	}
	for _, fields := range logLines(t) {
		add(fields...)
	}
	for _, r := range migrate.Rules { // the keys of docker+machine too
		add(underscored.FindAllString(r.Old+" "+r.New, -1)...)
	}
	for name, labels := range metrics() {
		add(name)
		for _, values := range labels {
			add(values...)
		}
	}
	add(slices.Collect(maps.Keys(elsewhere))...)
	return words
}

// Of what docs put between backticks, each word with a "_" is a key of the
// configuration, a field of the log, or one of elsewhere: none is misspelt or gone.
func TestDocsNameNothingUnknown(t *testing.T) {
	t.Parallel()
	words := known(t)
	unused := maps.Clone(elsewhere)
	for path, doc := range docs(t) {
		prose := regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(doc, "")
		for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(prose, -1) {
			for _, word := range underscored.FindAllString(span, -1) {
				delete(unused, word)
				if !words[word] {
					t.Errorf("%s: nothing has the name %s, of %s", path, word, span)
				}
			}
		}
	}
	for word := range unused {
		t.Errorf("no doc has %s, which is %s", word, elsewhere[word])
	}
}

// otherFlags are flags of other programs that docs name without the program.
var otherFlags = map[string]string{
	"--volume": "of docker",
	"--env":    "of docker",
}

// A flag that docs name is one of the command's, and each of the command's is in
// docs/commands.md.
func TestFlagsInDocs(t *testing.T) {
	t.Parallel()
	flag := regexp.MustCompile(`(?m)(?:^|[\s(])(--[a-z][a-z-]+)`)
	verbs := map[string]map[string]bool{}  // the flags of each
	all := map[string]bool{"--json": true} // an alias that help hides
	for _, verb := range []string{"doctor", "ls", "rm", "sweep", "migrate"} {
		help, err := exec.CommandContext(t.Context(), binary, verb, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		verbs[verb] = map[string]bool{}
		for _, f := range regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z][a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
			all[f[1]], verbs[verb][f[1]] = true, true
		}
	}
	used := map[string]bool{}
	for path, doc := range docs(t) {
		prose := regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(doc, "")
		for _, span := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(prose, -1) {
			words := strings.Fields(span[1])
			ours := strings.HasPrefix(span[1], "--") || words[0] == "fleeting-plugin-digitalocean" || verbs[words[0]] != nil
			for _, f := range flag.FindAllStringSubmatch(span[1], -1) {
				switch {
				case otherFlags[f[1]] != "":
					used[f[1]] = true
				case ours && !all[f[1]]:
					t.Errorf("%s: no command has the flag %s, of %s", path, f[1], span[0])
				case verbs[words[0]] != nil && !verbs[words[0]][f[1]] && f[1] != "--json":
					t.Errorf("%s: %s has no flag %s", path, words[0], f[1])
				}
			}
		}
	}
	for f := range otherFlags {
		if !used[f] {
			t.Errorf("no doc has %s, which is %s", f, otherFlags[f])
		}
	}
	commands := readDoc(t, "docs/commands.md")
	for f := range all {
		if !regexp.MustCompile(regexp.QuoteMeta(f) + `\b`).MatchString(commands) {
			t.Errorf("docs/commands.md lacks %s", f)
		}
	}
}

// faultsIn tells what the runner and the plugin would not take of a TOML block, which
// may be any part of a config.toml.
func faultsIn(t *testing.T, source string) (faults []string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^\s*\[\[runners\]\]`).MatchString(source) {
		source = "[[runners]]\n" + source
	}
	file, err := runnerconfig.Parse("block", source)
	if err != nil {
		return []string{err.Error()}
	}
	for _, key := range file.Ignored {
		faults = append(faults, fmt.Sprintf("%s: the runner would ignore %s", file.At(key), key))
	}
	for _, r := range file.Runners {
		if r.Autoscaler == nil || r.Autoscaler.PluginConfig == nil || r.Autoscaler.Plugin != "" && !r.OurPlugin() {
			continue
		}
		host := config.ThisHost()
		host.ReadFile = func(string, int64) ([]byte, error) { return []byte("#cloud-config"), nil }
		_, err := config.Parse(mustJSON(t, r.Autoscaler.PluginConfig), host)
		if err == nil {
			continue
		}
		for _, f := range err.(config.Faults) { //nolint:errorlint // Parse promises its type
			if r.Autoscaler.Plugin != "" || !strings.HasPrefix(f.Text, "is required") { // a fragment need not be complete
				faults = append(faults, f.Error())
			}
		}
	}
	return faults
}

// wholeConfigurations are the complete ones of the docs and the examples, by where
// they are.
func wholeConfigurations(t *testing.T) map[string]string {
	t.Helper()
	whole := map[string]string{
		"examples/config.toml":      readDoc(t, "examples/config.toml"),
		"examples/demo/config.toml": readDoc(t, "examples/demo/config.toml"),
		managerConfig:               managerFiles(t)["/etc/gitlab-runner/config.toml"].Content,
	}
	for path, doc := range docs(t) {
		for _, f := range fences(doc) {
			if f.kind == "toml" && strings.Contains(f.text, `"docker-autoscaler"`) && strings.Contains(f.text, "plugin_config") {
				whole[fmt.Sprintf("%s:%d", path, f.line)] = f.text
			}
		}
	}
	if len(whole) < 4 {
		t.Fatalf("found only %v", slices.Sorted(maps.Keys(whole)))
	}
	return whole
}

// What people paste is accepted by the runner and by the plugin, whole or in part.
func TestConfigurationsInDocs(t *testing.T) {
	t.Parallel()
	for path, doc := range docs(t) {
		for _, f := range fences(doc) {
			if f.kind != "toml" {
				continue
			}
			for _, fault := range faultsIn(t, f.text) {
				t.Errorf("%s:%d: %s", path, f.line, fault)
			}
		}
	}
	whole := wholeConfigurations(t)
	for name, source := range whole {
		for _, fault := range faultsIn(t, source) {
			t.Errorf("%s: %s", name, fault)
		}
		file, err := runnerconfig.Parse(name, source)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Runners {
			if r.Executor != "docker-autoscaler" {
				continue
			}
			// What a real first run needs.
			for _, key := range []string{"update_interval", "update_interval_when_expecting", "instance_ready_command",
				"connector_config.protocol_port", "connector_config.use_external_addr", "policy.0.idle_time"} {
				if !file.Has(r.Key("autoscaler." + key)) {
					t.Errorf("%s: [runners.autoscaler] %s is missing", name, key)
				}
			}
			if slots := r.Autoscaler.MaxInstances * max(1, r.Autoscaler.CapacityPerInstance); file.Concurrent < slots {
				t.Errorf("%s: concurrent is %d, there can be %d jobs", name, file.Concurrent, slots)
			}
			image, _ := r.Autoscaler.PluginConfig["image"].(string)
			userData, _ := r.Autoscaler.PluginConfig["user_data"].(string)
			_, byFile := r.Autoscaler.PluginConfig["user_data_file"]
			if strings.HasPrefix(image, "docker-") && !byFile && !strings.Contains(userData, "ufw allow ssh") {
				t.Errorf("%s: the 1-Click image's firewall would lock the runner out", name)
			}
		}
	}
}

// A fault in a configuration is found.
func TestFaultsIn(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"[runners.autoscaler]\nmax_instance = 3\n":                                                                                          "would ignore runners.0.autoscaler.max_instance",
		"[runners.autoscaler.connector_config]\nuse_external_address = true\n":                                                              "would ignore",
		"[runners.autoscaler.plugin_config]\nimagetag = \"x\"\n":                                                                            "plugin_config.imagetag: unknown key",
		"[[runners]]\n[runners.autoscaler]\nplugin = \"fleeting-plugin-digitalocean\"\n[runners.autoscaler.plugin_config]\nname = \"ci\"\n": "is required",
		"[runners.autoscaler\n": "block:2",
	} {
		if got := strings.Join(faultsIn(t, source), "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %s", source, got, want)
		}
	}
}

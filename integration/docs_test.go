package integration

import (
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func readDoc(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// docs are README.md, CONTRIBUTING.md and what is in docs/, by path from the root of the repository.
func docs(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil || len(paths) < 3 {
		t.Fatal(paths, err)
	}
	all := map[string]string{}
	for _, path := range []string{"README.md", "CONTRIBUTING.md"} {
		all[path] = readDoc(t, path)
	}
	for _, path := range paths {
		path = "docs/" + filepath.Base(path)
		all[path] = readDoc(t, path)
	}
	return all
}

// fence is one fenced block of a doc, without its indentation.
type fence struct {
	line int    // of the doc, on which its text begins
	kind string // console, toml ...; empty for none
	text string
}

var fenced = regexp.MustCompile("(?ms)^( *)```(\\w*)[^\n]*\n(.*?)^ *```$")

// fences are the fenced blocks of a doc, in its order.
func fences(doc string) []fence {
	var all []fence
	for _, m := range fenced.FindAllStringSubmatchIndex(doc, -1) {
		indent, kind, text := doc[m[2]:m[3]], doc[m[4]:m[5]], doc[m[6]:m[7]]
		line := 1 + strings.Count(doc[:m[6]], "\n")
		all = append(all, fence{line, kind, regexp.MustCompile("(?m)^"+indent).ReplaceAllString(text, "")})
	}
	return all
}

// A link from one doc to another leads to a file, and to a heading if it says so.
func TestDocsLinkToWhatExists(t *testing.T) {
	t.Parallel()
	for path, doc := range docs(t) {
		for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(doc, -1) {
			file, heading, _ := strings.Cut(link[1], "#")
			target := doc // of a link to a heading of the same doc
			if file != "" {
				file = filepath.Join("..", filepath.Dir(path), file)
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				content, _ := os.ReadFile(file) // a directory has no headings
				target = string(content)
			}
			if heading != "" && !slices.Contains(headings(target), heading) {
				t.Errorf("%s: no heading for %s; there are %v", path, link[1], headings(target))
			}
		}
	}
}

// A link to another site is https, and one to a file of ours leads to it. Nothing is fetched.
func TestOutwardLinks(t *testing.T) {
	t.Parallel()
	pages := docs(t)
	pages["CHANGELOG.md"] = readDoc(t, "CHANGELOG.md")
	for path, doc := range pages {
		for _, link := range regexp.MustCompile(`\]\(([a-z]+:[^)]*)\)`).FindAllStringSubmatch(doc, -1) {
			u, err := url.Parse(link[1])
			if err != nil || u.Scheme != "https" {
				t.Errorf("%s: %s is not https (%v)", path, link[1], err)
			} else if file, ours := strings.CutPrefix(u.Path, "/fleeting-digitalocean/fleeting-plugin-digitalocean/-/blob/main/"); ours {
				if _, err := os.Stat(filepath.Join("..", file)); err != nil {
					t.Errorf("%s: %s: %v", path, link[1], err)
				}
			}
		}
	}
}

// headings are the anchors that GitLab makes of a doc's headings.
func headings(doc string) []string {
	var anchors []string
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(doc, -1) {
		words := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		anchors = append(anchors, strings.ReplaceAll(words, " ", "-"))
	}
	return anchors
}

// runnerTables are those of [runners.autoscaler] that docs/configuration.md explains.
var runnerTables = []reflect.Type{
	reflect.TypeFor[runnerconfig.Autoscaler](), reflect.TypeFor[runnerconfig.ScaleThrottle](),
	reflect.TypeFor[runnerconfig.StateStorage](), reflect.TypeFor[runnerconfig.Connector](), reflect.TypeFor[runnerconfig.Policy](),
}

// The reference has every key of [runners.autoscaler] that this version of the runner knows.
func TestRunnerKeysInConfiguration(t *testing.T) {
	t.Parallel()
	doc := readDoc(t, "docs/configuration.md")
	for _, table := range runnerTables {
		for f := range table.Fields() {
			if key := f.Tag.Get("toml"); !regexp.MustCompile("`(\\[*[a-z.]*\\.)?" + key + "[`\\]]").MatchString(doc) {
				t.Errorf("docs/configuration.md lacks %s of %s", key, table.Name())
			}
		}
	}
}

var (
	underscored = regexp.MustCompile(`\b[a-z0-9]+(_[a-z0-9]+)+\b`)
	dashed      = regexp.MustCompile("(?m)(?:^|[\\s(`])(--[a-z][a-z-]+)")
	ours        = regexp.MustCompile("^`(--|fleeting-plugin-digitalocean |doctor |ls |rm |sweep |migrate )")
)

// elsewhere are names that docs may use and that belong to something other than the plugin and [runners.autoscaler].
var elsewhere = []string{
	"assign_resource", "ssh_key", // of DigitalOcean's scopes
	"droplet_limit",                   // of DigitalOcean's account
	"log_format",                      // the runner's, which nothing here reads
	"vpc_nat_gateways", "nat_gateway", // of DigitalOcean's API
	"runner_name", "system_id", // labels of the runner's metrics
	"--volume", "--env", // of docker
	// of docker+machine's runners
	"shutdown_drain", "max_retries", "retry_backoff", "pre_clone_script", "post_clone_script", "pre_get_sources_script",
	"post_get_sources_script", "tls_verify", "tls_cert_path", "metrics_server",
	"write_files", // of cloud-init
}

// knownNames are the names that docs may use: of keys, fields of the log, metrics, flags, and elsewhere.
func knownNames(t *testing.T) map[string]bool {
	t.Helper()
	names := slices.Concat(elsewhere, config.Keys())
	for _, table := range append(runnerTables, reflect.TypeFor[runnerconfig.Runner](), reflect.TypeFor[runnerconfig.File]()) {
		for f := range table.Fields() {
			names = append(names, f.Tag.Get("toml"))
		}
	}
	names = append(names, slices.Collect(maps.Keys(readSource(t, logging...).literals()))...)
	for name, labels := range metrics() {
		names = append(names, name)
		for _, values := range labels {
			names = append(names, values...)
		}
	}
	for _, verb := range []string{"doctor", "ls", "rm", "sweep", "migrate", "report", "plan"} {
		help, err := exec.CommandContext(t.Context(), binary, verb, "--help").Output()
		flags := dashed.FindAllStringSubmatch(string(help), -1)
		if err != nil || len(flags) == 0 {
			t.Errorf("%s --help: %v", verb, err)
		}
		for _, f := range flags {
			names = append(names, f[1])
		}
	}
	known := map[string]bool{"--json": true} // an alias that help hides
	for _, name := range names {
		known[name] = true
	}
	return known
}

// What docs name is there: between backticks keys of the configuration, fields of the log, metrics and flags; anywhere
// targets of the Makefile, and tests.
func TestDocsNameWhatExists(t *testing.T) {
	t.Parallel()
	known, makefile, tests := knownNames(t), readDoc(t, "Makefile"), testNames(t)
	found := 0
	for path, doc := range docs(t) {
		for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(fenced.ReplaceAllString(doc, ""), -1) {
			names := underscored.FindAllString(span, -1)
			for _, key := range regexp.MustCompile(`plugin_config\.(\w+)`).FindAllStringSubmatch(span, -1) {
				names = append(names, key[1])
			}
			if ours.MatchString(span) {
				for _, f := range dashed.FindAllStringSubmatch(span, -1) {
					names = append(names, f[1])
				}
			}
			for _, name := range names {
				found++
				if !known[name] {
					t.Errorf("%s: nothing has the name %s, of %s", path, name, span)
				}
			}
		}
		for _, target := range regexp.MustCompile("(?m)(?:`|\\$ )make ([a-z-]+)").FindAllStringSubmatch(doc, -1) {
			if !strings.Contains(makefile, "\n"+target[1]+":") {
				t.Errorf("%s: the Makefile has no %s", path, target[1])
			}
		}
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(doc, -1) {
			if !tests[name] {
				t.Errorf("%s: there is no test %s", path, name)
			}
		}
	}
	if found < 100 {
		t.Errorf("the docs name only %d things", found)
	}
}

// The table "Where to look" of docs/design.md leads to files, and to functions in one of a row's files.
func TestWhereToLook(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(readDoc(t, "docs/design.md"), "| what happens | where | test |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "-") {
			continue
		}
		rows++
		dir, code, functions := "", "", regexp.MustCompile("`[^`]*`").ReplaceAllString(cells[2], "")
		for _, path := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[2], -1) {
			if strings.Contains(path[1], "/") {
				dir = filepath.Dir(path[1])
			}
			if filepath.Ext(path[1]) != ".go" {
				if _, err := os.Stat(filepath.Join("..", path[1])); err != nil {
					t.Error(err)
				}
				continue
			}
			code += readDoc(t, filepath.Join(dir, filepath.Base(path[1])))
		}
		for _, name := range regexp.MustCompile(`\w+`).FindAllString(functions, -1) {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `[(\[]`).MatchString(code) {
				t.Errorf("%s: there is no function %s", strings.TrimSpace(cells[1]), name)
			}
		}
	}
	if rows < 15 {
		t.Errorf("found only %d rows", rows)
	}
}

// testNames are those of all tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	exists := map[string]bool{}
	for _, pattern := range []string{"../*/*_test.go", "../*/*/*_test.go", "../*/*/*/*_test.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			code, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`).FindAllSubmatch(code, -1) {
				exists[string(f[1])] = true
			}
		}
	}
	return exists
}

package integration

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// ourSite is where the repository's files are.
const ourSite = "https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/-/blob/main/"

// A link to a file of ours leads to it, and to a heading if it says so; one to another site is https. Nothing is fetched.
func TestDocsLinkToWhatExists(t *testing.T) {
	t.Parallel()
	pages := texts.Docs(t)
	pages["CHANGELOG.md"] = texts.Read(t, "CHANGELOG.md")
	for path, doc := range pages {
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(doc, -1) {
			link, ours := strings.CutPrefix(m[1], ourSite)
			if u, err := url.Parse(link); err != nil || u.IsAbs() {
				if err != nil || u.Scheme != "https" {
					t.Errorf("%s: %s is not https (%v)", path, link, err)
				}
				continue
			}
			file, heading, _ := strings.Cut(link, "#")
			if file == "" {
				file = path
			} else if !ours {
				file = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join("..", file)); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if heading != "" && !slices.Contains(headings(texts.Read(t, file)), heading) {
				t.Errorf("%s: no heading for %s", path, m[1])
			}
		}
	}
}

// headings are the anchors that GitLab makes of a doc's headings.
func headings(doc string) (anchors []string) {
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(doc, -1) {
		words := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		anchors = append(anchors, strings.ReplaceAll(words, " ", "-"))
	}
	return anchors
}

// The reference has every key of [runners.autoscaler] that this version of the runner knows.
func TestRunnerKeysInConfiguration(t *testing.T) {
	t.Parallel()
	doc := texts.Read(t, "docs/configuration.md")
	for _, table := range []reflect.Type{
		reflect.TypeFor[runnerconfig.Autoscaler](), reflect.TypeFor[runnerconfig.ScaleThrottle](),
		reflect.TypeFor[runnerconfig.StateStorage](), reflect.TypeFor[runnerconfig.Connector](), reflect.TypeFor[runnerconfig.Policy](),
	} {
		for f := range table.Fields() {
			if key := f.Tag.Get("toml"); !regexp.MustCompile("`(\\[*[a-z.]*\\.)?" + key + "[`\\]]").MatchString(doc) {
				t.Errorf("docs/configuration.md lacks %s of %s", key, table.Name())
			}
		}
	}
}

// elsewhere are names that docs may use and that the code has not.
const elsewhere = `assign_resource ssh_key ` + // of DigitalOcean's scopes
	`droplet_limit vpc_nat_gateways nat_gateway ` + // of its API
	`log_format runner_name system_id ` + // the runner's, and labels of its metrics
	// of docker+machine's runners
	`shutdown_drain max_retries retry_backoff pre_clone_script post_clone_script pre_get_sources_script ` +
	`post_get_sources_script tls_verify tls_cert_path metrics_server ` +
	`write_files ` + // of cloud-init
	`--volume --env ` + // of docker
	`--json` // an alias that help hides

var (
	underscored = regexp.MustCompile(`\b[a-z0-9]+(_[a-z0-9]+)+\b`)
	dashed      = regexp.MustCompile("(?m)(?:^|[\\s(`])(--[a-z][a-z-]+)")
	ours        = regexp.MustCompile("^`(--|fleeting-plugin-digitalocean |doctor |ls |rm |migrate )")
)

// What docs name is there: between backticks keys of the configuration, fields of the log, metrics and flags; anywhere
// targets of the Makefile, and tests.
func TestDocsNameWhatExists(t *testing.T) {
	t.Parallel()
	names, makefile, tests := elsewhere+" "+strings.Join(config.Keys(), " "), texts.Read(t, "Makefile"), ""
	for _, dir := range append(logging, "provider/runnerconfig") {
		for _, code := range sources(t, dir) {
			code = regexp.MustCompile(`(?m)^\s*//.*`).ReplaceAllString(code, "")
			for _, text := range regexp.MustCompile("\"[^\"\n]*\"|`[^`]*`").FindAllString(code, -1) {
				names += " " + strings.Join(underscored.FindAllString(text, -1), " ")
			}
		}
	}
	for _, verb := range []string{"doctor", "ls", "rm", "migrate", "report", "plan"} {
		help, err := exec.CommandContext(t.Context(), simulated.Plugin, verb, "--help").Output()
		if err != nil || !dashed.Match(help) {
			t.Errorf("%s --help: %v", verb, err)
		}
		names += " " + strings.Join(dashed.FindAllString(string(help), -1), " ")
	}
	for _, pattern := range []string{"*/*_test.go", "*/*/*_test.go"} {
		for _, code := range texts.Glob(t, pattern) {
			tests += code
		}
	}
	for _, s := range series() {
		names += " " + strings.Join(underscored.FindAllString(s, -1), " ")
	}
	known := map[string]bool{}
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return strings.ContainsRune(" \n\t(`", r) }) {
		known[name] = true
	}
	found := 0
	for path, doc := range texts.Docs(t) {
		for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(texts.Fenced.ReplaceAllString(doc, ""), -1) {
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
		for _, m := range regexp.MustCompile("(?m)(?:`|\\$ )make ([a-z-]+)").FindAllStringSubmatch(doc, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no %s", path, m[1])
			}
		}
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(doc, -1) {
			if !strings.Contains(tests, "\nfunc "+name+"(") {
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
	_, table, _ := strings.Cut(texts.Read(t, "docs/design.md"), "| what happens | where | test |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if strings.Count(table, "\n") < 15 {
		t.Errorf("found only %s", table)
	}
	for line := range strings.Lines(table) {
		where, dir, code := strings.Split(line, "|")[2], "", ""
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(where, -1) {
			path := m[1]
			if strings.Contains(path, "/") {
				dir = filepath.Dir(path)
			}
			if filepath.Ext(path) == ".go" {
				code += texts.Read(t, filepath.Join(dir, filepath.Base(path)))
			} else if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Error(err)
			}
		}
		for _, name := range regexp.MustCompile(`\w+`).FindAllString(regexp.MustCompile("`[^`]*`").ReplaceAllString(where, ""), -1) {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `[(\[]`).MatchString(code) {
				t.Errorf("%s: there is no function %s", line, name)
			}
		}
	}
}

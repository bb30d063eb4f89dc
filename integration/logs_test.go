package integration

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
)

// logging is what logs in the plugin.
var logging = []string{"instancegroup", "provider", "provider/digitalocean", "provider/state", "provider/inventory", "provider/catalog"}

// calls are those that name what docs/logs.md explains, some of one package only, with the number of that argument: lines of
// the log, by level, and reasons why a Droplet's life ends.
var calls = map[string]struct {
	arg  int
	kind string
}{
	"Trace": {0, "trace"}, "Debug": {0, "debug"}, "Info": {0, "info"}, "Warn": {0, "warn"}, "Error": {0, "error"},
	"warnFailed": {0, "warn"}, "warnAll": {0, "warn"}, "instancegroup warn": {1, "warn"},
	"instancegroup toDelete": {0, "reason"},
}

// written is an expression as it is written.
func written(e ast.Expr) string {
	var b strings.Builder
	_ = printer.Fprint(&b, token.NewFileSet(), e) // a Builder takes all
	return b.String()
}

// logTexts are what calls name, by kind. What varies is "..." in them.
func logTexts(t *testing.T) map[string]map[string]bool {
	t.Helper()
	texts := map[string]map[string]bool{"trace": {}, "debug": {}, "info": {}, "warn": {}, "error": {}, "reason": {}}
	for _, dir := range logging {
		var files []*ast.File
		constants := map[string]ast.Expr{} // of which texts are made
		for path, code := range sources(t, dir) {
			file, err := parser.ParseFile(token.NewFileSet(), path, code, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
			ast.Inspect(file, func(n ast.Node) bool {
				if d, ok := n.(*ast.ValueSpec); ok {
					for i, value := range d.Values {
						constants[d.Names[i].Name] = value
					}
				}
				return true
			})
		}
		add := func(kind string, e ast.Expr) {
			if text, ok := literal(e, constants); ok {
				texts[kind][text] = true
			} else if name := written(e); !slices.Contains([]string{"msg", "why", "w.What"}, name) {
				t.Errorf("%s: the %s %s is no literal, and none that a function in calls, or a warning with its own hint, hands on", dir, kind, name)
			}
		}
		see := func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				path := strings.Split(written(n.Fun), ".")
				name := path[len(path)-1]
				for _, name := range []string{name, dir + " " + name} {
					if c, ok := calls[name]; ok && len(n.Args) > c.arg {
						add(c.kind, n.Args[c.arg])
					}
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if f, ok := left.(*ast.SelectorExpr); ok && f.Sel.Name == "reason" && dir == "instancegroup" {
						add("reason", n.Rhs[i])
					}
				}
			}
			return true
		}
		for _, file := range files {
			ast.Inspect(file, see)
		}
	}
	if len(texts["warn"]) < 20 || len(texts["reason"]) < 5 {
		t.Fatalf("found only %v", texts)
	}
	return texts
}

// sources are the Go files of a directory, without tests, by their paths.
func sources(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := texts.Glob(t, dir+"/*.go")
	maps.DeleteFunc(files, func(path, _ string) bool { return strings.HasSuffix(path, "_test.go") })
	return files
}

// literal resolves a string literal, a constant, a sum of them, or the format of a Sprintf, whose verbs become "...".
func literal(e ast.Expr, constants map[string]ast.Expr) (text string, ok bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.Ident:
		value, ok := constants[e.Name]
		if ok {
			return literal(value, constants)
		}
	case *ast.BinaryExpr:
		left, ok := literal(e.X, constants)
		right, also := literal(e.Y, constants)
		return left + right, ok && also && e.Op == token.ADD
	case *ast.CallExpr:
		if written(e.Fun) == "fmt.Sprintf" {
			text, ok := literal(e.Args[0], constants)
			return regexp.MustCompile(`%\w( %\w)*`).ReplaceAllString(text, "..."), ok
		}
	}
	return "", false
}

// updateLogs is a flag of the tests, as make docs gives it.
var updateLogs = flag.Bool("update", false, "write the tables of docs/logs.md")

// logTable holds the table of docs/logs.md under that head to rows, which the code has: each without its last cell, the
// meaning, which only the doc has. With -update it writes the table: it keeps the meanings, and drops rows that are gone.
func logTable(t *testing.T, head string, rows []string) {
	t.Helper()
	const path = "docs/logs.md"
	doc := texts.Read(t, path)
	_, old, ok := strings.Cut(doc, "\n"+head)
	if !ok {
		t.Fatalf("%s has no table %s", path, head)
	}
	old, _, _ = strings.Cut(head+strings.TrimRight(old, "\n"), "\n\n")
	meanings := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)(`[^`]+`) \\| ([^|]+) \\|$").FindAllStringSubmatch(old, -1) {
		meanings[row[1]] = row[2]
	}
	table := head + "\n|" + strings.Repeat("---|", strings.Count(head, "|")-1)
	for _, row := range rows {
		text := row[strings.Index(row, "`"):]
		table += "\n" + row + " | " + meanings[text] + " |"
		if meanings[text] == "" {
			t.Errorf("%s: say what this means, or - if it says all: %s", path, text)
		}
	}
	if table != old && !*updateLogs {
		t.Errorf("%s is stale: run make docs\n%s", path, cmp.Diff(old, table))
	} else if table != old {
		if err := os.WriteFile(filepath.Join("..", path), []byte(strings.Replace(doc, old, table, 1)), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// Every line that the plugin can log, and every reason that it gives, is explained to operators, and no other is; the lines
// that docs show are of the code. Not parallel: with -update it writes what others read.
func TestLogReference(t *testing.T) {
	of := logTexts(t)
	var lines, reasons []string
	for _, level := range []string{"error", "warn", "info", "debug", "trace"} {
		for _, message := range slices.Sorted(maps.Keys(of[level])) {
			lines = append(lines, "| "+level+" | `"+message+"`")
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(of["reason"])) {
		reasons = append(reasons, "| `"+reason+"`")
	}
	logTable(t, "| level | line | meaning, and what to do |", lines)
	logTable(t, "| reason | what happened |", reasons)
	for path, doc := range texts.Docs(t) {
		for _, f := range texts.Fences(doc) {
			for example := range strings.Lines(f.Text) {
				message, _, _ := strings.Cut(strings.TrimSpace(example), "  ")
				if f.Kind == "log" && !strings.Contains(strings.Join(lines, "\n"), "`"+message+"`") {
					t.Errorf("%s: no code logs %q", path, message)
				}
			}
		}
	}
}

// The table of scopes names every request that the plugin makes, and, where DigitalOcean's specification is at hand,
// just the scopes that they need.
func TestDocsNameEveryRequestAndScope(t *testing.T) {
	t.Parallel()
	var requests, documented, scopes []string
	probe := regexp.MustCompile(`\?per_page=1$|%20|/0`) // asks for a scope in a way that changes nothing
	for _, code := range sources(t, "provider/digitalocean") {
		for _, m := range regexp.MustCompile(`"((?:GET|POST|PUT|PATCH|DELETE) /v2/[^"]+)"`).FindAllStringSubmatch(code, -1) {
			// doctor's, for private Droplets, is below the table, since the specification lacks it.
			if !probe.MatchString(m[1]) && m[1] != "GET /v2/vpc_nat_gateways" {
				requests = append(requests, m[1])
			}
		}
	}
	_, table, _ := strings.Cut(texts.Read(t, "docs/security.md"), "| for | scopes |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range regexp.MustCompile("(?m)^\\| [^|]+ \\| (`[^|]+`) \\| (`[^|]+`) \\|").FindAllStringSubmatch(table, -1) {
		scopes = append(scopes, strings.Split(strings.Trim(row[1], "`"), "`, `")...)
		documented = append(documented, strings.Split(strings.Trim(row[2], "`"), "`, `")...)
	}
	sameSet(t, "requests", requests, documented)

	specification := os.Getenv(contract.Env)
	if specification == "" {
		t.Skipf("scopes are not checked: set %s", contract.Env)
	}
	spec, err := openapi3.NewLoader().LoadFromFile(specification)
	if err != nil {
		t.Fatal(err)
	}
	template := regexp.MustCompile(`\{[^}]*\}`)
	specified := map[string]*openapi3.Operation{}
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			specified[method+" "+template.ReplaceAllString(path, "{}")] = operation
		}
	}
	// A create requires the first; tagging a Droplet changes it; Droplets are created with tags, and listed by one.
	needed := []string{"actions:read", "droplet:update", "tag:create", "tag:read"}
	for _, r := range requests {
		operation := specified[template.ReplaceAllString(r, "{}")]
		if operation == nil {
			t.Errorf("not in the specification: %s", r)
			continue
		}
		for _, requirement := range *operation.Security {
			needed = append(needed, requirement["bearer_auth"]...)
		}
	}
	sameSet(t, "scopes", needed, scopes)
}

// sameSet fails unless the code and docs/security.md have the same.
func sameSet(t *testing.T, what string, code, doc []string) {
	t.Helper()
	set := func(all []string) []string { return slices.Compact(slices.Sorted(slices.Values(all))) }
	if diff := cmp.Diff(set(code), set(doc)); diff != "" {
		t.Errorf("%s of the code (-) and of docs/security.md (+):\n%s", what, diff)
	}
}

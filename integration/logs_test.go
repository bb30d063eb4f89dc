package integration

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
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
)

// logging is what logs in the plugin.
var logging = []string{"instancegroup", "provider", "provider/digitalocean", "provider/state", "provider/inventory", "provider/catalog"}

// loggers are the functions that log, some of one package only, with the number of the argument that is the message, and
// the level.
var loggers = map[string]struct {
	arg   int
	level string
}{
	"Trace": {0, "trace"}, "Debug": {0, "debug"}, "Info": {0, "info"}, "Warn": {0, "warn"}, "Error": {0, "error"},
	"warnFailed": {0, "warn"}, "warnAll": {0, "warn"}, "instancegroup warn": {1, "warn"},
}

// handedOn are the messages that are no literals where they are logged: of a function in loggers, and of warnings that
// bring their own hint.
var handedOn = []string{"msg", "w.What"}

// source is the Go code of directories, without tests: the files, and the constants, of which messages are made.
type source struct {
	files     []*ast.File
	constants map[string]ast.Expr
}

func readSource(t *testing.T, dirs ...string) source {
	t.Helper()
	s := source{constants: map[string]ast.Expr{}}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no code in %s: %v", dir, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			s.files = append(s.files, file)
		}
	}
	s.inspect(func(n ast.Node) {
		if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
			for _, spec := range d.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, value := range spec.Values {
					s.constants[spec.Names[i].Name] = value
				}
			}
		}
	})
	return s
}

func (s source) inspect(see func(ast.Node)) {
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool { see(n); return true })
	}
}

// literals are all strings in the code, concatenated where the code does so.
func (s source) literals() map[string]bool {
	all := map[string]bool{}
	s.inspect(func(n ast.Node) {
		if e, ok := n.(ast.Expr); ok {
			if text, ok := s.literal(e); ok {
				all[text] = true
			}
		}
	})
	return all
}

// literal resolves a string literal, a constant, a sum of them, or the format of a Sprintf, whose verbs become "...".
func (s source) literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.Ident:
		if value, ok := s.constants[e.Name]; ok {
			return s.literal(value)
		}
	case *ast.BinaryExpr:
		left, ok := s.literal(e.X)
		right, also := s.literal(e.Y)
		return left + right, ok && also && e.Op == token.ADD
	case *ast.CallExpr:
		if nameIn(e.Fun) == "fmt.Sprintf" {
			text, ok := s.literal(e.Args[0])
			return regexp.MustCompile(`%\w( %\w)*`).ReplaceAllString(text, "..."), ok
		}
	}
	return "", false
}

// nameIn is an expression that is a name, such as w.What; of others, their kind.
func nameIn(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return nameIn(e.X) + "." + e.Sel.Name
	}
	return fmt.Sprintf("%T", e)
}

// calls sees every call of a function or method, by its name without a package or receiver.
func (s source) calls(see func(name string, args []ast.Expr)) {
	s.inspect(func(n ast.Node) {
		if call, ok := n.(*ast.CallExpr); ok {
			name := nameIn(call.Fun)
			see(name[strings.LastIndex(name, ".")+1:], call.Args)
		}
	})
}

// logLines are the lines that the code can log: "warn Droplets stay ...".
func logLines(t *testing.T) map[string]bool {
	t.Helper()
	lines := map[string]bool{}
	for _, dir := range logging {
		s := readSource(t, dir)
		s.calls(func(name string, args []ast.Expr) {
			l, logs := loggers[name]
			if !logs {
				l, logs = loggers[dir+" "+name]
			}
			if !logs || len(args) <= l.arg {
				return
			}
			if message, ok := s.literal(args[l.arg]); ok {
				lines[l.level+" "+message] = true
			} else if e := nameIn(args[l.arg]); !slices.Contains(handedOn, e) {
				t.Errorf("%s: the message %s is no literal, and not in the list of those that need not be", dir, e)
			}
		})
	}
	if len(lines) < 30 {
		t.Fatalf("found only %d lines: %v", len(lines), lines)
	}
	return lines
}

// updateLogs is a flag of the tests, as make docs gives it.
var updateLogs = flag.Bool("update", false, "write the tables of docs/logs.md")

// logTable holds the table of docs/logs.md under that head to rows, which the code has: each without its last cell, the
// meaning, which only the doc has. With -update it writes the table: it keeps the meanings, and drops rows that are gone.
func logTable(t *testing.T, head string, rows []string) {
	t.Helper()
	const path = "docs/logs.md"
	doc := readDoc(t, path)
	at := strings.Index(doc, head)
	if at < 0 {
		t.Fatalf("%s has no table %s", path, head)
	}
	old, _, _ := strings.Cut(strings.TrimSpace(doc[at:]), "\n\n")
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

// sameSet fails unless the code and a doc have the same.
func sameSet(t *testing.T, code, doc map[string]bool, what, path string) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(code)), slices.Sorted(maps.Keys(doc))); diff != "" {
		t.Errorf("%s of the code (-) and of %s (+):\n%s", what, path, diff)
	}
}

// Every line that the plugin can log is explained to operators, at its level, and no other is; the lines that docs show
// are of the code. Not parallel: with -update it writes what others read.
func TestLogReference(t *testing.T) {
	messages := map[string]bool{}
	rows := map[string][]string{} // by level
	for _, line := range slices.Sorted(maps.Keys(logLines(t))) {
		level, message, _ := strings.Cut(line, " ")
		messages[message] = true
		rows[level] = append(rows[level], "| "+level+" | `"+message+"`")
	}
	logTable(t, "| level | line | meaning, and what to do |", slices.Concat(rows["error"], rows["warn"], rows["info"], rows["debug"], rows["trace"]))
	for path, doc := range docs(t) {
		for _, f := range fences(doc) {
			for example := range strings.Lines(f.text) {
				if message, _, _ := strings.Cut(strings.TrimSpace(example), "  "); f.kind == "log" && !messages[message] {
					t.Errorf("%s: no code logs %q", path, message)
				}
			}
		}
	}
}

// The table of reasons has all that end a Droplet's life. Not parallel, as above.
func TestLogReasons(t *testing.T) {
	s := readSource(t, "instancegroup")
	given := map[string]bool{}
	give := func(e ast.Expr) {
		if text, ok := s.literal(e); ok && text != "" {
			given["| `"+text+"`"] = true
		} else if !ok && nameIn(e) != "why" { // handed on
			t.Errorf("the reason %s is no literal", nameIn(e))
		}
	}
	s.calls(func(name string, args []ast.Expr) {
		if arg, ok := map[string]int{"toDelete": 0, "hide": 1}[name]; ok {
			give(args[arg])
		}
	})
	s.inspect(func(n ast.Node) {
		if a, ok := n.(*ast.AssignStmt); ok {
			for i, left := range a.Lhs {
				if f, ok := left.(*ast.SelectorExpr); ok && f.Sel.Name == "reason" {
					give(a.Rhs[i])
				}
			}
		}
	})
	logTable(t, "| reason | what happened |", slices.Sorted(maps.Keys(given)))
}

// The table of scopes names every request that the plugin makes, and, where DigitalOcean's specification is at hand,
// just the scopes that they need.
func TestDocsNameEveryRequestAndScope(t *testing.T) {
	t.Parallel()
	requests, documented, scopes := map[string]bool{}, map[string]bool{}, map[string]bool{}
	request := regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE) /v2/`)
	probe := regexp.MustCompile(`\?per_page=1$|%20|/0`) // asks for a scope in a way that changes nothing
	for text := range readSource(t, "provider/digitalocean").literals() {
		if request.MatchString(text) && !probe.MatchString(text) {
			requests[text] = true
		}
	}
	delete(requests, "GET /v2/vpc_nat_gateways") // doctor's, for private Droplets: below the table, since the specification lacks it
	_, table, _ := strings.Cut(readDoc(t, "docs/security.md"), "| for | scopes |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range regexp.MustCompile("(?m)^\\| [^|]+ \\| (`[^|]+`) \\| (`[^|]+`) \\|").FindAllStringSubmatch(table, -1) {
		for _, s := range strings.Split(strings.Trim(row[1], "`"), "`, `") {
			scopes[s] = true
		}
		for _, r := range strings.Split(strings.Trim(row[2], "`"), "`, `") {
			documented[r] = true
		}
	}
	sameSet(t, requests, documented, "requests", "docs/security.md")

	specification := os.Getenv(contract.Env)
	if specification == "" {
		t.Skipf("scopes are not checked: set %s", contract.Env)
	}
	spec, err := openapi3.NewLoader().LoadFromFile(specification)
	if err != nil {
		t.Fatal(err)
	}
	template := regexp.MustCompile(`\{[^}]*\}`)
	anonymous := map[string]bool{} // requests, without the names of their parts
	for r := range requests {
		anonymous[template.ReplaceAllString(r, "{}")] = true
	}
	needed := map[string]bool{
		"actions:read":   true, // droplet:create requires it
		"droplet:update": true, // tagging a Droplet changes it
		"tag:create":     true, // Droplets are created with tags
		"tag:read":       true, // and listed by one
	}
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			if r := method + " " + template.ReplaceAllString(path, "{}"); anonymous[r] {
				delete(anonymous, r)
				for _, requirement := range *operation.Security {
					for _, scope := range requirement["bearer_auth"] {
						needed[scope] = true
					}
				}
			}
		}
	}
	if len(anonymous) > 0 {
		t.Errorf("not in the specification: %v", anonymous)
	}
	sameSet(t, needed, scopes, "scopes", "docs/security.md")
}

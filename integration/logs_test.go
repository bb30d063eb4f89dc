package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// logging is what logs in the plugin.
var logging = []string{"instancegroup", "provider", "provider/digitalocean", "provider/state", "provider/inventory", "provider/catalog"}

// dynamic are the calls of a logger whose message is no literal, by the file and
// the expression, with the formats that the message is made by.
var dynamic = map[string][]string{
	"instancegroup/logging.go msg": { // of warnFailed and warnAll
		"DigitalOcean did not delete Droplets; each is tried again until it does",
		"Droplets are missing from the list, and looking them up failed; they count as alive",
		"Droplets could not be assigned to the project; they stay in the default one",
		"listing fails and is tried again",
		"many Droplets could not be deleted by one tag; each is deleted by its id",
		"the token's requests are spent, by this plugin or by others; creates wait",
		"the token's requests are spent, by this plugin or by others; deletes wait",
	},
	"instancegroup/shutdown.go msg": { // of logLeft
		"Droplets stay, and are billed, until the next start takes them over",
		"Droplets were to be deleted, and DigitalOcean did not accept it: they stay, and are billed",
		"DigitalOcean accepted to delete Droplets, and has not been seen to do it: they may still be billed",
		"Droplets are kept by a person, and billed",
		"Droplets of another plugin process stay, and are billed",
	},
	"provider/catalog/checks.go w.What": nil, // warnings, each of which brings its own hint
	"provider/log.go msg":             nil, // hands on what others log
}

// anyField stands for fields that are not told where a line is logged.
const anyField = "..."

// logLine is a line that the plugin can log.
type logLine struct{ level, message string }

// source is the Go code of a directory, without its tests.
type source map[string]*ast.File // by path from the root of the repository

func readSource(t *testing.T, dirs ...string) source {
	t.Helper()
	parsed.Lock()
	defer parsed.Unlock()
	s := source{}
	for _, dir := range dirs {
		if parsed.dirs[dir] == nil {
			one, err := parseDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			parsed.dirs[dir] = one
		}
		maps.Copy(s, parsed.dirs[dir])
	}
	return s
}

var parsed = struct {
	sync.Mutex
	dirs map[string]source
}{dirs: map[string]source{}}

func parseDir(dir string) (source, error) {
	s := source{}
	paths, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s[dir+"/"+filepath.Base(path)] = file
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("no code in %s", dir)
	}
	return s, nil
}

// literals are all strings in the code, concatenated where the code does so.
func (s source) literals() map[string]bool {
	all := map[string]bool{}
	for _, file := range s {
		ast.Inspect(file, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if text, ok := literal(e); ok {
					all[text] = true
				}
			}
			return true
		})
	}
	return all
}

// literal resolves a string literal, or a sum of them.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.Ident:
		if value, ok := constants()[e.Name]; ok {
			return literal(value)
		}
	case *ast.BinaryExpr:
		left, ok := literal(e.X)
		right, also := literal(e.Y)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}

// constants are those of package instancegroup, of which messages and reasons are made.
var constants = sync.OnceValue(func() map[string]ast.Expr {
	all := map[string]ast.Expr{}
	code, _ := parseDir("instancegroup") // as readSource has it, which says what is wrong
	for _, file := range code {
		for _, d := range file.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.CONST {
				for _, s := range d.Specs {
					s := s.(*ast.ValueSpec)
					for i, value := range s.Values {
						all[s.Names[i].Name] = value
					}
				}
			}
		}
	}
	return all
})

// logLines are the lines that the code can log, with the names of their fields.
func logLines(t *testing.T) map[logLine][]string {
	t.Helper()
	lines := map[logLine][]string{}
	unused := maps.Clone(dynamic)
	for path, file := range readSource(t, logging...) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Trace", "Debug", "Info", "Warn", "Error"}, method.Sel.Name) {
				return true
			}
			message, ok := literal(call.Args[0])
			messages := []string{message}
			if !ok {
				where := path + " " + types.ExprString(call.Args[0])
				formats, known := dynamic[where]
				if !known {
					t.Errorf("%s: this message is no literal, and not in the list of those that need not be", where)
				}
				delete(unused, where)
				messages = nil
				written := readSource(t, filepath.Dir(path)).literals()
				for _, f := range formats {
					if !written[f] {
						t.Errorf("%s: no message is made by %q", where, f)
					}
					messages = append(messages, strings.ReplaceAll(f, "%s", "..."))
				}
			}
			var fields []string
			for i := 1; i < len(call.Args); i += 2 {
				name, ok := literal(call.Args[i])
				if !ok && !call.Ellipsis.IsValid() {
					t.Errorf("%s: the name of a field of %q is no literal", path, messages)
				}
				fields = append(fields, name)
			}
			if call.Ellipsis.IsValid() {
				fields = append(fields, anyField)
			}
			for _, m := range messages {
				line := logLine{strings.ToLower(method.Sel.Name), m}
				if before, twice := lines[line]; twice {
					t.Errorf("%q is logged in two places, with %v and %v: an operator cannot tell them apart", m, before, fields)
				}
				lines[line] = fields
			}
			return true
		})
	}
	for call := range unused {
		t.Errorf("%s is listed as a dynamic message and is none", call)
	}
	if len(lines) < 30 {
		t.Fatalf("found only %d lines: %v", len(lines), lines)
	}
	return lines
}

// Every line that the plugin can log is explained to operators, at its level, and
// no other is.
func TestLogLinesInOperations(t *testing.T) {
	t.Parallel()
	doc := readDoc(t, "docs/operations.md")
	documented := map[logLine]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (trace|debug|info|warn|error) \\| `([^`]+)` \\| [^|]+ \\|$").FindAllStringSubmatch(doc, -1) {
		line := logLine{row[1], row[2]}
		if documented[line] {
			t.Errorf("%v is explained twice", line)
		}
		documented[line] = true
	}
	byMessage := func(a, b logLine) int { return strings.Compare(a.message, b.message) }
	want := slices.SortedFunc(maps.Keys(logLines(t)), byMessage)
	got := slices.SortedFunc(maps.Keys(documented), byMessage)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(logLine{})); diff != "" {
		t.Errorf("lines of the code (-) and of docs/operations.md (+):\n%s", diff)
	}
}

// The lines of the log that docs show are of the code, with fields that they have.
func TestLogExamplesInDocs(t *testing.T) {
	t.Parallel()
	fieldsOf := map[string][]string{}
	for line, fields := range logLines(t) {
		fieldsOf[line.message] = fields
	}
	found := 0
	for path, doc := range docs(t) {
		for example := range strings.Lines(strings.Join(blocks(doc, "log"), "")) {
			found++
			message, rest, _ := strings.Cut(strings.TrimSpace(example), "  ")
			fields, known := fieldsOf[message]
			if !known {
				t.Errorf("%s: no code logs %q", path, message)
				continue
			}
			for _, f := range regexp.MustCompile(`(\w+)=("[^"]*"|\S+)`).FindAllStringSubmatch(rest, -1) {
				if !slices.Contains(fields, f[1]) && !slices.Contains(fields, anyField) {
					t.Errorf("%s: %q has no field %s; it has %v", path, message, f[1], fields)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("found only %d examples", found)
	}
}

// Every reason that operators are told of is one that the code gives, and the
// table has all that end a life.
func TestLogReasonsInOperations(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(readDoc(t, "docs/operations.md"), "| reason | what happened |")
	table, _, _ = strings.Cut(table, "\n\n")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		documented = append(documented, row[1])
	}

	// The code gives one to toDelete or hide, or sets it.
	given := map[string]bool{}
	reason := func(e ast.Expr) {
		if call, ok := e.(*ast.CallExpr); ok { // of fmt.Sprintf
			e = call.Args[0]
		}
		if text, ok := literal(e); ok && text != "" {
			given[regexp.MustCompile(`%\w( %\w)*`).ReplaceAllString(text, "...")] = true
		} else if types.ExprString(e) != "why" { // handed on
			t.Errorf("the reason %s is no literal", types.ExprString(e))
		}
	}
	why := map[string]int{"toDelete": 0, "hide": 1} // the argument that is one
	for _, file := range readSource(t, "instancegroup") {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok {
					if i, ok := why[f.Sel.Name]; ok {
						reason(n.Args[i])
					}
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if f, ok := left.(*ast.SelectorExpr); ok && f.Sel.Name == "reason" {
						reason(n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(given)), slices.Sorted(slices.Values(documented))); diff != "" {
		t.Errorf("reasons of the code (-) and of docs/operations.md (+):\n%s", diff)
	}
}

// The table of scopes names every request that the plugin makes, and, where
// DigitalOcean's specification is at hand, just the scopes that they need.
func TestDocsNameEveryRequestAndScope(t *testing.T) {
	t.Parallel()
	code := map[string]bool{}
	source := readSource(t, "provider/digitalocean")
	delete(source, "provider/digitalocean/scopes.go") // which asks for each scope in a way that changes nothing
	for text := range source.literals() {
		if regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE) /v2/`).MatchString(text) {
			code[text] = true
		}
	}

	delete(code, "GET /v2/vpc_nat_gateways") // doctor's, for private Droplets: below the table, since the specification lacks it

	_, table, _ := strings.Cut(readDoc(t, "docs/security.md"), "| for | scopes |")
	table, _, _ = strings.Cut(table, "\n\n")
	spans := func(cell string) []string {
		return strings.FieldsFunc(strings.ReplaceAll(cell, "`, `", "`"), func(r rune) bool { return r == '`' })
	}
	scopes := map[string]bool{}
	documented := map[string]bool{}
	byRequest := map[string][]string{} // the scopes of its row
	var every []string
	for _, row := range regexp.MustCompile("(?m)^\\| ([^|]+) \\| (`[^|]+`) \\| (`[^|]+`) \\|").FindAllStringSubmatch(table, -1) {
		if row[1] == "every group" {
			every = spans(row[2])
		}
		for _, s := range spans(row[2]) {
			scopes[s] = true
		}
		for _, r := range spans(row[3]) {
			documented[r] = true
			byRequest[r] = append(spans(row[2]), every...)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(code)), slices.Sorted(maps.Keys(documented))); diff != "" {
		t.Errorf("requests of the code (-) and of docs/security.md (+):\n%s", diff)
	}

	specification := os.Getenv(contract.Env)
	if specification == "" {
		t.Logf("scopes are not checked: set %s", contract.Env)
		return
	}
	spec, err := openapi3.NewLoader().LoadFromFile(specification)
	if err != nil {
		t.Fatal(err)
	}
	template := regexp.MustCompile(`\{[^}]*\}`)
	needed := map[string]bool{
		"actions:read":   true, // droplet:create requires it
		"droplet:update": true, // tagging a Droplet changes it
		"tag:create":     true, // Droplets are created with tags
		"tag:read":       true, // and listed by one
	}
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			for request, have := range byRequest {
				if template.ReplaceAllString(request, "{}") != method+" "+template.ReplaceAllString(path, "{}") {
					continue
				}
				delete(byRequest, request)
				for _, requirement := range *operation.Security {
					for _, scope := range requirement["bearer_auth"] {
						needed[scope] = true
						if !slices.Contains(have, scope) {
							t.Errorf("%s needs %s, its row has %v", request, scope, have)
						}
					}
				}
			}
		}
	}
	if len(byRequest) > 0 {
		t.Errorf("not in the specification: %v", byRequest)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(needed)), slices.Sorted(maps.Keys(scopes))); diff != "" {
		t.Errorf("scopes that are needed (-) and those of docs/security.md (+):\n%s", diff)
	}
}

// docs are README.md and what is in docs/, by path.
func docs(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"README.md": readDoc(t, "README.md")}
	for _, path := range paths {
		all[path] = readDoc(t, filepath.Join("integration", path))
	}
	if len(all) < 4 {
		t.Fatalf("found only %v", slices.Collect(maps.Keys(all)))
	}
	return all
}

// A key of plugin_config that a doc names is one.
func TestDocsNameKeysThatExist(t *testing.T) {
	t.Parallel()
	found := 0
	for path, doc := range docs(t) {
		for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(doc, -1) {
			for _, key := range regexp.MustCompile(`plugin_config\.(\w+)`).FindAllStringSubmatch(span, -1) {
				found++
				if !slices.Contains(config.Keys(), key[1]) {
					t.Errorf("%s: plugin_config has no %s", path, key[1])
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("the docs name only %d keys", found)
	}
}

// testNames are those of all tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	exists := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, f := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`).FindAllSubmatch(code, -1) {
			exists[string(f[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return exists
}

// A test that a doc names is one: what "which test shows it" is worth.
func TestDocsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	exists := testNames(t)
	found := 0
	for path, doc := range docs(t) {
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(doc, -1) {
			found++
			if !exists[name] {
				t.Errorf("%s: there is no %s", path, name)
			}
		}
	}
	if found < 10 {
		t.Errorf("the docs name only %d tests", found)
	}
}

// A link from one doc to another leads to a file, and to a heading if it says so.
func TestDocsLinkToWhatExists(t *testing.T) {
	t.Parallel()
	for path, doc := range docs(t) {
		for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(doc, -1) {
			file, heading, _ := strings.Cut(link[1], "#")
			target := doc // of a link to a heading of the same doc
			if file != "" {
				file = filepath.Join("..", filepath.Dir(strings.TrimPrefix(path, "../")), file)
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

// headings are the anchors that GitLab makes of a doc's headings.
func headings(doc string) []string {
	var anchors []string
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(doc, -1) {
		words := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		anchors = append(anchors, strings.ReplaceAll(words, " ", "-"))
	}
	return anchors
}

package config

import (
	"flag"
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of docs/configuration.md")

// row is a row of the reference: a field of Config.
type row struct {
	field    string
	keys     []string
	types    string
	fallback string // what counts when no key is given
	meaning  string
}

// reference is made of the comments and tags of Config's fields.
func reference(t *testing.T) []row {
	t.Helper()
	file, err := goparser.ParseFile(token.NewFileSet(), "config.go", nil, goparser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == "Config" {
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				first, _, _ := strings.Cut(f.Doc.Text(), "\n\n")
				comments[f.Names[0].Name] = strings.Join(strings.Fields(first), " ")
			}
		}
		return true
	})
	var rows []row
	for f := range reflect.TypeFor[Config]().Fields() {
		r := row{f.Name, strings.Split(f.Tag.Get("key"), ", "), f.Tag.Get("type"), f.Tag.Get("default"), comments[f.Name]}
		if r.keys[0] == "" || r.types == "" || r.fallback == "" || !strings.HasSuffix(r.meaning, ".") {
			t.Errorf("Config.%s lacks a tag or a comment of whole sentences: %+v", f.Name, r)
		}
		rows = append(rows, r)
	}
	return rows
}

// table is the reference as Markdown.
func table(rows []row) string {
	var s strings.Builder
	s.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, r := range rows {
		fallback := regexp.MustCompile(`\b\w+_\w+\b`).ReplaceAllString(r.fallback, "`$0`") // a key
		if isLiteral(r.fallback) {
			fallback = "`" + r.fallback + "`"
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", strings.Join(r.keys, "`, `"), r.types, fallback, strings.ReplaceAll(r.meaning, "|", `\|`))
	}
	return s.String()
}

// isLiteral tells whether a default is a TOML value rather than words.
func isLiteral(fallback string) bool {
	return regexp.MustCompile(`^("|true$|false$|\d)`).MatchString(fallback)
}

// The table in docs/configuration.md is what Config says.
func TestReference(t *testing.T) {
	const path = "../../docs/configuration.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- generated from provider/config/config.go by make docs -->\n\n", "\n<!-- end of what is generated -->"
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table, between %q and %q", path, begin, end)
	}
	rows := reference(t)
	if old == table(rows) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: run make docs", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+table(rows)+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The reference has every key, in the order of the code.
func TestReferenceHasEveryKey(t *testing.T) {
	t.Parallel()
	var documented []string
	for _, r := range reference(t) {
		documented = append(documented, r.keys...)
	}
	if !slices.Equal(documented, Keys()) {
		t.Errorf("the reference has %v, the code %v", documented, Keys())
	}
}

// What the reference calls required is a fault when it is missing, and the defaults
// are those of the code.
func TestReferenceDefaults(t *testing.T) {
	t.Parallel()
	_, err := Parse(nil, emptyHost)
	var required []string
	for _, f := range err.(Faults) { //nolint:errorlint // Parse promises its type
		if strings.HasPrefix(f.Text, "is required") {
			required = append(required, f.Key)
		}
	}
	got := reflect.ValueOf(accept(t, `{}`, emptyHost))
	for _, r := range reference(t) {
		if want := slices.Contains(required, r.keys[0]); strings.HasPrefix(r.fallback, "required") != want {
			t.Errorf("%s: the reference says %q, the code requires %v", r.keys[0], r.fallback, required)
		} else if want {
			continue
		}
		value := got.FieldByName(r.field)
		written := fmt.Sprintf("%v", value.Interface())
		switch v := value.Interface().(type) {
		case string:
			written = fmt.Sprintf("%q", v)
		case time.Duration:
			written = fmt.Sprintf("%q", strings.TrimSuffix(v.String(), "0s"))
		}
		if isLiteral(r.fallback) {
			if written != r.fallback {
				t.Errorf("%s: the reference says the default is %s, it is %s", r.keys[0], r.fallback, written)
			}
		} else if !value.IsZero() {
			t.Errorf("%s: the reference says %q, the default is %s", r.keys[0], r.fallback, written)
		}
	}
}

// A value of a type that the reference names is not refused for its type, and any
// other is.
func TestReferenceTypes(t *testing.T) {
	t.Parallel()
	samples := map[kind]string{aString: `"x"`, aNumber: `1`, aBoolean: `true`, aList: `["x"]`, aTable: `{"fra1": "x"}`}
	for _, r := range reference(t) {
		for _, key := range r.keys {
			for kind, sample := range samples {
				_, err := Parse(fmt.Appendf(nil, `{%q: %s}`, key, sample), emptyHost)
				refused := slices.ContainsFunc(err.(Faults), func(f Fault) bool { //nolint:errorlint // Parse promises its type
					return f.Key == key && strings.HasSuffix(f.Text, ", not "+string(kind))
				})
				_, name, _ := strings.Cut(string(kind), " ")
				if named := slices.Contains(regexp.MustCompile(`\w+`).FindAllString(r.types, -1), name); named == refused {
					t.Errorf("%s: the reference says %q; that %s is refused is %v", key, r.types, kind, refused)
				}
			}
		}
	}
}

package config

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/configuration.md")

// rows returns the keys of each row of the reference; the first has the texts.
func rows() (rows [][]key) {
	for _, k := range new(parser).keys() {
		if k.help == "" {
			rows[len(rows)-1] = append(rows[len(rows)-1], k)
		} else {
			rows = append(rows, []key{k})
		}
	}
	return rows
}

// reference is the table of keys as Markdown.
func reference() string {
	var s strings.Builder
	s.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, row := range rows() {
		var names []string
		for _, k := range row {
			names = append(names, k.name)
		}
		k := row[0]
		fallback := regexp.MustCompile(`\b\w+_\w+\b`).ReplaceAllString(k.fallback, "`$0`") // a key
		if isLiteral(k.fallback) {
			fallback = "`" + k.fallback + "`"
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", strings.Join(names, "`, `"), k.types, fallback, strings.ReplaceAll(k.help, "|", `\|`))
	}
	return s.String()
}

// isLiteral reports whether a default is a TOML value rather than words.
func isLiteral(fallback string) bool {
	return regexp.MustCompile(`^("|true$|false$|\d)`).MatchString(fallback)
}

// TestReference pins that the table in docs/configuration.md is that of the code.
func TestReference(t *testing.T) {
	const path = "../../docs/configuration.md"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- generated from provider/config/keys.go by make docs -->\n\n", "\n<!-- end of what is generated -->"
	before, rest, ok := strings.Cut(string(content), begin)
	old, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table, between %q and %q", path, begin, end)
	}
	if old == reference() {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: run make docs", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+reference()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestReferenceIsTrue pins that what the reference calls required is a fault when it is missing, that a default which it
// gives may as well be written, and that a value is refused for its type if and only if the reference lacks that type.
func TestReferenceIsTrue(t *testing.T) {
	t.Parallel()
	samples := map[string]string{"string": `"x"`, "number": `1`, "boolean": `true`, "list": `["x"]`, "table": `{"fra1": "x"}`}
	_, err := Parse(nil, emptyHost)
	missing := faultsOf(err)
	byDefault := dump(accept(t, `{}`, emptyHost))
	for _, row := range rows() {
		k := row[0]
		if !strings.HasSuffix(k.help, ".") || k.types == "" || k.fallback == "" {
			t.Errorf("%s lacks a type, a default or whole sentences", k.name)
		}
		if want := strings.HasPrefix(k.fallback, "required"); missing.Has(k.name) != want {
			t.Errorf("%s: the reference says %q, without it the faults are\n%v", k.name, k.fallback, missing)
		}
		if isLiteral(k.fallback) {
			if written := dump(accept(t, fmt.Sprintf(`{%q: %s}`, k.name, k.fallback), emptyHost)); !slices.Equal(written, byDefault) {
				t.Errorf("%s: the reference says the default is %s, which makes %v of %v", k.name, k.fallback, written, byDefault)
			}
		}
		for _, one := range row {
			for kind, sample := range samples {
				_, err := Parse(fmt.Appendf(nil, `{%q: %s}`, one.name, sample), emptyHost)
				refused := slices.ContainsFunc(faultsOf(err), func(f Fault) bool {
					return f.Key == one.name && strings.HasSuffix(f.Text, ", not a "+kind)
				})
				named := strings.Contains(k.types, kind)
				if named == refused {
					t.Errorf("%s: the reference says %q; that %s is refused is %t", one.name, k.types, kind, refused)
				}
			}
		}
	}
}

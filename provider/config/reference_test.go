package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/configuration.md")

// reference is the table of keys as Markdown.
func reference() string {
	var s strings.Builder
	s.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range new(parser).keys() {
		fallback := regexp.MustCompile(`\b\w+_\w+\b`).ReplaceAllString(k.fallback, "`$0`") // a key
		if json.Valid([]byte(k.fallback)) {
			fallback = "`" + k.fallback + "`"
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", k.name, strings.Join(typesOf(k.schema), " or "), fallback, strings.ReplaceAll(k.help, "|", `\|`))
	}
	return s.String()
}

// typesOf returns what a schema takes, as TOML calls it.
func typesOf(schema object) []string {
	if name, ok := schema["type"].(string); ok {
		return []string{strings.NewReplacer("integer", "number", "array", "list", "object", "table").Replace(name)}
	}
	var types []string
	for _, one := range schema["anyOf"].([]object) {
		for _, name := range typesOf(one) {
			if !slices.Contains(types, name) {
				types = append(types, name)
			}
		}
	}
	return types
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

// TestReferenceIsTrue: what the reference calls required is a fault when it is missing, and a default that it gives may as
// well be written.
func TestReferenceIsTrue(t *testing.T) {
	t.Parallel()
	_, err := Parse(nil, emptyHost)
	missing := faultsOf(err)
	byDefault := dump(accept(t, `{}`, emptyHost))
	for _, k := range new(parser).keys() {
		if want := strings.HasPrefix(k.fallback, "required"); missing.Has(k.name) != want || !strings.HasSuffix(k.help, ".") {
			t.Errorf("%s: the reference says %q, without it the faults are\n%v", k.name, k.fallback, missing)
		}
		if json.Valid([]byte(k.fallback)) {
			if written := dump(accept(t, fmt.Sprintf(`{%q: %s}`, k.name, k.fallback), emptyHost)); !slices.Equal(written, byDefault) {
				t.Errorf("%s: the reference says the default is %s, which makes %v of %v", k.name, k.fallback, written, byDefault)
			}
		}
	}
}

package migrate

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rulesTable is Rules as Markdown, a table for each section.
func rulesTable() string {
	var s strings.Builder
	code := func(text string) string {
		if text == "" {
			return ""
		}
		return "`" + strings.ReplaceAll(text, ", ", "`, `") + "`"
	}
	where := ""
	for _, r := range Rules {
		if r.Where != where {
			where = r.Where
			fmt.Fprintf(&s, "\n| %s | becomes | |\n|---|---|---|\n", code(where))
		}
		fmt.Fprintf(&s, "| %s | %s | %s |\n", code(r.Old), code(r.New), words.ReplaceAllString(r.Why, "`$0`"))
	}
	return strings.TrimPrefix(s.String(), "\n")
}

// words are those that are code.
var words = regexp.MustCompile(`\b[a-z]+(_[a-z]+)+\b|%s|--write|\b(IdleScaleFactor|IdleCount|OffPeakPeriods)\b`)

// The table in docs/migrate.md is what Rules says.
func TestRulesInDocs(t *testing.T) {
	const path = "../../docs/migrate.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- generated from provider/migrate/rules.go by make docs -->\n\n", "<!-- end of what is generated -->"
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table, between %q and %q", path, begin, end)
	}
	table := rulesTable() + "\n"
	if *update && old != table {
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table, old); diff != "" {
		t.Errorf("%s is not what the code says (make docs writes it), -code +doc:\n%s", path, diff)
	}
}

// A rule says something: what a key becomes, or why it does not.
func TestRulesAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules {
		if seen[r.Old] || r.New == "" && r.Why == "" {
			t.Errorf("%+v, or there are two", r)
		}
		seen[r.Old] = true
	}
}

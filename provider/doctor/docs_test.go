package doctor

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docs/commands.md has every check, in the order in which they are made.
func TestChecksAreInTheDocs(t *testing.T) {
	var documented, made []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z][a-z-]*)` \\| [^|]* \\|$").FindAllStringSubmatch(read(t, "commands.md"), -1) {
		documented = append(documented, row[1])
	}
	for _, c := range checks {
		made = append(made, c.name)
	}
	if diff := cmp.Diff(append(made, "boot"), documented); diff != "" {
		t.Errorf("checks of the code (-) and of docs/commands.md (+):\n%s", diff)
	}
}

// The versions that doctor goes by are those of docs/configuration.md.
func TestSinceIsInTheDocs(t *testing.T) {
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]*) \| [^|]* \| (\d+\.\d+) \|`).FindAllStringSubmatch(read(t, "configuration.md"), -1) {
		for _, key := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			documented[key[1]] = row[2]
		}
	}
	known := maps.Clone(since)
	known["failure_threshold"] = "18.3" // has no effect in any
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("versions in doctor (-) and in docs/configuration.md (+):\n%s", diff)
	}
}

// The scopes that doctor looks for are those that docs/security.md lists.
func TestNeedsAreInTheDocs(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "security.md"), "## The token")
	table, _, _ = strings.Cut(table, "\n\nSome of these")
	documented, needed := map[string]bool{}, map[string]bool{}
	for row := range strings.Lines(table) {
		if columns := strings.Split(row, "|"); len(columns) > 2 {
			for _, scope := range regexp.MustCompile("`([a-z_]+:[a-z_]+)`").FindAllStringSubmatch(columns[2], -1) {
				documented[scope[1]] = true
			}
		}
	}
	for _, n := range needs {
		for _, scope := range n.scopes {
			needed[scope] = true
		}
	}
	if diff := cmp.Diff(documented, needed); diff != "" {
		t.Errorf("scopes in the docs (-) and in doctor (+):\n%s", diff)
	}
}

package doctor

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs/commands.md has every check, in the order in which they are made.
func TestChecksAreInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z][a-z-]*)` \\| [^|]* \\|$").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, row[1])
	}
	var made []string
	for _, c := range checks {
		made = append(made, c.name)
	}
	made = append(made, "boot")
	if diff := cmp.Diff(made, documented); diff != "" {
		t.Errorf("checks of the code (-) and of docs/commands.md (+):\n%s", diff)
	}
}

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readDoc(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The README's short table names keys that there are, with the defaults of the whole
// one.
func TestKeysInReadme(t *testing.T) {
	t.Parallel()
	rows := func(doc string) map[string]string { // by keys, the default
		found := map[string]string{}
		for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|.*$").FindAllStringSubmatch(doc, -1) {
			cells := strings.Split(strings.Trim(row[0], "| "), " | ")
			found[row[1]] = cells[len(cells)-1]
			if len(cells) == 4 { // key, type, default, meaning
				found[row[1]] = cells[2]
			}
		}
		return found
	}
	_, table, _ := strings.Cut(readDoc(t, "README.md"), "\n## Configuration\n")
	table, _, _ = strings.Cut(table, "\n## ")
	reference, _, _ := strings.Cut(readDoc(t, "docs/configuration.md"), "\n## `[runners.autoscaler]`")
	whole := rows(reference)
	short := rows(table)
	if len(short) < 5 {
		t.Errorf("found only %v", short)
	}
	for keys, fallback := range short {
		if whole[keys] != fallback {
			t.Errorf("%s: the default is %q in the README, %q in docs/configuration.md", keys, fallback, whole[keys])
		}
	}
}

// The README shows how all faults of a configuration come in one error. It is what a
// user would see.
func TestErrorsInReadme(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	want := strings.TrimSpace(blocks(readDoc(t, "README.md"), "text")[1])
	c := w.config(map[string]any{"regoin": "fra1", "size": "s-2vcpu-4g", "max_instances": "10"})
	delete(c, "region")
	r, err := initRunner(t.Context(), c)
	if err == nil {
		r.Kill()
		t.Fatal("it is accepted")
	}
	if !strings.HasSuffix(err.Error(), "desc = "+want) {
		t.Errorf("the README says\n%s\nthe plugin says\n%v", want, err)
	}
}

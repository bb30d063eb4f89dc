package integration

import (
	"maps"
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

// The README quotes errors. They are what a user would see.
func TestErrorsInReadme(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	quoted := strings.Split(strings.TrimSpace(blocks(readDoc(t, "README.md"), "text")[1]), "\n")
	wrong := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(wrong, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, change := range []map[string]any{
		{"regoin": "fra1", "region": nil},
		{"size": "s-2vcpu-4g", "name": "readme-size"},
		{"token_file": wrong, "token": nil, "name": "readme-token"},
	} {
		c := w.config(change)
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		r, err := initRunner(t.Context(), c)
		if err == nil {
			r.Kill()
			t.Fatalf("%v is accepted", change)
		}
		want := strings.ReplaceAll(quoted[i], "/etc/gitlab-runner/digitalocean-token", wrong)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the README says\n%s\nthe plugin says\n%v", want, err)
		}
	}
}

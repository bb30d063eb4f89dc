// Package texts reads what people read and paste: the docs, the examples, and what is in them. It is for tests.
package texts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
)

// Glob returns the files of the repository that match, by path from its root.
func Glob(t testing.TB, pattern string) map[string]string {
	t.Helper()
	root := ".."
	for _, err := os.Stat(root + "/go.mod"); err != nil && len(root) < 20; _, err = os.Stat(root + "/go.mod") {
		root += "/.."
	}
	files := map[string]string{}
	paths, err := fs.Glob(os.DirFS(root), pattern)
	for _, path := range paths {
		content, failed := os.ReadFile(filepath.Join(root, path))
		err = errors.Join(err, failed)
		files[path] = string(content)
	}
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: there is no %s: %v", root, pattern, err)
	}
	return files
}

// Read reads a file of the repository.
func Read(t testing.TB, path string) string {
	t.Helper()
	return Glob(t, path)[path]
}

// Docs are README.md, CONTRIBUTING.md and what is in docs/, by path from the root of the repository.
func Docs(t testing.TB) map[string]string {
	t.Helper()
	all := Glob(t, "docs/*.md")
	for _, path := range []string{"README.md", "CONTRIBUTING.md"} {
		all[path] = Read(t, path)
	}
	return all
}

// Fence is one fenced block of a doc, without its indentation.
type Fence struct {
	Line int    // of the doc, on which its text begins
	Kind string // console, toml ...; empty for none
	Text string
}

// Fenced matches a fenced block of a doc.
var Fenced = regexp.MustCompile("(?ms)^( *)```(\\w*)[^\n]*\n(.*?)^ *```$")

// Fences are the fenced blocks of a doc, in its order.
func Fences(doc string) (all []Fence) {
	for _, m := range Fenced.FindAllStringSubmatchIndex(doc, -1) {
		indent, kind, text := doc[m[2]:m[3]], doc[m[4]:m[5]], doc[m[6]:m[7]]
		line := 1 + strings.Count(doc[:m[6]], "\n")
		all = append(all, Fence{line, kind, regexp.MustCompile("(?m)^"+indent).ReplaceAllString(text, "")})
	}
	return all
}

// YAML decodes a file of the repository.
func YAML[T any](t testing.TB, path string) (v T) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(Read(t, path)), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// The examples that have a configuration in them.
const (
	Kubernetes = "examples/kubernetes/values.yaml"
	Manager    = "examples/manager/cloud-init.yaml"
)

// A ManagerFile is one that the manager's cloud-init writes.
type ManagerFile struct{ Path, Owner, Permissions, Content string }

// ManagerFiles are all of them, by path.
func ManagerFiles(t testing.TB) map[string]ManagerFile {
	t.Helper()
	type config struct {
		WriteFiles []ManagerFile `yaml:"write_files"`
	}
	files := map[string]ManagerFile{}
	for _, f := range YAML[config](t, Manager).WriteFiles {
		files[f.Path] = f
	}
	return files
}

// Configurations are those of the docs and the examples, whole or in part, by where they are.
func Configurations(t testing.TB) map[string]string {
	t.Helper()
	chart := YAML[struct{ Runners struct{ Config string } }](t, Kubernetes)
	all := map[string]string{
		"examples/config.toml":      Read(t, "examples/config.toml"),
		"examples/demo/config.toml": Read(t, "examples/demo/config.toml"),
		Manager:                     ManagerFiles(t)["/etc/gitlab-runner/config.toml"].Content,
		Kubernetes:                  "concurrent = 10\n" + chart.Runners.Config, // the chart writes the first line itself
	}
	for path, doc := range Docs(t) {
		for _, f := range Fences(doc) {
			if f.Kind == "toml" {
				all[fmt.Sprintf("%s:%d", path, f.Line)] = f.Text
			}
		}
	}
	return all
}

// Migrated are the configurations that migrate makes in its own tests.
func Migrated(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for path, text := range Glob(t, "provider/migrate/testdata/*.txtar") {
		for _, f := range txtar.Parse([]byte(text)).Files {
			if f.Name == "out.toml" {
				all[path] = string(f.Data)
			}
		}
	}
	return all
}

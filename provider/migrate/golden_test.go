package migrate

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

// tokenFile is where the golden files' tokens are moved to.
const tokenFile = "/etc/gitlab-runner/digitalocean-token"

// golden is one file of testdata: a config.toml, what becomes of it, and what is said about it. files/... are those
// of the host.
type golden struct {
	name    string
	path    string
	archive *txtar.Archive
	files   map[string]string
}

func goldens(t testing.TB) []golden {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 9 {
		t.Fatalf("%d golden files, %v", len(paths), err)
	}
	var all []golden
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		g := golden{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), path: path, archive: a, files: map[string]string{}}
		for _, f := range a.Files {
			g.files[f.Name] = string(f.Data)
		}
		all = append(all, g)
	}
	return all
}

// optionsWith are those of a host with these files.
func optionsWith(files map[string]string) Options {
	return Options{TokenFile: tokenFile, StateDir: "/var/lib/gitlab-runner", Host: config.Host{
		Getenv: func(string) string { return "" },
		ReadFile: func(path string, _ int64) ([]byte, error) {
			if text, ok := files["files"+path]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}}
}

func notesText(r Result) string {
	var out strings.Builder
	for _, n := range r.Notes {
		fmt.Fprintf(&out, "%s: %s\n", n.Level, n.Message("config.toml"))
		if n.Hint != "" {
			out.WriteString("hint: " + n.Hint + "\n")
		}
	}
	return out.String()
}

// Every golden file's config.toml becomes what the file says, with just its notes. The runner and the plugin accept it.
func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			r := holds(t, g.files["in.toml"], optionsWith(g.files))
			got := map[string]string{"out.toml": r.Text, "notes": notesText(r)}
			if !r.Changed {
				got["out.toml"] = ""
			}
			if *update {
				g.write(t, got)
				return
			}
			for name, text := range got {
				if diff := cmp.Diff(g.files[name], text); diff != "" {
					t.Errorf("%s, -want +got:\n%s", name, diff)
				}
			}
			accepted(t, g.files, r)
		})
	}
}

func (g golden) write(t *testing.T, got map[string]string) {
	t.Helper()
	a := &txtar.Archive{Comment: g.archive.Comment}
	for _, f := range g.archive.Files {
		if _, ours := got[f.Name]; !ours {
			a.Files = append(a.Files, f)
		}
	}
	for _, name := range []string{"out.toml", "notes"} {
		if got[name] != "" {
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got[name])})
		}
	}
	if err := os.WriteFile(g.path, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// usersKeys stay as they were, and doctor alone says what is wrong with them.
var usersKeys = []string{"concurrent", "limit", "shutdown_timeout"}

// accepted asserts that the runner reads all of the result, that the plugin takes its plugin_config, and that doctor has no
// complaint but of what is the user's, which a note tells, or of usersKeys.
func accepted(t *testing.T, files map[string]string, r Result) {
	t.Helper()
	file, err := runnerconfig.Parse("config.toml", r.Text)
	if err != nil || len(file.Ignored) > 0 {
		t.Fatalf("%v, the runner would ignore %q", err, file.Ignored)
	}
	host := optionsWith(files).Host
	host.ReadFile = func(string, int64) ([]byte, error) { return []byte("dop_v1_0123456789abcdef"), nil }
	for _, runner := range file.Runners {
		a := runner.Autoscaler
		if a == nil || !slices.Contains(r.Groups, a.PluginConfig["name"].(string)) {
			continue
		}
		data, _ := json.Marshal(a.PluginConfig)
		c, err := config.Parse(data, host)
		if err != nil || !runner.OurPlugin() || c.MaxInstances != a.MaxInstances {
			t.Errorf("plugin %s, max_instances %d and %d, %v", a.Plugin, c.MaxInstances, a.MaxInstances, err)
		}
		s := doctor.Subject{File: file, Runner: runner, Config: c, Faults: err, Host: doctor.Host{Now: time.Now(), RunnerVersion: "19.2.0"}}
		for _, f := range doctor.Examine(t.Context(), nil, s) {
			told := func(n Note) bool { return n.Key != "" && strings.Contains(f.What, n.Key) }
			users := slices.ContainsFunc(usersKeys, func(key string) bool { return strings.HasPrefix(f.What, key+" is ") })
			if f.Level != doctor.OK && f.Level != doctor.Note && !users && !slices.ContainsFunc(r.Notes, told) {
				t.Errorf("doctor: %s: %s: %s", f.Level, f.Where, f.What)
			}
		}
	}
}

// Every key and option that is read is in the documentation, and every option in a golden file.
func TestKeysInDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, g := range goldens(t) {
		all.WriteString(g.files["in.toml"])
	}
	keys := slices.Sorted(maps.Keys(daemonLists))
	for _, f := range slices.Concat(reflect.VisibleFields(reflect.TypeFor[oldMachine]()), reflect.VisibleFields(reflect.TypeFor[oldIdle]())) {
		if f.IsExported() && f.Name != "Autoscaling" {
			keys = append(keys, f.Name)
		}
	}
	for name := range defaults {
		keys = append(keys, "digitalocean-"+name)
		if !strings.Contains(all.String(), "digitalocean-"+name) {
			t.Errorf("no golden file has digitalocean-%s", name)
		}
	}
	for _, key := range keys {
		if !strings.Contains(string(doc), "`"+key+"`") {
			t.Errorf("docs/migrate.md lacks %s", key)
		}
	}
}

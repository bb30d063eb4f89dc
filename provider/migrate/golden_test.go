package migrate

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

// tokenFile is where the golden files' tokens are moved to.
const tokenFile = "/etc/gitlab-runner/digitalocean-token"

// golden is one file of testdata: a config.toml, what becomes of it, and what is said
// about it.
type golden struct {
	name    string
	path    string
	archive *txtar.Archive
	files   map[string]string
}

func goldens(t testing.TB) []golden {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 16 {
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

// options are those that the file asks for: env has NAME=value lines; a file named
// catalog has DigitalOcean decide; files/... are those of the host.
func (g golden) options() Options {
	env := map[string]string{}
	for line := range strings.Lines(g.files["env"]) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[name] = value
	}
	o := optionsWith(env, g.files)
	if text, ok := g.files["catalog"]; ok {
		o.Catalog = &Catalog{Sizes: map[string][]string{}}
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			switch words[0] {
			case "region":
				o.Catalog.Regions = words[1:]
			case "image":
				o.Catalog.Images = words[1:]
			case "size":
				o.Catalog.Sizes[words[1]] = words[2:]
			}
		}
	}
	return o
}

// optionsWith are those of a host with these variables and files.
func optionsWith(env, files map[string]string) Options {
	return Options{TokenFile: tokenFile, StateDir: "/var/lib/gitlab-runner", Host: config.Host{
		Getenv: func(name string) string { return env[name] },
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
		out.WriteString(n.Format("config.toml"))
	}
	return out.String()
}

// Every golden file's config.toml becomes what the file says, with just its notes.
// The result is what the runner and the plugin accept, and is not migrated again.
func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			in := g.files["in.toml"]
			r := Migrate("config.toml", in, g.options())
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
			if r.Failed() {
				if r.Text != in || r.Secrets != nil {
					t.Error("a failed migration changes something")
				}
				return
			}
			again := Migrate("config.toml", r.Text, g.options())
			if again.Changed || again.Failed() || again.Text != r.Text {
				t.Errorf("migrating twice changes something:\n%s", notesText(again))
			}
			accepted(t, g, r)
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

// accepted asserts that the runner reads all of the result, and that the plugin takes
// its plugin_config.
func accepted(t *testing.T, g golden, r Result) {
	t.Helper()
	file, err := runnerconfig.Parse("config.toml", r.Text)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Ignored) > 0 {
		t.Errorf("the runner would ignore %q", file.Ignored)
	}
	migrated := 0
	for _, runner := range file.Runners {
		if !runner.OurPlugin() {
			continue
		}
		migrated++
		a := runner.Autoscaler
		if runner.Executor != "docker-autoscaler" || a.MaxInstances < 1 || a.CapacityPerInstance != 1 || a.UpdateInterval == 0 ||
			a.UpdateIntervalWhenExpecting == 0 || !a.StateStorage.Enabled || a.InstanceReadyCommand == "" ||
			!a.Connector.UseExternalAddr || a.Connector.ProtocolPort == 0 || len(a.Policy) == 0 {
			t.Errorf("%+v", a)
		}
		o := g.options()
		host := o.Host
		host.ReadFile = func(path string, limit int64) ([]byte, error) {
			if strings.HasPrefix(path, tokenFile) {
				return []byte("dop_v1_0123456789abcdef"), nil
			}
			return o.Host.ReadFile(path, limit)
		}
		c, err := config.Parse(mustJSON(t, a.PluginConfig), host)
		if err != nil {
			t.Error(err)
		}
		if c.MaxInstances != a.MaxInstances {
			t.Errorf("plugin_config.max_instances = %d, and the runner's %d: more than the plugin's fails Init", c.MaxInstances, a.MaxInstances)
		}
	}
	if migrated < r.Migrated {
		t.Errorf("%d runners of %d have this plugin", migrated, r.Migrated)
	}
}

// Every rule is met by a golden file, and so is every option of docker-machine's
// driver; and no note is about a key without a rule.
func TestRulesAreCovered(t *testing.T) {
	met := map[string]bool{}
	for _, g := range goldens(t) {
		for _, n := range Migrate("config.toml", g.files["in.toml"], g.options()).Notes {
			if n.Key != "" && !slices.ContainsFunc(Rules, func(r Rule) bool { return r.Old == n.Key }) {
				t.Errorf("%s: a note about %q, of which there is no rule", g.name, n.Key)
			}
			if n.Kind != "" {
				met[n.Key] = true
			}
		}
	}
	for _, r := range Rules {
		if !met[r.Old] {
			t.Errorf("no golden file has %s %s", r.Where, r.Old)
		}
	}
	for _, name := range driverOptions {
		if !met["digitalocean-"+name] {
			t.Errorf("no golden file has digitalocean-%s", name)
		}
	}
}

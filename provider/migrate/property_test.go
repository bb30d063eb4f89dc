package migrate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// bom is the byte order mark that some Windows editors put first.
const bom = "\ufeff"

// holds asserts what is so of any text.
func holds(t *testing.T, in string, o Options) Result {
	t.Helper()
	r := Migrate("config.toml", in, o)
	if r.Has(Error) && r.Changed || !r.Changed && (r.Text != in || r.Secrets != nil) {
		t.Errorf("it says that nothing changed, and something did")
	}
	if strings.Contains(notesText(r), "a fault of this command") {
		t.Errorf("%s\nof:\n%s", notesText(r), in)
	}
	if !r.Changed {
		return r
	}
	if again := Migrate("config.toml", r.Text, o); again.Changed || again.Has(Error) {
		t.Errorf("migrating twice changes something:\n%s\nof:\n%s", notesText(again), in)
	}
	if _, err := runnerconfig.Parse("config.toml", r.Text); err != nil {
		t.Errorf("the result does not parse: %v\n%s", err, r.Text)
	}
	untouched(t, in, r)
	old, new := meaning(t, in), meaning(t, r.Text)
	if !reflect.DeepEqual(old, new) {
		t.Errorf("it means something else beside the executor:\n%v\n%v\nof:\n%s", old, new, in)
	}
	shown := fmt.Sprintf("%s %+v %s %s", notesText(r), r.Notes, r.Mask(in), r.Mask(r.Text))
	for _, s := range r.known {
		if len(s.Reveal()) >= minRedact && strings.Contains(shown, s.Reveal()) {
			t.Errorf("%q is shown:\n%s", s.Reveal(), shown)
		}
	}
	return r
}

// untouched asserts that all outside of the migrated sections is there byte for byte.
func untouched(t *testing.T, in string, r Result) {
	t.Helper()
	out := r.Text
	d, err := scan(in)
	if err != nil {
		t.Fatal(err)
	}
	var f oldFile
	if _, err := toml.Decode(in, &f); err != nil {
		t.Fatal(err)
	}
	at := 0
	for i, s := range d.sections {
		if f.Runners[i].Executor == "docker+machine" && f.Runners[i].Machine.MachineDriver == "digitalocean" {
			before, after, ok := strings.Cut(out, in[at:s.start])
			if !ok || at == 0 && before != "" {
				t.Errorf("touched, and none of its business:\n%s\nin:\n%s", in[at:s.start], r.Text)
			}
			out, at = after, s.end
		}
	}
	if !strings.HasSuffix(out, in[at:]) {
		t.Errorf("touched, and none of its business:\n%s\nin:\n%s", in[at:], r.Text)
	}
}

// meaning decodes a text, without what is to differ.
func meaning(t *testing.T, text string) map[string]any {
	t.Helper()
	var all map[string]any
	if _, err := toml.Decode(text, &all); err != nil {
		t.Fatal(err)
	}
	strip(all, "")
	return all
}

var differs = []string{".runners.executor", ".runners.machine", ".runners.autoscaler", ".runners.request_concurrency",
	".runners.pre_clone_script", ".runners.pre_get_sources_script", ".runners.post_clone_script", ".runners.post_get_sources_script",
	".runners.docker.host", ".runners.docker.tls_verify", ".runners.docker.tls_cert_path"}

// strip takes out what differs, what the new section has of its own, and tables with nothing else in them.
func strip(table map[string]any, path string) {
	for name, value := range table {
		at := path + "." + strings.ToLower(name)
		list, _ := value.([]map[string]any)
		for _, one := range list {
			strip(one, at)
		}
		one, isTable := value.(map[string]any)
		strip(one, at)
		if slices.Contains(differs, at) || isTable && len(one) == 0 || at == ".runners.docker" && reflect.DeepEqual(one, map[string]any{"image": "alpine:latest"}) {
			delete(table, name)
		}
	}
}

// Any text at all: no panic, and what holds always holds.
func FuzzMigrate(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.files["in.toml"])
		f.Add(bom + strings.ReplaceAll(g.files["in.toml"], "\n", "\r\n"))
		f.Add(strings.TrimRight(g.files["in.toml"], "\n"))
	}
	f.Add(runnerWith("    \"Idle.Count\" = 1\n"))
	f.Add("[[runners]]\ndocker = false\nexecutor = \"docker+machine\"\nmachine.machinedriver = \"digitalocean\"\nmachine.machineoptions = [\"digitalocean-\"]\n")
	f.Add("[[runners]]\n\texecutor = 'docker+machine' # it is DO_ACCESS_TOKEN\n\tmachine = { MachineDriver = 'digitalocean', Unknown = { a = 1 }, " +
		"MachineOptions = ['digitalocean-access-token=DO_ACCESS_TOKEN', 'x-auth=DO_ACCESS_TOKEN'] }\n")
	f.Add(strings.Replace(runnerWith(""), "  limit", "  pre_clone_script = 'a'\n  pre_get_sources_script = 'b'\n  limit", 1))
	f.Add("[[runners]]\n[[Runners]]\nexecutor = \"docker+machine\"\n")
	f.Fuzz(func(t *testing.T, text string) { holds(t, text, none()) })
}

package migrate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"pgregory.net/rapid"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// bom is the byte order mark that some Windows editors put first.
const bom = "\ufeff"

// tester is of testing and rapid.
type tester interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
}

// holds asserts what is so of any text.
func holds(t tester, in string, o Options) Result {
	t.Helper()
	r := Migrate("config.toml", in, o)
	if r.Failed() && r.Changed || !r.Changed && (r.Text != in || r.Secrets != nil) {
		t.Errorf("it says that nothing changed, and something did")
	}
	if strings.Contains(notesText(r), "a fault of this command") {
		t.Errorf("%s\nof:\n%s", notesText(r), in)
	}
	if !r.Changed {
		return r
	}
	if again := Migrate("config.toml", r.Text, o); again.Changed || again.Failed() {
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
	shown := notesText(r) + string(mustJSON(t, r.Notes)) + r.Mask(in) + r.Mask(r.Text)
	for _, s := range r.known {
		if len(s.Reveal()) >= minRedact && strings.Contains(shown, s.Reveal()) {
			t.Errorf("%q is shown:\n%s", s.Reveal(), shown)
		}
	}
	return r
}

// untouched asserts that all outside of the migrated sections is there byte for byte.
func untouched(t tester, in string, r Result) {
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
func meaning(t tester, text string) map[string]any {
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
	f.Add("machine.shutdown_drain.enabled = true\n" + runnerWith(""))
	f.Add(strings.Replace(runnerWith(""), "  limit", "  pre_clone_script = 'a'\n  pre_get_sources_script = 'b'\n  limit", 1))
	f.Add("[[runners]]\n[[Runners]]\nexecutor = \"docker+machine\"\n")
	f.Fuzz(func(t *testing.T, text string) { holds(t, text, none()) })
}

// A made-up file of runners, of every layout: what holds always holds, and the token is in its file alone.
func TestAnyRunners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
		secret := draw("secret", "dop_v1_"+strings.Repeat("4f", 32), strings.Repeat("9a", 32), "not-like-a-token-at-all", "DO_ACCESS_TOKEN")
		comment := func() string { return draw("comment", "", "", " # a comment", " # it is "+secret+".") }
		unit := draw("unit", "", "  ", "\t", "    ")
		in := draw("mark", "", bom) + "concurrent = 10" + comment() + "\n"
		line := func(depth int, text string) { in += strings.Repeat(unit, depth) + text + comment() + "\n" }
		for n := range rapid.IntRange(1, 3).Draw(t, "runners") {
			if draw("other", "", "x") != "" {
				line(0, "[[runners]]")
				line(1, `executor = "shell"`)
				line(1, "environment = [\n  'A=1' ]")
			}
			line(0, "[[runners]]")
			line(1, `executor = "docker+machine"`)
			line(1, `pre_build_script = """`+"\n  a\n      # b\"\"\"")
			keys := []string{
				`MachineName = ` + draw("name", `"ci-%s"`, `'x%sy'`, `"%s"`, `"Ümläut-%s"`),
				"IdleCount = " + draw("idle", "0", "3"), "IdleTime = 60", `MachineDriver = "digitalocean"`,
				"IdleScaleFactor = " + draw("factor", "0.0", "0.5", "2"), "Unknown = " + draw("unknown", "1", `{ a = 1 }`, "[1,\n2]"),
				"MachineOptions = [" + draw("break", "", "\n") + strings.Join(rapid.Permutation([]string{
					toTOML("digitalocean-access-token=" + secret), `"digitalocean-image=coreos-stable"`, `"engine-opt=mtu=1400"`,
					toTOML("what-is-this=" + secret), `'digitalocean-ipv6'`,
				}).Draw(t, "options"), draw("between", ", ", ", # "+secret+"\n")) + "]",
			}
			keys = rapid.Permutation(keys).Draw(t, "keys")
			switch draw("layout", "sections", "inline", "dotted") {
			case "inline":
				keys = slices.DeleteFunc(keys, func(key string) bool { return strings.Contains(key, "\n") })
				line(1, "machine = { "+strings.Join(keys, ", ")+", MachineOptions = ['digitalocean-access-token="+secret+"'] }")
				in = strings.ReplaceAll(in, "]\n, MachineOptions", "]")
			case "dotted":
				for _, key := range keys {
					line(1, "machine."+key)
				}
			default:
				line(1, "[runners.docker]")
				line(2, fmt.Sprintf("image = 'alpine:%d'", n))
				line(1, "[runners.machine]")
				for _, key := range keys {
					line(2, key)
				}
				line(2, "[[runners.machine.autoscaling]]")
				line(3, `Periods = ["* * 9-17 * * mon-fri *"]`)
			}
		}
		in = strings.ReplaceAll(in, "\n", draw("end", "\n", "\r\n"))
		if _, err := toml.Decode(in, new(oldFile)); err != nil {
			t.Skip("no TOML")
		}
		r := holds(t, in, none())
		if !r.Changed || len(r.Secrets) != 1 || r.Secrets[0].Value.Reveal() != secret {
			t.Fatalf("not migrated:\n%s\nof:\n%s", notesText(r), in)
		}
		// What stays of the token, in comments, is told.
		if strings.Contains(r.Text, secret) != strings.Contains(notesText(r), "the access token stands on line") {
			t.Errorf("the token is in the text, or is not, and the notes say otherwise:\n%s\n%s", notesText(r), r.Text)
		}
	})
}

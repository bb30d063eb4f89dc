package migrate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
	"pgregory.net/rapid"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// holds asserts what is so of any text.
func holds(t interface {
	Helper()
	Errorf(string, ...any)
}, in string, o Options) Result {
	t.Helper()
	r := Migrate("config.toml", in, o)
	switch {
	case r.Failed() && (r.Changed || r.Text != in || r.Secrets != nil):
		t.Errorf("a failed migration changes something")
	case !r.Changed && r.Text != in:
		t.Errorf("the text differs, and nothing was migrated")
	}
	for _, n := range r.Notes {
		if strings.HasPrefix(n.Text, "a fault of this command") {
			t.Errorf("%s\nof:\n%s", n.Text, in)
		}
	}
	if !r.Changed {
		return r
	}
	if _, err := runnerconfig.Parse("config.toml", r.Text); err != nil {
		t.Errorf("the result does not parse: %v\n%s\nof:\n%s", err, r.Text, in)
	}
	if again := Migrate("config.toml", r.Text, o); again.Changed || again.Failed() {
		t.Errorf("migrating twice changes something:\n%s\nof:\n%s", notesText(again), in)
	}
	if block := firstTouched(in, r); block != "" {
		t.Errorf("touched, and none of its business:\n%s\nin:\n%s\nof:\n%s", block, r.Text, in)
	}
	return r
}

// firstTouched returns the first part of the old text that should be in the new one
// byte for byte, in the order of the file, and is not; "" when all are. A comment with
// the token that is moved is the one exception.
func firstTouched(in string, r Result) string {
	out := r.Text
	var tokens []config.Secret
	for _, s := range r.Secrets {
		tokens = append(tokens, s.Value)
	}
	doc, err := parse(in)
	if err != nil {
		return ""
	}
	runners, _, _ := doc.runners()
	migrated := map[string]bool{}
	for _, r := range runners {
		if e := r.text("executor"); strings.HasSuffix(e, "+machine") {
			migrated[fmt.Sprintf("runners.%d", r.index)] = true
		}
	}
	at := 0
	for i := range doc.blocks {
		b := &doc.blocks[i]
		root := strings.Join(strings.SplitN(b.path, ".", 4)[:min(2, strings.Count(b.path, ".")+1)], ".")
		rest := strings.TrimPrefix(strings.TrimPrefix(b.path, root), ".")
		if below(b.path, "machine") || migrated[root] && (rest == "" || below(rest, "machine") || below(rest, "docker") || below(rest, "cache")) {
			continue
		}
		start, end := b.header.start, b.header.end
		for _, it := range b.items {
			if it.key != nil {
				if below(it.path, "machine") {
					end = start // it is edited
					break
				}
				end = it.end
				if start == 0 && b.header.end == 0 {
					start = min(start, it.start)
				}
			}
		}
		want := in[start:end]
		found := strings.Index(out[at:], want)
		if found < 0 {
			want = redacted(want, tokens)
			found = strings.Index(out[at:], want)
		}
		if found < 0 {
			return want
		}
		at += found + len(want)
	}
	return ""
}

// Any text at all: no panic, and what holds always holds.
func FuzzMigrate(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.files["in.toml"])
		f.Add(strings.ReplaceAll(g.files["in.toml"], "\n", "\r\n"))
	}
	f.Add(runnerWith("    \"Idle.Count\" = 1\n"))
	f.Add("machine.shutdown_drain.enabled = true\n" + runnerWith(""))
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "~") {
			t.Skip() // paths of the shell's: a warning, and Init would refuse
		}
		holds(t, text, none())
	})
}

// A made-up file of runners, of every layout: what holds always holds, no comment is
// lost, and the secret is nowhere.
func TestAnyRunners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SampledFrom([]string{
			"dop_v1_" + strings.Repeat("4f", 32), strings.Repeat("9a", 32), "not-like-a-token-at-all", "DO_ACCESS_TOKEN",
		}).Draw(t, "secret")
		w := &writer{t: t, secret: secret, unit: rapid.SampledFrom([]string{"", "  ", "\t"}).Draw(t, "unit")}
		w.line(0, "concurrent = 10"+w.comment())
		for n := range rapid.IntRange(1, 3).Draw(t, "runners") {
			if rapid.Bool().Draw(t, "other") {
				w.line(0, "[[runners]]")
				w.line(1, `name = "other"`)
				w.line(1, `executor = "shell"`+w.comment())
				w.line(1, "environment = [ # variables")
				w.line(2, `"A=1",`+w.comment())
				w.line(1, "]"+w.comment())
			}
			w.runner(n)
		}
		in := strings.Join(w.lines, "\n")
		if rapid.Bool().Draw(t, "end") {
			in += "\n"
		}
		if rapid.Bool().Draw(t, "Windows") {
			in = strings.ReplaceAll(in, "\n", "\r\n")
		}

		r := holds(t, in, none())
		if r.Failed() || !r.Changed {
			t.Fatalf("not migrated:\n%s\nof:\n%s", notesText(r), in)
		}
		for _, comment := range w.comments {
			if want := redacted(comment, r.secrets); strings.Contains(in, comment) && !strings.Contains(r.Text, want) {
				t.Errorf("lost: %s\nin:\n%s\nof:\n%s", want, r.Text, in)
			}
		}
		outputs := map[string]string{
			"text":  r.Text,
			"notes": notesText(r),
			"json":  string(mustJSON(t, r.Notes)),
			"diff":  r.Redact(string(diff.Diff("old", []byte(in), "new", []byte(r.Text)))),
		}
		for name, text := range outputs {
			if strings.Contains(text, secret) {
				t.Errorf("the secret is in the %s:\n%s", name, text)
			}
		}
		if len(r.Secrets) != 1 || r.Secrets[0].Value.Reveal() != secret {
			t.Errorf("secrets: %v", r.Secrets)
		}
	})
}

// writer writes a config.toml.
type writer struct {
	t        *rapid.T
	unit     string
	secret   string
	lines    []string
	comments []string
}

func (w *writer) line(depth int, text string) {
	w.lines = append(w.lines, strings.Repeat(w.unit, depth)+text)
}

// comment returns one to stand behind something, or "". It may hold the secret.
func (w *writer) comment() string {
	switch rapid.IntRange(0, 5).Draw(w.t, "comment") {
	case 0, 1:
		c := fmt.Sprintf("# comment %d", len(w.comments))
		w.comments = append(w.comments, c)
		return " " + c
	case 2:
		c := fmt.Sprintf("# comment %d: %s.", len(w.comments), w.secret)
		w.comments = append(w.comments, c)
		return " " + c
	}
	return ""
}

func (w *writer) maybe(line func()) {
	if rapid.Bool().Draw(w.t, "there") {
		line()
	}
}

// cased spells a key in some case.
func (w *writer) cased(key string) string {
	return rapid.SampledFrom([]string{key, strings.ToLower(key), strings.ToUpper(key)}).Draw(w.t, "case")
}

func (w *writer) runner(n int) {
	w.line(0, "[[runners]]")
	w.line(1, fmt.Sprintf(`name = "runner %d"`, n))
	w.line(1, `executor = "docker+machine"`)
	w.maybe(func() { w.line(1, fmt.Sprintf("limit = %d", rapid.IntRange(0, 20).Draw(w.t, "limit"))) })

	keys := map[string]string{
		"IdleCount":       fmt.Sprint(rapid.IntRange(0, 9).Draw(w.t, "idle")),
		"IdleTime":        fmt.Sprint(rapid.IntRange(0, 999).Draw(w.t, "time")),
		"MachineDriver":   `"digitalocean"`,
		"MachineName":     rapid.SampledFrom([]string{`"ci-%s"`, `'x%sy'`, `"%s"`, `"Ümläut-%s"`}).Draw(w.t, "name"),
		"MachineOptions":  w.options(),
		"IdleScaleFactor": rapid.SampledFrom([]string{"", "0.5", "2", "0.0"}).Draw(w.t, "factor"),
		"MaxBuilds":       rapid.SampledFrom([]string{"", "10", "0"}).Draw(w.t, "builds"),
		"MaxGrowthRate":   rapid.SampledFrom([]string{"", "3"}).Draw(w.t, "growth"),
		"OffPeakPeriods":  rapid.SampledFrom([]string{"", `["* * * * * sat,sun *"]`}).Draw(w.t, "off-peak"),
		"Unknown":         rapid.SampledFrom([]string{"", "1", `"x"`, "{ a = 1 }", "[1,\n2]"}).Draw(w.t, "unknown"),
	}
	order := rapid.Permutation([]string{"IdleCount", "IdleTime", "MachineDriver", "MachineName", "MachineOptions", "IdleScaleFactor",
		"MaxBuilds", "MaxGrowthRate", "OffPeakPeriods", "Unknown"}).Draw(w.t, "order")

	docker := func() {
		w.line(1, "[runners.docker]")
		w.line(2, `image = "alpine"`)
		w.maybe(func() { w.line(2, "tls_verify = false") })
	}
	switch rapid.SampledFrom([]string{"sections", "inline", "dotted"}).Draw(w.t, "layout") {
	case "inline":
		var pairs []string
		for _, key := range order {
			if keys[key] != "" && !strings.Contains(keys[key], "\n") {
				pairs = append(pairs, w.cased(key)+" = "+keys[key])
			}
		}
		if strings.Contains(keys["MachineOptions"], "\n") { // which an inline table of old cannot hold
			pairs = append(pairs, `MachineOptions = ["digitalocean-access-token=`+w.secret+`"]`)
		}
		w.line(1, w.cased("machine")+" = { "+strings.Join(pairs, ", ")+" }"+w.comment())
		docker()
	case "dotted":
		for _, key := range order {
			if keys[key] != "" {
				w.line(1, "machine."+w.cased(key)+" = "+keys[key]+w.comment())
			}
		}
		docker()
	default:
		docker()
		w.line(1, "[runners.machine]"+w.comment())
		for _, key := range order {
			if keys[key] == "" {
				continue
			}
			if own := strings.TrimSpace(w.comment()); own != "" {
				w.line(2, own)
			}
			w.line(2, w.cased(key)+" = "+keys[key]+w.comment())
		}
		w.sections()
	}
}

// sections are some [[runners.machine.autoscaling]], with something between them or not.
func (w *writer) sections() {
	for range rapid.IntRange(0, 2).Draw(w.t, "sections") {
		w.maybe(func() {
			w.line(1, fmt.Sprintf("[runners.feature_flags_%d]", len(w.lines)))
			w.line(2, "A = true # of no concern")
		})
		if own := strings.TrimSpace(w.comment()); own != "" {
			w.line(1, own)
		}
		w.line(1, "[[runners.machine.autoscaling]]"+w.comment())
		w.maybe(func() { w.line(2, `Periods = ["* * 9-17 * * mon-fri *"]`+w.comment()) })
		w.maybe(func() { w.line(2, `Timezone = "UTC"`+w.comment()) })
		w.line(2, "IdleCount = 3"+w.comment())
	}
}

// options are some MachineOptions, on one line or several.
func (w *writer) options() string {
	all := []string{"digitalocean-access-token=" + w.secret}
	for _, o := range []string{
		"digitalocean-image=coreos-stable", "digitalocean-size=1gb", "digitalocean-region=fra1", "digitalocean-ipv6", "digitalocean-tags=a,b",
		"digitalocean-private-networking", "digitalocean-ssh-user=core", "engine-registry-mirror=http://10.0.0.1", "engine-opt=mtu=1400",
		"engine-env=A=B", "swarm-master", "what-is-this=" + w.secret,
	} {
		w.maybe(func() { all = append(all, o) })
	}
	all = rapid.Permutation(all).Draw(w.t, "options")
	if rapid.Bool().Draw(w.t, "one line") {
		return quoteAll(all)
	}
	var out strings.Builder
	out.WriteString("[\n")
	for _, o := range all {
		if own := strings.TrimSpace(w.comment()); own != "" {
			out.WriteString(own + "\n")
		}
		out.WriteString(quote(o) + "," + w.comment() + "\n")
	}
	if own := strings.TrimSpace(w.comment()); own != "" {
		out.WriteString(own + "\n")
	}
	out.WriteString("]")
	return out.String()
}

// Package migrate turns the docker+machine runners of a GitLab Runner's config.toml, those with docker-machine's
// digitalocean driver, into docker-autoscaler runners with this plugin.
//
// The new [[runners]] section takes the place of the old one, which stays below it as a comment. Everything outside of
// such sections stays byte for byte. The package reads no file and asks nobody but through its [Options].
package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Options is what the result depends on besides the text.
type Options struct {
	TokenFile       string      // absolute path that access tokens are moved to; each further one to this, "-" and the group's name
	TokenFileChosen bool        // somebody named it: DIGITALOCEAN_ACCESS_TOKEN is moved there too, in place of staying where it is
	StateDir        string      // absolute path of what outlives a restart: SSH keys, and the runner's memory of its instances
	Host            config.Host // that the runner is on: its environment, and the file of digitalocean-userdata
}

// Result is the new text and what a person has to know about it.
type Result struct {
	Text    string   // the old one, unless Changed
	Changed bool     // there was something to migrate, and it is migrated
	Runners int      // all of the file
	Groups  []string // of each runner that is migrated: its plugin_config.name
	Notes   []Note   // the worst first, then in the order of the old file
	Secrets []Secret // to be written before Text is used

	secrets []config.Secret // all of the old file
}

// Secret is a token that no longer is in the text, and the file that the text names in its place.
type Secret struct {
	File  string
	Value config.Secret
}

// Failed reports whether the text cannot be migrated. Nothing is changed then.
func (r Result) Failed() bool { return r.has(Error) }

// Works reports whether the result works as it stands, as far as is known without a look at the host and the account.
func (r Result) Works() bool { return !r.has(Error) && !r.has(Todo) }

func (r Result) has(level Level) bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Level == level })
}

// Mask returns the old text, or the new one, without secrets: for people's eyes.
func (r Result) Mask(text string) string {
	d, err := scan(strings.TrimPrefix(text, bom))
	if err != nil {
		return ""
	}
	return redacted(d.masked(span{0, len(d.text)}), r.secrets)
}

// Level is what a Note asks of a person.
type Level string

// The levels, the worst first. What stays as it was has no Note.
const (
	Error Level = "error" // nothing can be migrated before this is fixed
	Todo  Level = "todo"  // the result does not work before this is done
	Lost  Level = "lost"  // not converted, or without effect
	Check Level = "check" // converted to something else: look at it
)

// Note is about one setting of the old file. It never holds a secret.
type Note struct {
	Level  Level  `json:"level"`
	Line   int    `json:"line,omitempty"` // of the old file; 0 = none
	Runner string `json:"runner,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`
}

// Message returns what the note says, and where in the old file. path is that file's.
func (n Note) Message(path string) string {
	if n.Line > 0 {
		path += fmt.Sprintf(":%d", n.Line)
	}
	if n.Key != "" {
		path += ": " + n.Key
	}
	return path + ": " + n.Text
}

// Migrate returns what becomes of a config.toml. path is for messages.
func Migrate(path, text string, o Options) Result {
	m := &migration{Options: o, names: map[string]bool{}}
	plain, marked := strings.CutPrefix(text, bom)
	changed, ok := m.run(path, plain)
	levels := []Level{Error, Todo, Lost, Check}
	slices.SortStableFunc(m.notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(slices.Index(levels, a.Level), slices.Index(levels, b.Level)), cmp.Compare(a.Line, b.Line))
	})
	r := Result{Text: text, Notes: m.notes, Runners: len(m.file.Runners)}
	if m.doc != nil {
		r.secrets = m.doc.secrets
	}
	if !ok || r.Failed() {
		return r
	}
	if marked {
		changed = bom + changed
	}
	r.Text, r.Changed, r.Groups, r.Secrets = changed, true, m.groups, m.tokens
	return r
}

// migration carries one call of Migrate.
type migration struct {
	Options
	doc    *document
	file   oldFile
	names  map[string]bool // of groups, taken
	groups []string        // of the runners that are migrated
	tokens []Secret
	notes  []Note
}

// run returns the new text. ok reports whether there was anything to migrate.
func (m *migration) run(path, text string) (changed string, ok bool) {
	_, err := runnerconfig.Parse(path, text)
	if err == nil {
		m.file, err = readOld(text)
	}
	if err == nil {
		m.doc, err = scan(text)
	}
	if err == nil && len(m.doc.sections) != len(m.file.Runners) {
		err = fault{0, "runners is spelled in two ways, or written as one array in brackets", "write each runner as a [[runners]] section"}
	}
	if err != nil {
		m.refuse(path, err)
		return "", false
	}
	for _, r := range m.file.Runners {
		if r.Autoscaler != nil {
			m.names[r.Autoscaler.PluginConfig.Name] = true
		}
	}
	var edits []edit
	for i, r := range m.file.Runners {
		c := &conversion{migration: m, section: m.doc.sections[i], old: r}
		if r.Executor != "docker+machine" {
			continue
		}
		if r.Machine.MachineDriver != "digitalocean" {
			c.note(Check, c.line("machine.machinedriver"), "MachineDriver", "left alone: only digitalocean is migrated", "")
			continue
		}
		edits = append(edits, edit{c.span, c.convert()})
	}
	if len(m.groups) == 0 {
		return "", false
	}
	m.leftovers()
	changed = edited(text, span{0, len(text)}, edits)
	m.check(path, changed)
	return changed, true
}

// say files a note, without the secrets of the file.
func (m *migration) say(n Note) {
	n.Key, n.Text, n.Hint = m.doc.redact(n.Key), m.doc.redact(n.Text), m.doc.redact(n.Hint)
	m.notes = append(m.notes, n)
}

// where matches how errors begin that know their line: the decoder's, and those of [runnerconfig.Parse] behind the path.
var where = regexp.MustCompile(`^(?:toml: line |:)(\d+):? (.*)$`)

// refuse says why the file is not migrated: mostly because the runner does not read it either.
func (m *migration) refuse(path string, err error) {
	f, _ := errors.AsType[fault](err)
	for text := range strings.SplitSeq(err.Error(), "\n") {
		n := Note{Level: Error, Line: f.line, Text: strings.TrimPrefix(strings.TrimPrefix(text, path), ": ")}
		n.Hint = cmp.Or(f.hint, "the runner does not take the file either: fix it first")
		if w := where.FindStringSubmatch(n.Text); w != nil {
			n.Line, _ = strconv.Atoi(w[1])
			n.Text = w[2]
		}
		n.Text = redacted(n.Text, nil)
		m.notes = append(m.notes, n)
	}
}

// leftovers is about what is outside of [[runners]] and has no effect on the new ones. It stays.
func (m *migration) leftovers() {
	if m.file.MetricsServer != "" {
		m.say(Note{Level: Check, Line: m.doc.line("metrics_server"), Key: "metrics_server", Text: "the runner ignores it since 12.0",
			Hint: fmt.Sprintf("listen_address = %q", m.file.MetricsServer)})
	}
	if line := m.doc.line("machine"); line > 0 {
		m.say(Note{Level: Check, Line: line, Key: "[machine]", Text: "no migrated runner uses it any more",
			Hint: "remove it, unless another docker+machine runner is left"})
	}
}

// check reads the result as the runner will, and finds the tokens that are left in it.
func (m *migration) check(path, text string) {
	if _, err := runnerconfig.Parse(path, text); err != nil {
		m.say(Note{Level: Error, Text: "a fault of this command: the result cannot be read: " + err.Error(),
			Hint: "please report it, with the file but without its secrets"})
	}
	for _, t := range m.tokens {
		if i := strings.Index(text, t.Value.Reveal()); i >= 0 && len(t.Value.Reveal()) >= minRedact {
			m.say(Note{Level: Check, Text: fmt.Sprintf("the access token stands on line %d of the new file too", 1+strings.Count(text[:i], "\n")),
				Hint: "replace it once the token is a new one"})
		}
	}
}

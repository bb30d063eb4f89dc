// Package migrate turns the docker+machine runners of a GitLab Runner's config.toml,
// those with docker-machine's digitalocean driver, into docker-autoscaler ones with
// this plugin.
//
// It works on the bytes of the text: what it has no business with comes out as it
// went in, comments and line ends included. Everything that it changes has a [Note].
// It reads no file and asks nobody but through its [Options].
package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Options is what the result depends on besides the text.
type Options struct {
	// TokenFile is where access tokens are moved to: the first one to this path, each
	// further one to this path with "-" and the group's name. Required.
	TokenFile string

	// TokenFileChosen tells that somebody named TokenFile: a token of the environment is
	// moved there too. Without it such a token stays in the environment.
	TokenFileChosen bool

	// StateDir is where what outlives a restart is kept: the SSH keys, and the runner's
	// memory of its instances. Required.
	StateDir string

	// Host is the machine that the runner is on: the environment that docker-machine
	// had (DIGITALOCEAN_...), and the file of digitalocean-userdata.
	Host config.Host

	// Catalog is what DigitalOcean offers; nil = the built-in table decides.
	Catalog *Catalog
}

// Catalog is what DigitalOcean offers to the account.
type Catalog struct {
	Sizes   map[string][]string // by slug, the regions that have it
	Regions []string            // that take new Droplets
	Images  []string            // public slugs
}

// Result is the new text and what is to be said about it.
type Result struct {
	Text     string   // the old one, unless Changed
	Changed  bool     // there was something to migrate, and it is migrated
	Migrated int      // runners
	Runners  int      // all of the file
	Groups   []string // of those that are migrated: their plugin_config.name
	Notes    []Note   // in the order of the old file
	Secrets  []Secret // to be written before Text is used

	secrets []config.Secret // all of the old file
}

// Redact returns a text, such as a diff, without the secrets of the old file and
// whatever else looks like one.
func (r Result) Redact(text string) string { return redacted(text, r.secrets) }

// Secret is a token that no longer is in the text, and the file that the text names
// in its place.
type Secret struct {
	File  string
	Value config.Secret
}

// Failed tells that the text cannot be migrated: a Note is an error. Nothing is
// changed then.
func (r Result) Failed() bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Severity == Error })
}

// Severity is how much a Note matters.
type Severity string

// The severities.
const (
	Info    Severity = "note"    // all is as it was
	Warning Severity = "warning" // something differs, or is to be looked at
	Error   Severity = "error"   // nothing can be migrated before this is mended
)

// Kind is what became of a key.
type Kind string

// The kinds. A Note about something else than the fate of a key has none.
const (
	Converted    Kind = "converted"
	Approximated Kind = "approximated"
	Dropped      Kind = "dropped"
	Decision     Kind = "decision"
)

// Note says what became of a line of the old file. It never holds a secret.
type Note struct {
	Severity Severity `json:"severity"`
	Kind     Kind     `json:"kind,omitempty"`
	Line     int      `json:"line,omitempty"` // of the old file; 0 = none
	Runner   string   `json:"runner,omitempty"`
	Key      string   `json:"key,omitempty"` // as in Rules; empty when the note is about no key
	Text     string   `json:"text"`
	Hint     string   `json:"hint,omitempty"`
}

// Format is the note as people read it, in one line or two. path is the old file's.
func (n Note) Format(path string) string {
	at := path
	if n.Line > 0 {
		at = fmt.Sprintf("%s:%d", path, n.Line)
	}
	text := fmt.Sprintf("%s: %s: ", n.Severity, at)
	if n.Key != "" {
		text += n.Key + ": "
	}
	if n.Kind != "" {
		text += string(n.Kind) + ": "
	}
	text += n.Text + "\n"
	if n.Hint != "" {
		text += "hint: " + n.Hint + "\n"
	}
	return text
}

// Migrate does it. path is for messages.
func Migrate(path, text string, o Options) Result {
	m := &migration{options: o, edits: &edits{}, names: map[string]bool{}}
	result := func() Result {
		slices.SortStableFunc(m.notes, func(a, b Note) int {
			return cmp.Compare(uint(a.Line-1), uint(b.Line-1)) // what is on no line comes last
		})
		return Result{Text: text, Notes: m.notes, Runners: len(m.runners), secrets: m.redact}
	}
	if err := checkTOML(text); err != nil {
		m.notes = append(m.notes, syntaxNote(text, err))
		return result()
	}
	if _, err := runnerconfig.Parse(path, text); err != nil {
		all, ok := errors.AsType[runnerconfig.Misfits](err)
		if !ok {
			all = runnerconfig.Misfits{err}
		}
		for _, err := range all {
			m.notes = append(m.notes, refusalNote(path, err))
		}
		return result()
	}
	doc, err := parse(text)
	if err != nil {
		m.notes = append(m.notes, Note{Severity: Error, Text: "cannot be read: " + err.Error()})
		return result()
	}
	m.doc = doc
	var wrong string
	var line int
	if m.runners, wrong, line = doc.runners(); wrong != "" {
		m.notes = append(m.notes, Note{Severity: Error, Line: line, Text: wrong, Hint: "write each runner as a [[runners]] section"})
		return result()
	}
	m.run()
	r := result()
	if len(m.migrated) == 0 || r.Failed() {
		return r
	}
	changed := m.scrub(m.edits.apply(text))
	m.check(path, text, changed)
	if r = result(); r.Failed() {
		return r
	}
	r.Text, r.Changed, r.Migrated, r.Secrets = changed, true, len(m.migrated), m.secrets
	for _, c := range m.migrated {
		r.Groups = append(r.Groups, c.group)
	}
	return r
}

// migration carries one call of Migrate.
type migration struct {
	options  Options
	doc      *document
	runners  []*runner
	edits    *edits
	notes    []Note
	secrets  []Secret
	redact   []config.Secret // what no message may show
	names    map[string]bool // of groups, taken
	migrated []*conversion
	drain    drain
}

// run goes through the runners.
func (m *migration) run() {
	m.findSecrets()
	m.takeNames()
	m.readGlobal()
	left := 0 // docker+machine runners of other drivers
	for _, r := range m.runners {
		executor := r.get("executor")
		if executor == nil || executor.value.text != "docker+machine" && executor.value.text != "docker-ssh+machine" {
			continue
		}
		c := newConversion(m, r)
		if driver := r.text("machine.machinedriver"); driver != "digitalocean" && !c.seemsDigitalOcean(driver) {
			left++
			c.note(Note{Severity: Info, Line: c.lineOf("machine.machinedriver"),
				Text: fmt.Sprintf("is left alone: its driver is %q, and only digitalocean is migrated", driver)})
			continue
		}
		m.migrated = append(m.migrated, c)
		c.convert()
	}
	m.leaveGlobal(left > 0)
	m.elsewhere()
	switch {
	case m.failed():
	case len(m.migrated) == 0:
		m.notes = append(m.notes, Note{Severity: Info, Text: "nothing to migrate: no [[runners]] has a docker+machine executor with the digitalocean driver"})
	default:
		m.notes = append(m.notes, Note{Severity: Info, Text: "machines that docker-machine made are not taken over: they stay, and are billed",
			Hint: "stop the runner, look at docker-machine ls --filter driver=digitalocean, and if all of these are the runner's: " +
				"docker-machine rm -y $(docker-machine ls -q --filter driver=digitalocean)"})
	}
}

func (m *migration) failed() bool {
	return slices.ContainsFunc(m.notes, func(n Note) bool { return n.Severity == Error })
}

// checkTOML reads the text as the runner does.
func checkTOML(text string) error {
	var all map[string]any
	_, err := toml.Decode(text, &all)
	return err
}

// refusalNote says what the runner does not read, of a text that is TOML.
func refusalNote(path string, err error) Note {
	n := Note{Severity: Error, Text: strings.TrimPrefix(err.Error(), path+":"), Hint: "the runner refuses the file, too: mend it first"}
	if number, rest, ok := strings.Cut(n.Text, ": "); ok {
		if line, err := strconv.Atoi(number); err == nil {
			n.Line, n.Text = line, rest
		}
	}
	n.Text = strings.TrimSpace(n.Text)
	return n
}

// syntaxNote says where a text is not TOML.
func syntaxNote(text string, err error) Note {
	n := Note{Severity: Error, Text: "not TOML: " + strings.TrimPrefix(err.Error(), "toml: "), Hint: "mend it first; nothing was changed"}
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		// Its own line is one too far where a line ends too early.
		before := text[:min(max(pe.Position.Start, 0), len(text))]
		n.Line = 1 + strings.Count(before, "\n")
		n.Text = fmt.Sprintf("not TOML: column %d: %s", len(before)-strings.LastIndexByte(before, '\n'), pe.Message)
	}
	return n
}

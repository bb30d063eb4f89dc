// Package migrate turns the docker+machine runners of a GitLab Runner's config.toml, those with docker-machine's
// digitalocean driver, into docker-autoscaler runners with this plugin.
//
// Everything outside of such sections stays byte for byte. The package reads no file and asks nobody but through its [Options].
package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Options is what the result depends on besides the text.
type Options struct {
	TokenFile string      // absolute path that access tokens are moved to; each further one to this, "-" and the group's name
	StateDir  string      // absolute path of what outlives a restart: SSH keys, and the runner's memory of its instances
	Host      config.Host // that the runner is on: it has the file of digitalocean-userdata
}

// Result is the new text and what a person has to know about it.
type Result struct {
	Text    string   // the old one, unless Changed
	Changed bool     // there was something to migrate, and it is migrated
	Groups  []string // of each runner that is migrated: its plugin_config.name
	Notes   []Note   // the worst first, then in the order of the old file
	Secrets []Secret // to be written before Text is used

	known []config.Secret // all secrets of the old file
}

// Secret is a token that no longer is in the text, and the file that the text names in its place.
type Secret struct {
	File  string
	Value config.Secret
}

// Has reports whether a note is of one of the levels.
func (r Result) Has(levels ...Level) bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool { return slices.Contains(levels, n.Level) })
}

// Mask returns the old text, or the new one, without secrets: for people's eyes.
func (r Result) Mask(text string) string {
	d, err := scan(text)
	if err != nil {
		return ""
	}
	d.secrets = append(d.secrets, r.known...)
	return d.masked(span{0, len(text)})
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
	m := &migration{Options: o, Result: Result{Text: text}, doc: &document{}, unread: map[string]bool{}, names: map[string]bool{}}
	changed, err := m.run(path, text)
	if err != nil { // mostly what the runner does not read either
		f, _ := errors.AsType[runnerconfig.Fault](err)
		m.say(Note{Level: Error, Line: f.Line, Text: cmp.Or(f.Text, err.Error()), Hint: "fix the file first"})
	}
	levels := []Level{Error, Todo, Lost, Check}
	slices.SortStableFunc(m.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(slices.Index(levels, a.Level), slices.Index(levels, b.Level)), cmp.Compare(a.Line, b.Line))
	})
	m.known = m.doc.secrets
	if len(m.Groups) > 0 && !m.Has(Error) {
		m.Text, m.Changed = changed, true
	} else {
		m.Groups, m.Secrets = nil, nil
	}
	return m.Result
}

// migration carries one call of Migrate.
type migration struct {
	Options
	Result
	config *runnerconfig.File
	Old    oldFile
	doc    *document
	unread map[string]bool // keys that Old lacks, in lower case: runners.machine.offpeakperiods
	names  map[string]bool // of groups, taken
}

// run returns the new text. The error is a [runnerconfig.Fault].
func (m *migration) run(path, text string) (changed string, err error) {
	if m.config, err = runnerconfig.Parse(path, text); err != nil {
		return "", err
	}
	meta, err := runnerconfig.Decode(path, text, &m.Old)
	if err != nil {
		return "", err
	}
	for _, key := range meta.Undecoded() {
		m.unread[strings.ToLower(strings.Join(key, "."))] = true
	}
	drain := &m.Old.Machine.Drain // with the runner's defaults
	drain.Retries, drain.Backoff = cmp.Or(drain.Retries, 3), cmp.Or(drain.Backoff, 5*time.Second)
	if m.doc, err = scan(text); err != nil {
		return "", err
	}
	if len(m.doc.sections) != len(m.Old.Runners) {
		return "", runnerconfig.Fault{Text: "runners is spelled in two ways, or one array in brackets: write each as a [[runners]] section"}
	}
	for i, r := range m.config.Runners {
		m.Old.Runners[i].Index = i
		m.names[r.PluginKey("name")] = true
	}
	var edits []edit
	for i, r := range m.Old.Runners {
		if r.Executor == "docker+machine" && r.Machine.MachineDriver == "digitalocean" {
			c := &conversion{migration: m, section: m.doc.sections[i], Runner: r}
			edits = append(edits, edit{c.span, c.convert()})
		}
	}
	if len(m.Groups) > 0 && m.config.Has("metrics_server") {
		m.say(Note{Level: Check, Line: m.config.Line("metrics_server"), Key: "metrics_server",
			Text: "the runner ignores it since 12.0", Hint: "its name is listen_address"})
	}
	changed = edited(text, span{0, len(text)}, edits)
	if _, err = runnerconfig.Parse(path, changed); err != nil {
		return "", runnerconfig.Fault{Text: "a fault of this command, please report it: the result cannot be read: " + err.Error()}
	}
	return changed, nil
}

// say files a note, without the secrets of the file.
func (m *migration) say(n Note) {
	n.Key, n.Text, n.Hint = m.doc.redact(n.Key), m.doc.redact(n.Text), m.doc.redact(n.Hint)
	m.Notes = append(m.Notes, n)
}

// oldFile is what migrate reads of a config.toml, with the runner's own decoder: the case of keys does not matter.
type oldFile struct {
	Machine struct {
		Drain struct { // which is for all docker+machine runners
			Enabled bool
			Retries int           `toml:"max_retries"`
			Backoff time.Duration `toml:"retry_backoff"`
		} `toml:"shutdown_drain"`
	}
	Runners []oldRunner
}

// oldRunner is a [[runners]] with what the autoscaler does not know.
type oldRunner struct {
	runnerconfig.Runner

	Machine oldMachine
}

// oldMachine is [runners.machine].
type oldMachine struct {
	oldIdle
	MachineDriver      string
	MachineName        string
	MachineOptions     []string
	MaxBuilds          int
	MaxGrowthRate      int
	MaxRemovalAttempts int // deletions are repeated anyway
	Autoscaling        []oldIdle
}

// oldIdle is what docker+machine keeps idle: the root of [runners.machine], or one [[runners.machine.autoscaling]].
type oldIdle struct {
	Periods         []string
	Timezone        string
	IdleCount       int
	IdleTime        int // seconds
	IdleScaleFactor float64
	IdleCountMin    int
}

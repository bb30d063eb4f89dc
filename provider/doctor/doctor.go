// Package doctor finds what would go wrong with a group before a job does: in config.toml, on this host, and on the account,
// where it changes nothing.
package doctor

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Level is how bad a finding is. A fault keeps the group from working, or from working as it is written; a warning will
// hurt some day; a note is worth knowing.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Note    Level = "note"
	Warning Level = "warning"
	Fault   Level = "fault"
)

// Finding is one thing that was found, good or bad. Its JSON form is stable.
type Finding struct {
	Check string `json:"check"` // which check found it, see checks
	Level Level  `json:"level"`
	Where string `json:"where,omitempty"` // file:line, or what was asked
	What  string `json:"what"`
	Hint  string `json:"hint,omitempty"` // lines to paste, where that is possible
}

// Worst returns the worst level of all, OK if there are none.
func Worst(findings []Finding) Level {
	order, worst := []Level{OK, Note, Warning, Fault}, 0
	for _, f := range findings {
		worst = max(worst, slices.Index(order, f.Level))
	}
	return order[worst]
}

// Subject is what is examined: one group.
type Subject struct {
	Account config.Account      // as far as plugin_config is valid: the name and the token may be missing
	File    *runnerconfig.File  // nil = there is none: the group was given on the command line
	Runner  runnerconfig.Runner // of the File, with an Autoscaler
	Config  config.Config       // zero with Faults, and without a File
	Faults  error               // of plugin_config
	Host    Host
	Rm      string  // the command that deletes orphans on the account, but for --group: see RemoveOrphans
	Shared  *Shared // with the other subjects on the account; not needed where nobody is asked
}

// What a check needs.
const (
	aFile   = 1 << iota // a config.toml
	aConfig             // a plugin_config that is accepted
	answers             // DigitalOcean's
)

// checks are all, in the order in which they are made. docs/commands.md says what each looks at. The command adds "boot".
var checks = []struct {
	name  string // in Finding.Check
	needs int
	make  func(*exam)
}{
	{"version", aFile, (*exam).version},
	{"runner", aFile, (*exam).runner},
	{"plugin", aFile, (*exam).plugin},
	{"keys", aFile, (*exam).keys},
	{"plugin-config", aFile, (*exam).pluginConfig},
	{"policy", aFile, (*exam).policies},
	{"restart", aFile, (*exam).restart},
	{"ready-command", aFile, (*exam).readyCommand},
	{"connector", aFile, (*exam).connector},
	{"user-data", aConfig, (*exam).userData},
	{"host", 0, (*exam).host},
	{"token", answers, (*exam).token},
	{"scopes", answers, (*exam).scopes},
	{"catalog", answers | aConfig, (*exam).catalog},
	{"image", answers | aConfig, (*exam).image},
	{"vpc", answers | aConfig, (*exam).vpc},
	{"leftovers", answers, (*exam).leftovers},
	{"jobs", aFile, (*exam).jobs},
	{"cost", aConfig, (*exam).costs},
}

// exam is one examination, which collects findings.
type exam struct {
	Subject
	api   *digitalocean.Client // nil = ask nobody, or nobody any more
	ctx   context.Context      // of the check that is made
	check string               // its name
	found []Finding

	hours []float64    // of a week in which each policy applies; nil = not known
	plan  catalog.Plan // zero = not known
}

// liveBound is how long one check may wait for DigitalOcean.
const liveBound = 30 * time.Second

// Examine makes every check of a group; without an api those that ask nobody. It waits at most liveBound for each check.
func Examine(ctx context.Context, api *digitalocean.Client, s Subject) []Finding {
	e := &exam{Subject: s, api: api}
	for _, c := range checks {
		if c.needs&aFile != 0 && e.File == nil || c.needs&aConfig != 0 && !e.valid() || c.needs&answers != 0 && e.api == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, liveBound)
		e.check, e.ctx = c.name, bounded
		c.make(e)
		cancel()
	}
	return e.found
}

// add adds a finding about a key below the runner, such as autoscaler.max_instances.
func (e *exam) add(level Level, key, hint, format string, args ...any) {
	e.addAt(level, e.File.At(e.Runner.Key(key)), hint, format, args...)
}

// when is add if something is so.
func (e *exam) when(so bool, level Level, key, hint, format string, args ...any) {
	if so {
		e.add(level, key, hint, format, args...)
	}
}

// addAt adds a finding about anything else.
func (e *exam) addAt(level Level, where, hint, format string, args ...any) {
	e.found = append(e.found, Finding{Check: e.check, Level: level, Where: where, What: fmt.Sprintf(format, args...), Hint: hint})
}

// valid reports whether there is a plugin_config, and it is accepted.
func (s Subject) valid() bool { return s.File != nil && s.Faults == nil }

// maxInstances is the most Droplets that the configuration allows; 0 = it does not limit them.
func (s Subject) maxInstances() int {
	return lower(s.Runner.Autoscaler.MaxInstances, s.Config.MaxInstances)
}

// capacity is how many jobs a Droplet takes at once.
func (s Subject) capacity() int { return max(1, s.Runner.Autoscaler.CapacityPerInstance) }

// docker reports whether jobs are containers.
func (s Subject) docker() bool { return s.Runner.Executor == "docker-autoscaler" }

// RemoveOrphans is the command that shows what of a group nobody manages, and deletes it.
func (s Subject) RemoveOrphans(group string) string { return s.Rm + " --group " + group }

var plainWord = regexp.MustCompile(`^[\w./:@%+=,-]+$`)

// Quote returns a word of a command in such a way that a shell does not take it apart: hints are to be pasted.
func Quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// lower returns the lower of two limits, of which 0 is none.
func lower(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// NewBootName returns a name for one doctor --boot of a group, such as ci-7k2m of ci: the boot's group is its config.BootGroup,
// which no plugin_config can name, and which nobody else uses.
func NewBootName(name string) string {
	run := "-" + instancegroup.NewRun()
	return strings.TrimRight(name[:min(len(name), config.MaxName-len(config.BootGroup(run)))], "-") + run
}

// Package doctor finds what would go wrong with a group of Droplets before a job does: in the runner's config.toml, on this
// host, and on the account. What only needs the configuration is decided by pure functions of a [Subject]. What asks
// DigitalOcean changes nothing there.
package doctor

import (
	"context"
	"fmt"
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

// The levels, from good to bad.
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
	order := []Level{OK, Note, Warning, Fault}
	worst := 0
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
	Faults  error               // of plugin_config: config.Faults
	Host    Host

	Shared *Shared // with the other subjects on the account; nil = there are none
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

// lower returns the lower of two limits, of which 0 is none.
func lower(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// exam is one examination, which collects findings.
type exam struct {
	Subject
	api   *digitalocean.Client // nil = ask nobody
	check string               // the one that runs
	found []Finding

	hours       []float64    // of a week in which each policy applies; nil = not known
	unreachable bool         // DigitalOcean accepts no request with the token
	plan        catalog.Plan // zero = not known
	cost        *Cost
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

// What subjects checks are for.
func anyGroup(Subject) bool  { return true }
func hasFile(s Subject) bool { return s.File != nil }
func hasName(s Subject) bool { return s.Account.Name != "" }

// check is one that is made of every group that it is for. docs/commands.md says what each looks at.
type check struct {
	name    string // in Finding.Check
	of      func(Subject) bool
	offline func(*exam)
	live    func(*exam, context.Context) // it asks DigitalOcean
}

// checks are all, in the order in which they are made. The command adds "boot".
var checks = []check{
	{"version", hasFile, (*exam).version, nil},
	{"executor", hasFile, (*exam).executor, nil},
	{"plugin", hasFile, (*exam).plugin, nil},
	{"keys", hasFile, (*exam).keys, nil},
	{"plugin-config", hasFile, (*exam).pluginConfig, nil},
	{"jobs", hasFile, (*exam).jobs, nil},
	{"policy", hasFile, (*exam).policies, nil},
	{"restart", Subject.valid, (*exam).restart, nil},
	{"shutdown", hasFile, (*exam).shutdown, nil},
	{"ready-command", hasFile, (*exam).readyCommand, nil},
	{"updates", hasFile, (*exam).updates, nil},
	{"connector", hasFile, (*exam).connector, nil},
	{"user-data", Subject.valid, (*exam).userData, nil},
	{"secrets", hasFile, (*exam).secrets, nil},
	{"host", anyGroup, (*exam).host, nil},

	{"token", anyGroup, nil, (*exam).token},
	{"scopes", anyGroup, nil, (*exam).scopes},
	{"catalog", Subject.valid, nil, (*exam).catalog},
	{"image", Subject.valid, nil, (*exam).image},
	{"vpc", usesVPC, nil, (*exam).vpc},
	{"quota", Subject.valid, nil, (*exam).quota},
	{"leftovers", hasName, nil, (*exam).leftovers},
	{"cost", Subject.valid, (*exam).costs, nil},
}

// liveBound is how long one check may wait for DigitalOcean.
const liveBound = 30 * time.Second

// Examine makes every check of a group, and computes what it costs. Without an api it makes those that ask nobody. It
// changes nothing on the account, and waits at most liveBound for each check. The cost is nil without a valid plugin_config.
func Examine(ctx context.Context, api *digitalocean.Client, s Subject) ([]Finding, *Cost) {
	e := &exam{Subject: s, api: api}
	if e.Shared == nil {
		e.Shared = &Shared{}
	}
	for _, c := range checks {
		e.check = c.name
		switch {
		case !c.of(s):
		case c.offline != nil:
			c.offline(e)
		case api != nil && !e.unreachable:
			bounded, cancel := context.WithTimeout(ctx, liveBound)
			c.live(e, bounded)
			cancel()
		}
	}
	return e.found, e.cost
}

// NewBootName returns a name for one doctor --boot of a group, such as ci-7k2m of ci: the boot's group is its config.BootGroup,
// which no plugin_config can name, and which nobody else uses.
func NewBootName(name string) string { return bootPrefix(name) + instancegroup.NewRun() }

// isBootOf reports whether a group was made by a doctor --boot of a group of that name.
func isBootOf(name, group string) bool {
	rest, ok := strings.CutPrefix(group, bootPrefix(name))
	run, is := strings.CutSuffix(rest, config.BootGroup(""))
	return ok && is && !strings.Contains(run, "-")
}

// bootPrefix is short enough for a run behind it: together they are a group's name.
func bootPrefix(name string) string {
	return strings.TrimRight(name[:min(len(name), config.MaxName-len("-7k2m"))], "-") + "-"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

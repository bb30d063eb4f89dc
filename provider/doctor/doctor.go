// Package doctor finds what would go wrong with a group of Droplets before a job
// does: in the runner's config.toml, on this host, and on the account.
//
// What only needs the configuration is decided by pure functions of a [Subject]. What
// asks DigitalOcean changes nothing there.
package doctor

import (
	"context"
	"fmt"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Mark is how bad a finding is.
type Mark string

// The marks, from good to bad. A fault keeps the group from working, or from working
// as it is written; a warning will hurt some day; a note is worth knowing.
const (
	Good    Mark = "ok"
	Note    Mark = "note"
	Warning Mark = "warning"
	Fault   Mark = "fault"
)

// worse orders marks.
var worse = map[Mark]int{Good: 0, Note: 1, Warning: 2, Fault: 3}

// Finding is one thing that was found, good or bad. Its JSON form is stable.
type Finding struct {
	Check string `json:"check"` // which check found it, see Checks
	Mark  Mark   `json:"mark"`
	Where string `json:"where,omitempty"` // file:line, or what was asked
	What  string `json:"what"`
	Hint  string `json:"hint,omitempty"` // one line, to be pasted where that is possible
}

// Worst returns the worst mark of all, Good if there are none.
func Worst(findings []Finding) Mark {
	worst := Good
	for _, f := range findings {
		if worse[f.Mark] > worse[worst] {
			worst = f.Mark
		}
	}
	return worst
}

// Subject is what is examined: one group.
type Subject struct {
	Account config.Account      // as far as plugin_config tells: without a name, or a token, it may do without
	File    *runnerconfig.File  // nil = there is none: the group was given by hand
	Runner  runnerconfig.Runner // of the File, with an Autoscaler
	Config  config.Config       // zero with Faults, and without a File
	Faults  error               // of plugin_config: config.Faults
	Host    Host

	Shared *Shared // with the other subjects on the account; nil = there is none
}

// valid reports whether there is a plugin_config, and it is accepted.
func (s Subject) valid() bool { return s.File != nil && s.Faults == nil }

// maxInstances is the most Droplets that the configuration allows; 0 = it does not say.
func (s Subject) maxInstances() int {
	switch a, own := s.Runner.Autoscaler.MaxInstances, s.Config.MaxInstances; {
	case a == 0:
		return own
	case own == 0:
		return a
	default:
		return min(a, own)
	}
}

// capacity is how many jobs a Droplet takes at once.
func (s Subject) capacity() int { return max(1, s.Runner.Autoscaler.CapacityPerInstance) }

// docker reports whether jobs are containers.
func (s Subject) docker() bool { return s.Runner.Executor == "docker-autoscaler" }

// exam is one examination, which collects findings.
type exam struct {
	Subject
	check string // the one under way
	found []Finding

	// What DigitalOcean told.
	plan    catalog.Plan
	maxSize int // what the plugin will allow; 0 = not known, or it does not start
}

// most is the most Droplets of the group; 0 = not known.
func (e *exam) most() int {
	most := 0
	if e.File != nil {
		most = e.maxInstances()
	}
	if e.maxSize > 0 && (most == 0 || e.maxSize < most) {
		most = e.maxSize
	}
	return most
}

// say adds a finding about a key below the runner, such as autoscaler.max_instances.
func (e *exam) say(mark Mark, key, hint, format string, args ...any) {
	where := ""
	if e.File != nil {
		where = e.File.At(e.Runner.Key(key))
	}
	e.at(mark, where, hint, format, args...)
}

// at adds a finding about anything else.
func (e *exam) at(mark Mark, where, hint, format string, args ...any) {
	e.found = append(e.found, Finding{Check: e.check, Mark: mark, Where: where, What: fmt.Sprintf(format, args...), Hint: hint})
}

// Check is one that is made of every group.
type Check struct {
	Name  string // in Finding.Check and the documentation
	Looks string // at what, for people
	Live  bool   // it asks DigitalOcean

	offline func(*exam)
}

// checks are all, in the order in which they are made.
var checks = []Check{
	{Name: "config", Looks: "config.toml can be read; TOML faults have their line, and so has each value of a type that the runner does not take"},
	{Name: "executor", Looks: "the executor is one that uses `[runners.autoscaler]`", offline: (*exam).executor},
	{Name: "docker", Looks: "`[runners.docker]`, which docker-autoscaler needs, without what docker+machine left in it", offline: (*exam).dockerTable},
	{Name: "plugin", Looks: "`plugin` leads to a program: a path, a name in PATH, or an installed version", offline: (*exam).program},
	{Name: "ignored-keys", Looks: "keys of `[runners.autoscaler]` that the runner drops without a word", offline: (*exam).ignoredKeys},
	{Name: "values", Looks: "negative numbers, and durations without a unit, which count nanoseconds", offline: (*exam).values},
	{Name: "plugin-config", Looks: "`plugin_config` as the plugin reads it: every fault with its line", offline: (*exam).pluginConfig},
	{Name: "group-name", Looks: "two `[[runners]]` with one group name", offline: (*exam).groupName},
	{Name: "jobs", Looks: "`concurrent` and `limit` against `capacity_per_instance` x `max_instances`", offline: (*exam).jobs},
	{Name: "max-instances", Looks: "the runner's `max_instances` against the plugin's, which `max_hourly_cost` and the account's limit lower", offline: (*exam).instances},
	{Name: "policy", Looks: "no policy, hours of the week without one, policies that never count, periods that cannot be read", offline: (*exam).policies},
	{Name: "idle-time", Looks: "an omitted `idle_time`, which is 0 seconds", offline: (*exam).idleTime},
	{Name: "idle-count", Looks: "`idle_count`, which counts jobs: what it comes to in Droplets, and whether it can be reached", offline: (*exam).idleCount},
	{Name: "scale-factor", Looks: "a `scale_factor` of no effect, or without a limit", offline: (*exam).scaleFactor},
	{Name: "preemptive-mode", Looks: "an omitted `preemptive_mode`, which keeps a queue from growing the group", offline: (*exam).preemptive},
	{Name: "restart", Looks: "`state_storage` and `ssh_key_file`, without which a restart loses the Droplets", offline: (*exam).restart},
	{Name: "shutdown", Looks: "`delete_instances_on_shutdown`: whether Droplets stay, and are billed", offline: (*exam).shutdown},
	{Name: "ready-command", Looks: "`instance_ready_command` waits for cloud-init, and for Docker", offline: (*exam).readyCommand},
	{Name: "update-interval", Looks: "both update intervals are written out: some runners take an unset one for 0", offline: (*exam).updateInterval},
	{Name: "use-count", Looks: "`max_use_count`, without which disks fill up", offline: (*exam).useCount},
	{Name: "address", Looks: "`use_external_addr` against `public_networking`", offline: (*exam).address},
	{Name: "connector", Looks: "`connector_config`: protocol, port, user", offline: (*exam).connector},
	{Name: "timeouts", Looks: "`timeout` and `instance_acquire_timeout` that a Droplet's boot exceeds", offline: (*exam).timeouts},
	{Name: "user-data", Looks: "`user_data` that cloud-init does not read: by its first line, or as YAML, with the line; or with what looks like a secret in it: jobs can read it", offline: (*exam).userData},
	{Name: "firewall", Looks: "the 1-Click Docker image's firewall, which locks the runner out", offline: (*exam).firewall},
	{Name: "secret-files", Looks: "secrets that other users of this host can read", offline: (*exam).secretFiles},
	{Name: "key-file", Looks: "`ssh_key_file` and `key_path`: private keys without a passphrase", offline: (*exam).keyFiles},
	{Name: "state", Looks: "the state directory can be used", offline: (*exam).state},
	{Name: "user", Looks: "doctor runs as the runner's user", offline: (*exam).user},
	{Name: "manager", Looks: "which plugin process manages the group on this host, and whether a start was refused a short while ago", offline: (*exam).manager},

	{Name: "token", Looks: "DigitalOcean accepts the token", Live: true},
	{Name: "account", Looks: "DigitalOcean has not locked the account, nor warned of that, and its e-mail address is verified", Live: true},
	{Name: "scopes", Looks: "the token's scopes: which missing one costs which feature", Live: true},
	{Name: "placements", Looks: "every `size` in every `region`: known, on offer, large enough for the image, and its price", Live: true},
	{Name: "image", Looks: "the image is there and can be used, and has Docker as far as can be told", Live: true},
	{Name: "vpc", Looks: "each VPC is in its region; without public addresses, this host is in it", Live: true},
	{Name: "ssh-key", Looks: "the keys are on the account, or can be uploaded", Live: true},
	{Name: "quota", Looks: "the account's Droplet limit against `max_instances` and its other Droplets", Live: true},
	{Name: "leftovers", Looks: "the group's Droplets, keys and tags on the account that nobody manages, and the Droplets that are kept by a tag", Live: true},
	{Name: "requests", Looks: "what is left of the token's hour", Live: true},
	{Name: "cost", Looks: "what the group costs idle and at worst, and the guard in force", Live: true},
	{Name: "boot", Looks: "with `--boot`: a Droplet is made, reached, ready, and destroyed", Live: true},
}

// Checks returns all checks, in the order in which they are made.
func Checks() []Check { return checks }

// Examine makes every check of a group, and says what it costs. Without an api it makes
// those that ask nobody. It changes nothing on the account. Of a group that was given
// by hand the cost is nil, and so is that of a plugin_config with faults.
func Examine(ctx context.Context, api *digitalocean.Client, s Subject) ([]Finding, *Cost) {
	e := &exam{Subject: s}
	if e.Shared == nil {
		e.Shared = &Shared{}
	}
	for _, c := range checks {
		if c.offline != nil {
			e.check = c.Name
			c.offline(e)
		}
	}
	if api != nil {
		e.ask(ctx, api)
	}
	if !s.valid() {
		return e.found, nil
	}
	cost := e.cost()
	return e.found, cost
}

package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/semver"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// since are the versions of the runner that brought a key.
var since = map[string]string{
	"instance_acquire_timeout": "18.1", "preemptive_mode": "18.1",
	"log_internal_ip": "18.2", "log_external_ip": "18.2",
	"deletion_retry_interval": "18.3", "shutdown_deletion_interval": "18.3", "shutdown_deletion_retries": "18.3",
}

// older reports whether this host's runner is known to be older than a version.
func (h Host) older(version string) bool {
	return h.RunnerVersion != "" && semver.Compare("v"+h.RunnerVersion, "v"+version) < 0
}

func (e *exam) version() {
	version := cmp.Or(e.Host.RunnerVersion, "of an unknown version")
	e.when(e.Host.RunnerVersion == "" || e.Host.older("19.2"), Note, "autoscaler.plugin_config",
		"after a rotation of the runner's token: gitlab-runner restart",
		"this host's runner is %s: before 19.2 a new token starts a second plugin, which is refused, and state_storage is lost", version)
	const noEffect = "%s has no effect: this host's runner is %s, and has it since %s"
	for _, name := range slices.Sorted(maps.Keys(since)) {
		key := "autoscaler." + name
		e.when(e.Host.older(since[name]) && e.File.Has(e.Runner.Key(key)), Warning, key, "upgrade the runner, or remove the line",
			noEffect, name, version, since[name])
	}
	for i, p := range e.Runner.Autoscaler.Policy {
		const name = "preemptive_mode"
		asBefore := p.Preemptive() == (p.IdleCount > 0)
		e.when(e.Host.older(since[name]) && !asBefore, Warning, fmt.Sprintf("autoscaler.policy.%d.%s", i, name),
			"upgrade the runner, or set idle_count = 0: before, only that takes jobs at once", noEffect, name, version, since[name])
	}
}

func (e *exam) runner() {
	a := e.Runner.Autoscaler
	e.when(!e.docker() && e.Runner.Executor != "instance", Fault, "executor", `executor = "docker-autoscaler"`,
		`executor is %q: only "docker-autoscaler" and "instance" use [runners.autoscaler]`, e.Runner.Executor)
	e.when(e.docker() && e.Runner.Docker == nil, Fault, "executor", "[runners.docker]\n  image = \"alpine:latest\"",
		"there is no [runners.docker], which docker-autoscaler needs: no job can run")
	if e.Host.Exposed && slices.ContainsFunc(e.File.Runners, plainSecret) {
		e.addAt(Warning, e.File.Path, "chmod 600 "+Quote(e.File.Path),
			"other users of this host can read the file, and plugin_config.token or connector_config.password in it")
	}
	if level := strings.ToLower(e.File.LogLevel); plainSecret(e.Runner) && (level == "debug" || level == "trace") {
		e.addAt(Warning, e.File.At("log_level"), `log_level = "info"`,
			"log_level %q writes plugin_config.token and connector_config.password into the log", level)
	}
	const pauseless = " is %s" + orUnitless + ": some releases of the runner then ask without a pause"
	e.when(unset(a.UpdateInterval), Warning, "autoscaler.update_interval", `update_interval = "1m"`,
		"update_interval"+pauseless, a.UpdateInterval)
	e.when(unset(a.UpdateIntervalWhenExpecting), Warning, "autoscaler.update_interval_when_expecting",
		`update_interval_when_expecting = "2s"`, "update_interval_when_expecting"+pauseless, a.UpdateIntervalWhenExpecting)
	e.when(a.MaxUseCount == 0, Note, "autoscaler.max_use_count", "max_use_count = 20",
		"max_use_count is not set: a busy Droplet is used until its disk is full of what jobs leave")
}

// plainSecret reports whether a group's section holds a secret, and not just the name of its file.
func plainSecret(r runnerconfig.Runner) bool {
	return r.OurPlugin() && (r.PluginKey("token") != "" || r.Autoscaler.Connector.Password != "")
}

// unset reports whether a time is none.
func unset(d time.Duration) bool { return d < time.Millisecond }

const orUnitless = " (not set, or a number without a unit, which counts nanoseconds)"

// keys finds keys that the runner ignores.
func (e *exam) keys() {
	for _, key := range e.File.Ignored {
		path, ours := strings.CutPrefix(key, e.Runner.Key(""))
		e.when(ours, Warning, path, "remove it, or correct it", "the runner ignores %s: it has no such key there", path)
	}
	const key = "autoscaler.failure_threshold"
	e.when(e.File.Has(e.Runner.Key(key)), Note, key, "remove it", "failure_threshold has no effect: no released runner reads it")
}

// seeDocs is a hint for want of a better one. It has for each key what shows its values.
const seeDocs = "https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/-/blob/main/docs/configuration.md"

// refused adds what Init refuses: lines that begin with a key, and may end in a hint. Those that are indented say more of what
// has findings of its own.
func (e *exam) refused(err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		what, hint, _ := strings.Cut(strings.TrimRight(line, ":\n"), "; ")
		key, _, keyed := strings.Cut(line, ":")
		if keyed && !strings.HasPrefix(line, " ") {
			e.add(Fault, "autoscaler."+key, cmp.Or(hint, seeDocs), "%s", what)
		}
	}
}

func (e *exam) pluginConfig() {
	const table = "autoscaler.plugin_config"
	e.when(e.Faults == nil, OK, table, "", "plugin_config is accepted")
	e.refused(e.Faults)
	for _, other := range e.File.Runners {
		same := e.Account.Name != "" && other.Index != e.Runner.Index && other.OurPlugin() &&
			other.PluginKey("name") == e.Account.Name && other.PluginKey("api_url") == e.Runner.PluginKey("api_url")
		e.when(same, Fault, table+".name", fmt.Sprintf("name = %q", e.Account.Name+"-2"),
			"%s has a group %q too: the second plugin that starts is refused, and its jobs fail",
			e.File.At(other.Key(table+".name")), e.Account.Name)
	}
}

// jobs compares how many jobs the runner takes, and how it asks for them, with what the Droplets have room for.
func (e *exam) jobs() {
	const key = "autoscaler.max_instances"
	own, plugins := e.Runner.Autoscaler.MaxInstances, lower(e.Config.MaxInstances, e.plan.MaxInstances)
	e.when(plugins > 0 && own > plugins, Fault, key, fmt.Sprintf("max_instances = %d", plugins),
		"max_instances is %d, more than the %d of the plugin (by %s): the runner refuses to start it", own, plugins,
		cmp.Or(e.plan.LimitedBy, "plugin_config"))
	e.when(e.valid() && e.maxInstances() == 0 && e.Config.MaxHourlyCost == 0, Warning, key, "max_instances = 10",
		"neither this max_instances nor plugin_config's sets a limit: only the account's Droplet limit limits the bill")

	const unused = "%s is %d, and max_instances x capacity_per_instance have room for %d jobs: some Droplets are never used"
	concurrent, limit, room, idle := max(1, e.File.Concurrent), e.Runner.Limit, e.maxInstances()*e.capacity(), 0
	for _, p := range e.Runner.Autoscaler.Policy {
		idle = max(idle, p.IdleCount)
	}
	if e.Runner.Autoscaler.MaxUseCount != 1 {
		idle = 0 // else the jobs that follow find them
	}
	enough := fmt.Sprintf("concurrent = %d", max(room, len(e.File.Runners)))
	if concurrent+min(idle, concurrent) < room {
		e.addAt(Warning, e.File.At("concurrent"), enough, unused, "concurrent", concurrent, room)
	}
	e.when(limit > 0 && limit+min(idle, limit) < room, Warning, "limit", fmt.Sprintf("limit = %d", room), unused, "limit", limit, room)
	if n := len(e.File.Runners); concurrent < n {
		e.addAt(Warning, e.File.At("concurrent"), enough,
			"concurrent is %d for %d [[runners]]: with long polling the others wait while one asks for jobs", concurrent, n)
	}
	requests := max(1, e.Runner.RequestConcurrency)
	const adaptive = runnerconfig.Adaptive
	e.when(requests > 1 && !e.Runner.Adaptive(), Warning, "request_concurrency", "remove "+adaptive+", which is on by default",
		"request_concurrency is %d with %s off: each request keeps room free, and idle Droplets outlive idle_time", requests, adaptive)
	e.when(requests == 1 && limit > 0 && limit <= 2, Warning, "request_concurrency", "request_concurrency = 2",
		"limit is %d with request_concurrency = 1: with long polling a job waits until the request before it ends", limit)
}

func (e *exam) restart() {
	a := e.Runner.Autoscaler
	static := !e.valid() || e.staticKey() || a.Connector.UseStaticCredentials && a.Connector.Password != ""
	e.when(a.StateStorage.Enabled && !static, Warning, "autoscaler.plugin_config.ssh_key_file",
		`ssh_key_file = "/var/lib/gitlab-runner/fleeting-ssh-key"`,
		"without ssh_key_file each start makes a new key, which does not open the Droplets that state_storage keeps over a restart")
	e.when(!a.StateStorage.Enabled && !a.DeleteInstancesOnShutdown, Warning, "autoscaler.state_storage",
		`state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`,
		"without state_storage a restarted runner deletes every Droplet that it finds, and makes new ones")

	e.when(a.StateStorage.Enabled && e.Host.RunnerVersion != "" && !e.Host.older("19.2"), Note, "autoscaler.state_storage", // else version says it
		"rotate the runner's token while no job runs",
		"state_storage lies under the runner's token: the first start after a rotation deletes every Droplet that it finds")

	const key = "autoscaler.delete_instances_on_shutdown"
	if !a.DeleteInstancesOnShutdown {
		e.add(Note, key, "where the runner is stopped for good: delete_instances_on_shutdown = true",
			"Droplets stay, and are billed, while the runner is stopped")
		return
	}
	has := !e.Host.older(since["shutdown_deletion_interval"]) // else the keys have no effect
	e.when(has && (a.ShutdownDeletionInterval == 0 || a.ShutdownDeletionRetries == 0), Warning, key,
		"shutdown_deletion_interval = \"10s\"\nshutdown_deletion_retries = 3",
		"shutdown_deletion_interval and shutdown_deletion_retries are not both set: runners such as 18.6 then delete nothing")
	rounds := cmp.Or(a.ShutdownDeletionInterval, 10*time.Second) * time.Duration(cmp.Or(a.ShutdownDeletionRetries, 3))
	if timeout := time.Duration(cmp.Or(e.File.ShutdownTimeout, 30)) * time.Second; rounds >= timeout {
		e.addAt(Warning, e.File.At("shutdown_timeout"), fmt.Sprintf("shutdown_timeout = %d", int(math.Ceil(rounds.Seconds()))+30),
			"shutdown_timeout is %s, and deleting the Droplets takes up to %s (shutdown_deletion_interval x shutdown_deletion_retries): "+
				"it is cut off, and Droplets stay", timeout, rounds)
	}
}

// tolerant matches a wait for cloud-init whose exit status does not fail the command.
var tolerant = regexp.MustCompile(`cloud-init status --wait(?:[^&|;\n]|&[^&])*[|;\n]`)

// readyCommand finds the first thing that instance_ready_command lacks; the hint has all of them.
func (e *exam) readyCommand() {
	command := e.Runner.Autoscaler.InstanceReadyCommand
	has := func(text string) bool { return strings.Contains(command, text) }
	hint := "(cloud-init status --wait || test $? -eq 2)"
	if e.docker() {
		hint += " && docker info"
	}
	what := ""
	switch {
	case !has("cloud-init") && !has("boot-finished"):
		what = "instance_ready_command does not wait for cloud-init: a Droplet gets jobs while that still works on it"
	case has("cloud-init status --wait") && !tolerant.MatchString(command):
		what = "cloud-init exits with 2 when it is done and had something to complain about: such Droplets are replaced over and over"
	case e.docker() && !has("docker"):
		what = "instance_ready_command does not wait for Docker, which every job needs"
	}
	e.when(what != "", Warning, "autoscaler.instance_ready_command", fmt.Sprintf("instance_ready_command = %q", hint), "%s", what)
}

func (e *exam) connector() {
	c := e.Runner.Autoscaler.Connector
	_, err := provider.ConnectorConfig(c.Fleeting())
	e.refused(err)
	e.when(e.valid() && c.UseExternalAddr && !e.Config.PublicNetworking, Warning,
		"autoscaler.connector_config.use_external_addr", "use_external_addr = false",
		"use_external_addr is true, and with public_networking = false Droplets have only private addresses")
}

var (
	// headed matches what cloud-init acts on. Blanks before #! make a script that no shell is found for.
	headed = regexp.MustCompile(`(?i)^(#!|\s*(#cloud-|#include|#part-handler|## template: jinja|content-type:|mime-version:))`)
	// cloudConfig matches what must be a mapping in YAML, unlike templates, archives and patches.
	cloudConfig = regexp.MustCompile(`(?i)^\s*#cloud-config([^-]|$)`)
	// unlocked matches what ends the limit on SSH connections: ufw limit ssh does not.
	unlocked = regexp.MustCompile(`(?m)^[^#\n]*\bufw["', \t]+(--force["', \t]+)?(allow|disable)\b`)
	yamlLine = regexp.MustCompile(`\bline \d+`)
)

func (e *exam) userData() {
	const key = "autoscaler.plugin_config.user_data"
	fault := misread(e.Config.UserData)
	e.when(fault != "", Fault, key, "cloud-init schema --config-file FILE shows more", "cloud-init does not read it: %s", fault)
	e.when(strings.HasPrefix(e.Config.Image.Slug, "docker-") && !unlocked.MatchString(e.Config.UserData), Warning, key,
		"let user_data run: ufw allow ssh",
		"the 1-Click image's firewall accepts six SSH connections in 30 seconds, and then none: the runner locks itself out")
}

// misread returns why cloud-init does not read user data; "" = it does. The YAML library's text would repeat values, which may
// be secret.
func misread(data string) string {
	var table map[string]any
	if data != "" && !headed.MatchString(data) {
		return "it does not begin with #cloud-config or #!"
	} else if !cloudConfig.MatchString(data) {
		return ""
	} else if err := yaml.Unmarshal([]byte(data), &table); err != nil {
		return "it is no mapping in YAML, has a key twice, or a text with {, or \": \", that is not in quotes: " +
			cmp.Or(yamlLine.FindString(err.Error()), "the line is not known")
	}
	return ""
}

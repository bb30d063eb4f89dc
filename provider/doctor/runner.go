package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
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
	const key = "autoscaler.plugin_config"
	const rotated = "before 19.2 a new token of the runner starts a second plugin, which is refused, and state_storage is lost"
	version := cmp.Or(e.Host.RunnerVersion, "of an unknown version")
	e.when(e.Host.RunnerVersion == "" || e.Host.older("19.2"), Note, key, "after a rotation of the token: gitlab-runner restart",
		"this host's runner is %s: %s", version, rotated)
	for _, name := range slices.Sorted(maps.Keys(since)) {
		keys := []string{"autoscaler." + name}
		for i := range e.Runner.Autoscaler.Policy {
			keys = append(keys, fmt.Sprintf("autoscaler.policy.%d.%s", i, name))
		}
		for _, key := range keys {
			e.when(e.Host.older(since[name]) && e.File.Has(e.Runner.Key(key)), Warning, key, "upgrade the runner, or remove the line",
				"%s has no effect: this host's runner is %s, and has it since %s", name, version, since[name])
		}
	}
}

func (e *exam) executor() {
	e.when(!e.docker() && e.Runner.Executor != "instance", Fault, "executor", `executor = "docker-autoscaler"`,
		`executor is %q: only "docker-autoscaler" and "instance" use [runners.autoscaler]`, e.Runner.Executor)
	e.when(e.docker() && !e.File.Has(e.Runner.Key("docker")), Fault, "executor", "[runners.docker]\n  image = \"alpine:latest\"",
		"there is no [runners.docker], which docker-autoscaler needs: no job can run")
	// Rootless Docker and Podman have a socket of their own, so this one may be meant.
	e.when(e.docker() && e.File.Has(e.Runner.Key("docker.host")), Note, "docker.host", "remove it, unless it is a socket on the Droplet",
		"host is looked up on the Droplet, where Docker is reached over SSH: it must be a socket, such as unix:///run/podman/podman.sock")
}

// tables are those below [runners.autoscaler], with their keys.
var tables = map[string][]string{
	"":                 keysOf(runnerconfig.Autoscaler{}),
	"scale_throttle":   keysOf(runnerconfig.ScaleThrottle{}),
	"state_storage":    keysOf(runnerconfig.StateStorage{}),
	"connector_config": keysOf(runnerconfig.Connector{}),
	"policy":           keysOf(runnerconfig.Policy{}),
	"plugin_config":    config.Keys(),
}

// keysOf returns the TOML keys of a struct.
func keysOf(table any) (keys []string) {
	for f := range reflect.TypeOf(table).Fields() {
		keys = append(keys, f.Tag.Get("toml"))
	}
	return keys
}

// lastPart is the name of a key.
func lastPart(key string) string { return key[strings.LastIndex(key, ".")+1:] }

// keys finds keys that the runner ignores, and durations without a unit.
func (e *exam) keys() {
	for _, key := range e.File.Ignored {
		path, ours := strings.CutPrefix(key, e.Runner.Key("autoscaler."))
		if !ours {
			continue
		}
		table, _, below := strings.Cut(path, ".")
		if !below {
			table = ""
		}
		name := lastPart(key)
		hint := config.DidYouMean(name, tables[table])
		for _, other := range slices.Sorted(maps.Keys(tables)) {
			if hint == "" && slices.Contains(tables[other], name) {
				hint = "it belongs in " + tableName(other)
			}
		}
		e.addAt(Warning, e.File.At(key), cmp.Or(hint, "remove it"), "the runner ignores %s: %s has no such key", name, tableName(table))
	}
	const key = "autoscaler.failure_threshold"
	e.when(e.File.Has(e.Runner.Key(key)), Note, key, "remove it", "failure_threshold has no effect: no released runner reads it")
	e.durations("autoscaler", reflect.ValueOf(*e.Runner.Autoscaler))
}

func tableName(table string) string {
	return "[" + strings.TrimSuffix("runners.autoscaler."+table, ".") + "]"
}

// durations finds numbers without a unit, in v and below.
func (e *exam) durations(key string, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Struct:
		for f, value := range v.Fields() {
			e.durations(key+"."+f.Tag.Get("toml"), value)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			e.durations(fmt.Sprintf("%s.%d", key, i), v.Index(i))
		}
	case v.Type() == reflect.TypeFor[time.Duration]() && v.Int() > 0 && v.Int() < int64(time.Millisecond):
		e.add(Fault, key, fmt.Sprintf(`%s = "%ds"`, lastPart(key), v.Int()),
			"%s is %v: a number without a unit counts nanoseconds", lastPart(key), v)
	}
}

// seeDocs is a hint for want of a better one.
const seeDocs = "https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/-/blob/main/docs/configuration.md"

// remedies help with a key, where its fault has no hint.
var remedies = map[string]string{"size": "doctl compute size list", "region": "doctl compute region list",
	"image": "doctl compute image list --public", "vpc_uuid": "doctl vpcs list", "ssh_keys": "doctl compute ssh-key list",
	"token": `token_file = "/etc/gitlab-runner/digitalocean-token", with nothing but the token in that file`}

func (e *exam) pluginConfig() {
	const table = "autoscaler.plugin_config"
	faults, ok := errors.AsType[config.Faults](e.Faults)
	switch {
	case e.Faults == nil:
		e.add(OK, table, "", "plugin_config is accepted")
	case !ok:
		e.add(Fault, table, seeDocs, "%v", e.Faults)
	}
	for _, f := range faults {
		hint := cmp.Or(f.Hint, remedies[f.Key], seeDocs)
		f.Hint = ""
		e.add(Fault, table+"."+f.Key, hint, "%v", f)
	}
	for _, other := range e.File.Runners {
		same := e.Account.Name != "" && other.Index != e.Runner.Index && other.OurPlugin() &&
			pluginKey(other, "name") == e.Account.Name && pluginKey(other, "api_url") == pluginKey(e.Runner, "api_url")
		e.when(same, Fault, table+".name", fmt.Sprintf("name = %q", e.Account.Name+"-2"),
			"%s has a group %q too: the second plugin that starts is refused, and its jobs fail",
			e.File.At(other.Key(table+".name")), e.Account.Name)
	}
}

// pluginKey returns a string of plugin_config.
func pluginKey(r runnerconfig.Runner, name string) string {
	text, _ := r.Autoscaler.PluginConfig[name].(string)
	return text
}

// adaptive is the feature flag that lowers request_concurrency while few jobs come. It is on unless it is turned off.
const adaptive = "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY"

// jobs compares how many jobs the runner takes, and how it asks for them, with what the Droplets have room for.
func (e *exam) jobs() {
	const key = "autoscaler.max_instances"
	const room = "%s is %d, and the Droplets have room for %d jobs (%d x capacity_per_instance %d): some are never used"
	own, plugins := e.Runner.Autoscaler.MaxInstances, e.Config.MaxInstances
	e.when(plugins > 0 && own > plugins, Fault, key, fmt.Sprintf("max_instances = %d", plugins),
		"max_instances is %d, more than the %d of plugin_config (%s): the runner refuses to start the plugin",
		own, plugins, e.File.At(e.Runner.Key("autoscaler.plugin_config.max_instances")))
	e.when(e.valid() && e.maxInstances() == 0 && e.Config.MaxHourlyCost == 0, Warning, key, "max_instances = 10",
		"max_instances is set neither here nor in plugin_config: only the account's Droplet limit limits the bill")

	most := e.maxInstances()
	slots, limit, concurrent, at := most*e.capacity(), e.Runner.Limit, e.File.Concurrent, e.File.At("concurrent")
	if !e.File.Has("concurrent") {
		concurrent = 1
	}
	if concurrent < slots {
		e.addAt(Warning, at, fmt.Sprintf("concurrent = %d", slots), room, "concurrent", concurrent, slots, most, e.capacity())
	}
	e.when(limit > 0 && limit < slots, Warning, "limit", fmt.Sprintf("limit = %d", slots),
		room, "limit", limit, slots, most, e.capacity())

	if n := len(e.File.Runners); concurrent < n {
		e.addAt(Warning, at, fmt.Sprintf("concurrent = %d", n),
			"concurrent is %d for %d [[runners]]: with long polling the others wait while one asks for jobs", concurrent, n)
	}
	requests := max(1, e.Runner.RequestConcurrency)
	on, set := e.Runner.FeatureFlags[adaptive]
	off := set && !on || slices.Contains(e.Runner.Environment, adaptive+"=false") || slices.Contains(e.Runner.Environment, adaptive+"=0")
	e.when(requests > 1 && off, Warning, "request_concurrency", "remove "+adaptive+", which is on by default",
		"request_concurrency is %d with %s off: each request for jobs keeps room free, so idle Droplets outlive idle_time", requests, adaptive)
	e.when(requests == 1 && limit > 0 && limit <= 2, Warning, "request_concurrency", "request_concurrency = 2",
		"limit is %d with request_concurrency = 1: with long polling a job waits until the request before it ends", limit)
}

func (e *exam) restart() {
	a := e.Runner.Autoscaler
	static := e.Config.SSHKeyFile != "" || a.Connector.KeyPath != "" || a.Connector.UseStaticCredentials && a.Connector.Password != ""
	e.when(a.StateStorage.Enabled && !static, Warning, "autoscaler.plugin_config.ssh_key_file",
		`ssh_key_file = "/var/lib/gitlab-runner/fleeting-ssh-key"`,
		"without ssh_key_file each start makes a new key, which does not open the Droplets that state_storage keeps over a restart")
	e.when(!a.StateStorage.Enabled && !a.DeleteInstancesOnShutdown, Warning, "autoscaler.state_storage",
		`state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`,
		"without state_storage a restarted runner deletes every Droplet that it finds, and makes new ones")
}

func (e *exam) shutdown() {
	const key = "autoscaler.delete_instances_on_shutdown"
	a := e.Runner.Autoscaler
	if !a.DeleteInstancesOnShutdown {
		e.add(Note, key, "where the runner is stopped for good: delete_instances_on_shutdown = true",
			"Droplets stay, and are billed, while the runner is stopped")
		return
	}
	has := !e.Host.older(since["shutdown_deletion_interval"]) // else the keys have no effect
	e.when(has && (a.ShutdownDeletionInterval == 0 || a.ShutdownDeletionRetries == 0), Warning, key,
		"shutdown_deletion_interval = \"10s\"\nshutdown_deletion_retries = 3",
		"shutdown_deletion_interval and shutdown_deletion_retries are not both set: runners such as 18.6 then delete nothing at the stop")
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
	case command == "":
		what = "there is no instance_ready_command: a Droplet gets jobs while cloud-init still works on it"
	case !has("cloud-init") && !has("boot-finished"):
		what = "instance_ready_command does not wait for cloud-init: a Droplet gets jobs while that still works on it"
	case has("cloud-init status --wait") && !tolerant.MatchString(command):
		what = "cloud-init exits with 2 when it is done and had something to complain about: such Droplets are replaced over and over"
	case e.docker() && !has("docker"):
		what = "instance_ready_command does not wait for Docker, which every job needs"
	}
	e.when(what != "", Warning, "autoscaler.instance_ready_command", fmt.Sprintf("instance_ready_command = %q", hint), "%s", what)
}

func (e *exam) updates() {
	a := e.Runner.Autoscaler
	const pauseless = "%s is 0, or not set: some releases of the runner then ask without a pause"
	e.when(a.UpdateInterval == 0, Warning, "autoscaler.update_interval", `update_interval = "1m"`, pauseless, "update_interval")
	e.when(a.UpdateIntervalWhenExpecting == 0, Warning, "autoscaler.update_interval_when_expecting", `update_interval_when_expecting = "2s"`,
		pauseless, "update_interval_when_expecting")
	e.when(a.MaxUseCount == 0, Note, "autoscaler.max_use_count", "max_use_count = 20",
		"max_use_count is not set: a busy Droplet is used until its disk is full of what jobs leave")
}

func (e *exam) connector() {
	const table = "autoscaler.connector_config."
	c := e.Runner.Autoscaler.Connector
	e.when(c.OS != "" && c.OS != "linux", Fault, table+"os", `os = "linux"`, "os is %q: Droplets run linux", c.OS)
	e.when(c.Protocol != "" && c.Protocol != "ssh", Fault, table+"protocol", `protocol = "ssh"`,
		"protocol is %q: Droplets are reached by ssh", c.Protocol)
	e.when(c.ProtocolPort < 0 || c.ProtocolPort > 65535, Fault, table+"protocol_port", "protocol_port = 22",
		"protocol_port is %d: it must be from 1 to 65535", c.ProtocolPort)
	e.when(c.Username != "" && c.Username != "root" && !strings.Contains(e.Config.UserData, c.Username) && e.Config.Image.Slug != "",
		Warning, table+"username", `username = "root"`,
		"username is %q: DigitalOcean's images have root only, and user_data makes no other user", c.Username)
	e.when(e.valid() && c.UseExternalAddr && !e.Config.PublicNetworking, Warning, table+"use_external_addr", "use_external_addr = false",
		"use_external_addr is true, and with public_networking = false Droplets have only private addresses")
	e.when(e.valid() && !c.UseExternalAddr, Note, table+"use_external_addr", "where this host is not in the Droplets' VPC: "+e.reachable(),
		"use_external_addr is false: Droplets are reached by their private addresses, so this host must be in their VPC")
}

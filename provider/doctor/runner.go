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
	"instance_acquire_timeout": "18.1",
	"log_internal_ip":          "18.2", "log_external_ip": "18.2",
	"deletion_retry_interval": "18.3", "shutdown_deletion_interval": "18.3", "shutdown_deletion_retries": "18.3",
}

// preemptiveSince is the version that brought preemptive_mode.
const preemptiveSince = "18.1"

// older reports whether this host's runner is known to be older than a version.
func (h Host) older(version string) bool {
	return h.RunnerVersion != "" && semver.Compare("v"+h.RunnerVersion, "v"+version) < 0
}

func (e *exam) version() {
	h, key := e.Host, "autoscaler.plugin_config"
	const rotated = "before 19.2 a new token of the runner starts a second plugin, which is refused, and state_storage is lost"
	e.when(h.RunnerVersion == "", Note, key, "on the runner's host: gitlab-runner --version",
		"the runner's version is not known (%s): %s", h.RunnerFault, rotated)
	e.when(h.older("19.2"), Note, key, "after a rotation of the token: gitlab-runner restart",
		"this host's runner is %s: %s", h.RunnerVersion, rotated)
	for _, name := range slices.Sorted(maps.Keys(since)) {
		key := "autoscaler." + name
		e.when(h.older(since[name]) && e.File.Has(e.Runner.Key(key)), Warning, key, "upgrade the runner, or remove the line",
			"%s has no effect: this host's runner is %s, and has it since %s", name, h.RunnerVersion, since[name])
	}
}

func (e *exam) executor() {
	e.when(!e.docker() && e.Runner.Executor != "instance", Fault, "executor", `executor = "docker-autoscaler"`,
		`executor is %q: only "docker-autoscaler" and "instance" use [runners.autoscaler]`, e.Runner.Executor)
}

func (e *exam) dockerTable() {
	has := func(key string) bool { return e.File.Has(e.Runner.Key(key)) }
	e.when(!has("docker"), Fault, "executor", "[runners.docker]\n  image = \"alpine:latest\"",
		"there is no [runners.docker], which docker-autoscaler needs: no job can run")
	for _, key := range []string{"tls_cert_path", "tls_verify"} {
		e.when(has("docker."+key), Warning, "docker."+key, "remove it", "%s is of no use: Docker is reached over SSH, on the Droplet", key)
	}
	// Rootless Docker and Podman have a socket of their own, so this one may be meant.
	e.when(has("docker.host"), Note, "docker.host", "remove it, unless it is a socket on the Droplet",
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

func tableName(table string) string {
	return "[" + strings.TrimSuffix("runners.autoscaler."+table, ".") + "]"
}

// lastPart is the name of a key.
func lastPart(key string) string { return key[strings.LastIndex(key, ".")+1:] }

var element = regexp.MustCompile(`\.\d+\b`)

func (e *exam) ignoredKeys() {
	for _, key := range e.File.Ignored {
		path, ours := strings.CutPrefix(key, e.Runner.Key("autoscaler."))
		if !ours {
			continue
		}
		path = element.ReplaceAllString("."+path, "")
		table, name := strings.TrimPrefix(path[:strings.LastIndex(path, ".")], "."), lastPart(path)
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
}

func (e *exam) values() {
	e.numbers("limit", reflect.ValueOf(e.Runner.Limit))
	e.numbers("autoscaler", reflect.ValueOf(*e.Runner.Autoscaler))
}

// numbers finds negative numbers and durations, and durations of a few nanoseconds, in v and below.
func (e *exam) numbers(key string, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Struct:
		for f, value := range v.Fields() {
			e.numbers(key+"."+f.Tag.Get("toml"), value)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			e.numbers(fmt.Sprintf("%s.%d", key, i), v.Index(i))
		}
	case v.CanInt() && v.Int() < 0, v.CanFloat() && v.Float() < 0:
		e.add(Fault, key, "remove it, or write what is meant", "%s is %v: it must not be negative", lastPart(key), v)
	case v.Type() == reflect.TypeFor[time.Duration]() && v.Int() > 0 && v.Int() < int64(time.Millisecond):
		e.add(Fault, key, fmt.Sprintf(`%s = "%ds"`, lastPart(key), v.Int()),
			"%s is %v: a number without a unit counts nanoseconds", lastPart(key), v)
	}
}

// seeDocs is a hint for want of a better one.
const seeDocs = "https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/-/blob/main/docs/configuration.md"

func (e *exam) pluginConfig() {
	faults, ok := errors.AsType[config.Faults](e.Faults)
	switch {
	case e.Faults == nil:
		e.add(OK, "autoscaler.plugin_config", "", "plugin_config is accepted")
	case !ok:
		e.add(Fault, "autoscaler.plugin_config", seeDocs, "%v", e.Faults)
	}
	for _, f := range faults {
		hint := cmp.Or(f.Hint, seeDocs)
		if f.Key == "token" || f.Key == "token_file" {
			hint = cmp.Or(f.Hint, `token_file = "/etc/gitlab-runner/digitalocean-token", with nothing but the token in that file`)
		}
		f.Hint = ""
		e.add(Fault, "autoscaler.plugin_config."+f.Key, hint, "%v", f)
	}
}

func (e *exam) groupName() {
	for _, other := range e.File.Runners {
		same := other.Index != e.Runner.Index && other.OurPlugin() && pluginKey(other, "name") == e.Account.Name &&
			pluginKey(other, "api_url") == pluginKey(e.Runner, "api_url")
		e.when(same, Fault, "autoscaler.plugin_config.name", fmt.Sprintf("name = %q", e.Account.Name+"-2"),
			"%s has a group %q too: the second plugin that starts is refused, and its jobs fail",
			e.File.At(other.Key("autoscaler.plugin_config.name")), e.Account.Name)
	}
}

// pluginKey returns a string of plugin_config.
func pluginKey(r runnerconfig.Runner, name string) string {
	text, _ := r.Autoscaler.PluginConfig[name].(string)
	return text
}

// concurrent is the runner's, with its default.
func (e *exam) concurrent() int {
	if !e.File.Has("concurrent") {
		return 1
	}
	return e.File.Concurrent
}

func (e *exam) jobs() {
	concurrent, at, slots := e.concurrent(), e.File.At("concurrent"), e.maxInstances()*e.capacity()
	all := slots // of all runners with this plugin, as far as their max_instances show
	for _, r := range e.File.Runners {
		if r.OurPlugin() && r.Index != e.Runner.Index {
			all += r.Autoscaler.MaxInstances * max(1, r.Autoscaler.CapacityPerInstance)
		}
	}
	const room = "%s is %d, and the Droplets have room for %d jobs (%d x capacity_per_instance %d): some are never used"
	switch {
	case concurrent <= 0:
		e.addAt(Fault, at, "concurrent = 10", "concurrent is %d: the runner does not start", concurrent)
	case slots > 0 && concurrent < slots:
		e.addAt(Warning, at, fmt.Sprintf("concurrent = %d", all), room, "concurrent", concurrent, slots, e.maxInstances(), e.capacity())
	case slots > 0 && concurrent < all:
		e.addAt(Note, at, fmt.Sprintf("concurrent = %d", all),
			"concurrent is %d, and the Droplets of all [[runners]] together have room for %d jobs: not all are used at once", concurrent, all)
	}
	limit := e.Runner.Limit
	e.when(limit > 0 && limit < slots, Warning, "limit", fmt.Sprintf("limit = %d", slots),
		room, "limit", limit, slots, e.maxInstances(), e.capacity())
}

// adaptive is the feature flag that lowers request_concurrency while few jobs come. It is on unless it is turned off.
const adaptive = "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY"

func (e *exam) polling() {
	if n := len(e.File.Runners); e.concurrent() < n && e.concurrent() > 0 {
		e.addAt(Warning, e.File.At("concurrent"), fmt.Sprintf("concurrent = %d", n),
			"concurrent is %d for %d [[runners]]: with long polling the others wait while one asks for jobs", e.concurrent(), n)
	}
	const key = "request_concurrency"
	on, set := e.Runner.FeatureFlags[adaptive]
	off := set && !on || slices.Contains(e.Runner.Environment, adaptive+"=false") || slices.Contains(e.Runner.Environment, adaptive+"=0")
	switch n := e.Runner.RequestConcurrency; {
	case n > 1:
		e.when(off, Warning, key, "remove "+adaptive+", which is on by default",
			"request_concurrency is %d with %s off: each request for jobs keeps room free, so idle Droplets outlive idle_time", n, adaptive)
	case e.Runner.Limit > 0 && e.Runner.Limit <= 2:
		e.add(Warning, key, "request_concurrency = 2",
			"limit is %d with request_concurrency = 1: with long polling a job waits until the request before it ends", e.Runner.Limit)
	default:
		e.add(Note, key, "request_concurrency = 4",
			"request_concurrency is 1: with long polling jobs arrive one by one, and runners since 18.4 warn of it at every start")
	}
}

func (e *exam) instances() {
	const key = "autoscaler.max_instances"
	runner, plugin := e.Runner.Autoscaler.MaxInstances, e.Config.MaxInstances
	e.when(plugin > 0 && runner > plugin, Fault, key, fmt.Sprintf("max_instances = %d", plugin),
		"max_instances is %d, more than the %d of plugin_config (%s): the runner refuses to start the plugin",
		runner, plugin, e.File.At(e.Runner.Key("autoscaler.plugin_config.max_instances")))
	e.when(runner == 0 && plugin == 0 && e.Config.MaxHourlyCost == 0, Warning, key, "max_instances = 10",
		"max_instances is set neither here nor in plugin_config: only the account's Droplet limit limits the bill")
}

func (e *exam) restart() {
	a := e.Runner.Autoscaler
	static := e.Config.SSHKeyFile != "" || a.Connector.KeyPath != "" || a.Connector.UseStaticCredentials && a.Connector.Password != ""
	const storage = `state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`
	switch {
	case a.StateStorage.Enabled:
		e.when(!static, Warning, "autoscaler.plugin_config.ssh_key_file", `ssh_key_file = "/var/lib/gitlab-runner/fleeting-ssh-key"`,
			"without ssh_key_file each start makes a new key, which does not open the Droplets that state_storage keeps over a restart")
	case a.DeleteInstancesOnShutdown:
		e.add(Note, "autoscaler.state_storage", storage,
			"without state_storage a runner that crashed deletes every Droplet that it finds when it starts again")
	default:
		e.add(Warning, "autoscaler.state_storage", storage,
			"without state_storage a restarted runner deletes every Droplet that it finds, and makes new ones")
	}
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

func (e *exam) readyCommand() {
	command := e.Runner.Autoscaler.InstanceReadyCommand
	has := func(text string) bool { return strings.Contains(command, text) }
	wait := "(cloud-init status --wait || test $? -eq 2)"
	if e.docker() {
		wait += " && docker info"
	}
	warn := func(so bool, what string) {
		e.when(so, Warning, "autoscaler.instance_ready_command", fmt.Sprintf("instance_ready_command = %q", wait), "%s", what)
	}
	warn(command == "", "there is no instance_ready_command: a Droplet gets jobs while cloud-init still works on it")
	warn(command != "" && !has("cloud-init") && !has("boot-finished"),
		"instance_ready_command does not wait for cloud-init: a Droplet gets jobs while that still works on it")
	warn(has("cloud-init status --wait") && !tolerant.MatchString(command),
		"cloud-init exits with 2 when it is done and had something to complain about: such Droplets are replaced over and over")
	warn(command != "" && e.docker() && !has("docker"), "instance_ready_command does not wait for Docker, which every job needs")
}

func (e *exam) updateInterval() {
	a := e.Runner.Autoscaler
	const pauseless = "%s is 0, or not set: some releases of the runner then ask without a pause"
	e.when(a.UpdateInterval == 0, Warning, "autoscaler.update_interval", `update_interval = "1m"`, pauseless, "update_interval")
	e.when(a.UpdateIntervalWhenExpecting == 0, Warning, "autoscaler.update_interval_when_expecting", `update_interval_when_expecting = "2s"`,
		pauseless, "update_interval_when_expecting")
}

func (e *exam) useCount() {
	e.when(e.Runner.Autoscaler.MaxUseCount == 0, Note, "autoscaler.max_use_count", "max_use_count = 20",
		"max_use_count is not set: a busy Droplet is used until its disk is full of what jobs leave")
}

func (e *exam) connector() {
	const table = "autoscaler.connector_config."
	a := e.Runner.Autoscaler
	c, port := a.Connector, a.Connector.ProtocolPort
	e.when(c.OS != "" && c.OS != "linux", Fault, table+"os", `os = "linux"`,
		"os is %q: Droplets run linux, and the plugin refuses anything else", c.OS)
	e.when(c.Protocol != "" && c.Protocol != "ssh", Fault, table+"protocol", `protocol = "ssh"`,
		"protocol is %q: the plugin refuses anything but ssh", c.Protocol)
	e.when(port < 0 || port > 65535, Fault, table+"protocol_port", "protocol_port = 22", "protocol_port is %d: it must be from 1 to 65535", port)
	e.when(port > 0 && port <= 65535 && port != 22, Note, table+"protocol_port", "",
		"protocol_port is %d: the image's SSH server has to listen there", port)
	e.when(c.Username != "" && c.Username != "root" && !strings.Contains(e.Config.UserData, c.Username) && e.Config.Image.Slug != "", Warning,
		table+"username", `username = "root"`, "username is %q: DigitalOcean's images have root only, and user_data makes no other user", c.Username)
	switch private := !e.Config.PublicNetworking; {
	case !e.valid():
	case c.UseExternalAddr:
		e.when(private, Warning, table+"use_external_addr", "use_external_addr = false",
			"use_external_addr is true, and with public_networking = false Droplets have only private addresses")
	case private:
		e.add(Note, table+"use_external_addr", "", "Droplets have only private addresses, so this host must be in their VPC")
	default:
		e.add(Note, table+"use_external_addr", "where this host is not in the Droplets' VPC: use_external_addr = true",
			"use_external_addr is false: Droplets are reached by their private addresses, so this host must be in their VPC")
	}
	short := func(key, hint string, value, least time.Duration) {
		e.when(value >= time.Millisecond && value < least, Warning, "autoscaler."+key, hint, // less is not set, or a fault of its own
			"%s is %s: a Droplet takes some 30s to become active, and 10s to 30s more until SSH", lastPart(key), value)
	}
	short("connector_config.timeout", `timeout = "5m"`, c.Timeout, time.Minute)
	short("instance_acquire_timeout", `instance_acquire_timeout = "15m"`, a.InstanceAcquireTimeout, 2*time.Minute)
}

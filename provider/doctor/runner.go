package doctor

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func (e *exam) executor() {
	if e.File == nil || e.docker() || e.Runner.Executor == "instance" {
		return
	}
	e.say(Fault, "executor", `executor = "docker-autoscaler"`,
		`executor is %q: only "docker-autoscaler" and "instance" use [runners.autoscaler]`, e.Runner.Executor)
}

// dockerTable checks that there is a [runners.docker], and what is in it.
func (e *exam) dockerTable() {
	if e.File == nil || !e.docker() {
		return
	}
	if !e.File.Has(e.Runner.Key("docker")) {
		e.say(Fault, "executor", "[runners.docker]\n  image = \"alpine:latest\"",
			"there is no [runners.docker], which docker-autoscaler needs: no job can run")
		return
	}
	for _, key := range []string{"tls_cert_path", "tls_verify"} {
		if e.File.Has(e.Runner.Key("docker." + key)) {
			e.say(Warning, "docker."+key, "remove it", "%s is of no use: Docker is reached over SSH, on the Droplet", key)
		}
	}
	// Rootless Docker and Podman have a socket of their own, so this one may be meant.
	if e.File.Has(e.Runner.Key("docker.host")) {
		e.say(Note, "docker.host", "remove it, unless it is such a socket",
			"host has to be a socket on the Droplet, such as unix:///run/podman/podman.sock: Docker is reached over SSH, on the Droplet")
	}
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

var element = regexp.MustCompile(`\.\d+\b`)

func (e *exam) ignoredKeys() {
	if e.File == nil {
		return
	}
	for _, key := range e.File.Ignored {
		rest, ours := strings.CutPrefix(key, e.Runner.Key("autoscaler."))
		if !ours {
			continue
		}
		path := element.ReplaceAllString(rest, "")
		table, name := "", path
		if i := strings.LastIndex(path, "."); i >= 0 {
			table, name = path[:i], path[i+1:]
		}
		e.at(Warning, e.File.At(key), cmp.Or(suggest(table, name), "remove it; docs/configuration.md has what the runner reads here"), "the runner ignores %s: [runners.autoscaler%s] has no such key",
			name, strings.TrimSuffix("."+table, "."))
	}
}

// suggest proposes the key that was meant: a slip of the finger away, or in another
// table.
func suggest(table, name string) string {
	best, found := 3, ""
	for _, key := range tables[table] {
		d := levenshtein.ComputeDistance(name, key)
		if strings.HasPrefix(name, key) && len(key) > 4 {
			d = 1 // as use_external_address
		}
		if d < best {
			best, found = d, key
		}
	}
	if found != "" {
		return fmt.Sprintf("did you mean %s?", found)
	}
	for _, other := range []string{"", "connector_config", "policy", "plugin_config", "state_storage", "scale_throttle"} {
		for _, key := range tables[other] {
			if key == name {
				return "it belongs into " + strings.Replace("[runners.autoscaler."+other+"]", ".]", "]", 1)
			}
		}
	}
	return ""
}

func (e *exam) values() {
	if e.File == nil {
		return
	}
	negative := func(key string, n float64) {
		if n < 0 {
			e.say(Fault, key, "remove it, or write what is meant", "%s is %v: it must not be negative", lastPart(key), n)
		}
	}
	duration := func(key string, d time.Duration) {
		switch {
		case d < 0:
			e.say(Fault, key, "remove it, or write what is meant", "%s is %s: it must not be negative", lastPart(key), d)
		case d > 0 && d < time.Millisecond:
			e.say(Fault, key, fmt.Sprintf(`%s = "%ds"`, lastPart(key), int64(d)),
				"%s is %s: a number without a unit counts nanoseconds", lastPart(key), d)
		}
	}
	a := e.Runner.Autoscaler
	negative("limit", float64(e.Runner.Limit))
	negative("autoscaler.capacity_per_instance", float64(a.CapacityPerInstance))
	negative("autoscaler.max_use_count", float64(a.MaxUseCount))
	negative("autoscaler.max_instances", float64(a.MaxInstances))
	duration("autoscaler.instance_acquire_timeout", a.InstanceAcquireTimeout)
	duration("autoscaler.update_interval", a.UpdateInterval)
	duration("autoscaler.update_interval_when_expecting", a.UpdateIntervalWhenExpecting)
	duration("autoscaler.deletion_retry_interval", a.DeletionRetryInterval)
	duration("autoscaler.shutdown_deletion_interval", a.ShutdownDeletionInterval)
	duration("autoscaler.connector_config.keepalive", a.Connector.Keepalive)
	duration("autoscaler.connector_config.timeout", a.Connector.Timeout)
	for i, p := range a.Policy {
		policy := fmt.Sprintf("autoscaler.policy.%d.", i)
		negative(policy+"idle_count", float64(p.IdleCount))
		negative(policy+"scale_factor", p.ScaleFactor)
		negative(policy+"scale_factor_limit", float64(p.ScaleFactorLimit))
		duration(policy+"idle_time", p.IdleTime)
	}
}

// lastPart is the name of a key.
func lastPart(key string) string { return key[strings.LastIndex(key, ".")+1:] }

func (e *exam) groupName() {
	if e.File == nil || e.Account.Name == "" {
		return
	}
	for _, other := range e.File.Runners {
		if other.Index == e.Runner.Index || !other.OurPlugin() || pluginKey(other, "name") != e.Account.Name ||
			pluginKey(other, "api_url") != pluginKey(e.Runner, "api_url") {
			continue
		}
		e.say(Fault, "autoscaler.plugin_config.name", fmt.Sprintf("name = %q", e.Account.Name+"-2"),
			"%s has a group %q too: the second plugin that starts is refused, and its jobs fail",
			e.File.At(other.Key("autoscaler.plugin_config.name")), e.Account.Name)
	}
}

// pluginKey returns a string of plugin_config, in which the case of keys does not
// matter.
func pluginKey(r runnerconfig.Runner, name string) string {
	for key, value := range r.Autoscaler.PluginConfig {
		if text, ok := value.(string); ok && strings.EqualFold(key, name) {
			return text
		}
	}
	return ""
}

func (e *exam) jobs() {
	if e.File == nil {
		return
	}
	concurrent := e.File.Concurrent
	switch {
	case concurrent < 0, concurrent == 0 && e.File.Has("concurrent"):
		e.at(Fault, e.File.At("concurrent"), "concurrent = 10", "concurrent is %d: the runner does not start", concurrent)
		return
	case concurrent == 0:
		concurrent = 1 // the runner's default
	}
	slots := e.maxInstances() * e.capacity()
	switch {
	case slots == 0:
	case concurrent < slots:
		e.at(Warning, e.File.At("concurrent"), fmt.Sprintf("concurrent = %d", max(slots, e.allSlots())),
			"concurrent is %d, and the Droplets have room for %d jobs (%d x capacity_per_instance %d): some of them are never used",
			concurrent, slots, e.maxInstances(), e.capacity())
	case concurrent < e.allSlots():
		e.at(Note, e.File.At("concurrent"), fmt.Sprintf("concurrent = %d", e.allSlots()),
			"concurrent is %d, and the Droplets of all [[runners]] together have room for %d jobs: not all are used at once",
			concurrent, e.allSlots())
	}
	if limit := e.Runner.Limit; slots > 0 && limit > 0 && limit < slots {
		e.say(Warning, "limit", fmt.Sprintf("limit = %d", slots),
			"limit is %d, and the Droplets have room for %d jobs (%d x capacity_per_instance %d): some of them are never used",
			limit, slots, e.maxInstances(), e.capacity())
	}
}

// allSlots is how many jobs the Droplets of all runners of this plugin have room for,
// as far as their max_instances tell.
func (e *exam) allSlots() (slots int) {
	for _, r := range e.File.Runners {
		switch {
		case !r.OurPlugin():
		case r.Index == e.Runner.Index:
			slots += e.maxInstances() * e.capacity()
		default:
			slots += r.Autoscaler.MaxInstances * max(1, r.Autoscaler.CapacityPerInstance)
		}
	}
	return slots
}

func (e *exam) instances() {
	if !e.valid() {
		return
	}
	runner, plugin := e.Runner.Autoscaler.MaxInstances, e.Config.MaxInstances
	switch {
	case plugin > 0 && runner > plugin:
		e.say(Fault, "autoscaler.max_instances", fmt.Sprintf("max_instances = %d", plugin),
			"max_instances is %d, more than the %d of plugin_config (%s): the runner refuses to start the plugin",
			runner, plugin, e.File.At(e.Runner.Key("autoscaler.plugin_config.max_instances")))
	case runner == 0 && plugin == 0 && e.Config.MaxHourlyCost == 0:
		e.say(Warning, "autoscaler.max_instances", "max_instances = 10",
			"max_instances is set neither here nor in plugin_config: the account's Droplet limit is all that limits the bill")
	}
}

func (e *exam) restart() {
	if !e.valid() {
		return
	}
	a := e.Runner.Autoscaler
	static := e.Config.SSHKeyFile != "" || a.Connector.KeyPath != "" || a.Connector.UseStaticCredentials && a.Connector.Password != ""
	const storage = `state_storage = { enabled = true, dir = "/var/lib/gitlab-runner/taskscaler" }`
	switch {
	case !a.StateStorage.Enabled && a.DeleteInstancesOnShutdown:
		e.say(Note, "autoscaler.state_storage", storage,
			"without state_storage a runner that crashed destroys every Droplet that it finds when it starts again")
	case !a.StateStorage.Enabled:
		e.say(Warning, "autoscaler.state_storage", storage,
			"without state_storage a restarted runner destroys every Droplet that it finds, and makes new ones")
	case !static:
		e.say(Warning, "autoscaler.plugin_config.ssh_key_file", `ssh_key_file = "/var/lib/gitlab-runner/fleeting-ssh-key"`,
			"without ssh_key_file each start makes a new key, which does not open the Droplets that state_storage keeps over a restart")
	}
}

func (e *exam) shutdown() {
	if e.File == nil || e.Runner.Autoscaler.DeleteInstancesOnShutdown {
		return
	}
	e.say(Note, "autoscaler.delete_instances_on_shutdown", "where the runner is stopped for good: delete_instances_on_shutdown = true",
		"Droplets stay, and are billed, while the runner is stopped")
}

// tolerant matches a wait for cloud-init whose exit status does not fail the command.
var tolerant = regexp.MustCompile(`cloud-init status --wait(?:[^&|;\n]|&[^&])*[|;\n]`)

func (e *exam) readyCommand() {
	if e.File == nil {
		return
	}
	command := e.Runner.Autoscaler.InstanceReadyCommand
	wait := "(cloud-init status --wait || test $? -eq 2)"
	if e.docker() {
		wait += " && docker info"
	}
	hint := fmt.Sprintf("instance_ready_command = %q", wait)
	say := func(what string) { e.say(Warning, "autoscaler.instance_ready_command", hint, "%s", what) }
	switch {
	case command == "":
		say("there is no instance_ready_command: a Droplet is given jobs while cloud-init still works on it")
		return
	case !strings.Contains(command, "cloud-init") && !strings.Contains(command, "boot-finished"):
		say("instance_ready_command does not wait for cloud-init: a Droplet is given jobs while that still works on it")
	case strings.Contains(command, "cloud-init status --wait") && !tolerant.MatchString(command):
		say("cloud-init exits with 2 when it is done and had something to complain about: such Droplets are replaced for ever")
	}
	if e.docker() && !strings.Contains(command, "docker") {
		say("instance_ready_command does not wait for Docker, which every job needs")
	}
}

func (e *exam) updateInterval() {
	if e.File == nil {
		return
	}
	a := e.Runner.Autoscaler
	for _, i := range []struct {
		key, usual string
		value      time.Duration
	}{
		{"update_interval", "1m", a.UpdateInterval},
		{"update_interval_when_expecting", "2s", a.UpdateIntervalWhenExpecting},
	} {
		if i.value == 0 {
			e.say(Warning, "autoscaler."+i.key, fmt.Sprintf("%s = %q", i.key, i.usual),
				"%s is 0, or not set: some releases of the runner take that for 0, and ask without a pause", i.key)
		}
	}
}

func (e *exam) useCount() {
	if e.File != nil && e.Runner.Autoscaler.MaxUseCount == 0 {
		e.say(Note, "autoscaler.max_use_count", "max_use_count = 20",
			"max_use_count is not set: a busy Droplet is used for ever, until its disk is full of what jobs leave")
	}
}

// ceil divides, and rounds up.
func ceil(n, by int) int { return int(math.Ceil(float64(n) / float64(by))) }

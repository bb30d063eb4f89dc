package migrate

import (
	"slices"
	"strings"
)

// Rule is what becomes of one key. docs/migrate.md is made of these.
type Rule struct {
	Where string // the section
	Old   string // the key, or several
	New   string // what it becomes; empty = nothing
	Why   string // what differs, or why nothing becomes of it
}

// Sections of the old file.
const (
	inRunner  = "[[runners]]"
	inDocker  = "[runners.docker]"
	inMachine = "[runners.machine]"
	inPeriods = "[[runners.machine.autoscaling]]"
	inDriver  = "MachineOptions: digitalocean-..."
	inEngine  = "MachineOptions: docker-machine's own"
	inGlobal  = "[machine]"
	inCache   = "[runners.cache]"
)

// Rules are all keys that are known, in the order of the documentation. Others are in the commented section alone.
var Rules = []Rule{
	{inRunner, "executor", `executor = "docker-autoscaler"`, ""},
	{inRunner, "limit", "limit, max_instances",
		"without one, or with 0, max_instances is concurrent + the highest IdleCount: the most that there could be"},
	{inRunner, "request_concurrency", "request_concurrency", "4 where it is not written: with 1 jobs wait for GitLab's long polling"},
	{inRunner, "pre_clone_script, post_clone_script", "pre_get_sources_script, post_get_sources_script", ""},

	{inDocker, "host, tls_verify, tls_cert_path", "", "Docker is reached over SSH, on the Droplet"},

	{inMachine, "MachineDriver", "plugin", ""},
	{inMachine, "MachineName", "plugin_config.name",
		"without %s, and made of a-z, 0-9 and - alone; of two equal names the second gets a number"},
	{inMachine, "MaxBuilds", "max_use_count", ""},
	{inMachine, "MaxGrowthRate", "plugin_config.max_creating", ""},
	{inMachine, "IdleCount", "policy idle_count, preemptive_mode",
		"preemptive_mode = true where there is one: a job is taken when a machine is idle"},
	{inMachine, "IdleTime", "policy idle_time", "none or 0 is 1s, the least that the runner takes"},
	{inMachine, "IdleScaleFactor", "policy scale_factor, scale_factor_limit",
		"scale_factor counts all machines, so it is 1 + F, rounded up where docker+machine rounded down; " +
			"scale_factor_limit is where IdleCount, the most idle machines, is reached: with very many jobs there are fewer"},
	{inMachine, "IdleCountMin", "policy idle_count", "with IdleScaleFactor alone, and at least 1 then"},
	{inMachine, "MaxRemovalAttempts", "", "the plugin destroys until a list shows the Droplet gone"},
	{inMachine, "MachineOptions", "plugin_config, connector_config", "see below"},
	{inMachine, "MachineOptionsWithName", "", "user_data is the same for all Droplets"},
	{inMachine, "OffPeakPeriods, OffPeakTimezone, OffPeakIdleCount, OffPeakIdleTime", "",
		"the runner ignores them since 14.0; the policy that they meant is proposed in a comment"},

	{inPeriods, "Periods", "policy periods",
		"seconds and year are left out, and must be *; steps become lists, and a day of the month with a day of the week becomes two " +
			"periods, since the autoscaler reads these differently; there is no policy with L, W, # or @"},
	{inPeriods, "Timezone", "policy timezone", `"" and "Local" are the default, and left out`},

	{inDriver, "digitalocean-access-token", "plugin_config.token_file", "moved to a file of mode 0600, by --write"},
	{inDriver, "digitalocean-image", "plugin_config.image",
		"one that is gone, or that Docker cannot be installed on, becomes the image with Docker; on a plain one user_data installs it"},
	{inDriver, "digitalocean-region", "plugin_config.region", "one that takes no new Droplets becomes its neighbour"},
	{inDriver, "digitalocean-size", "plugin_config.size", "an old name becomes the size of today with as much memory"},
	{inDriver, "digitalocean-ipv6, digitalocean-monitoring, digitalocean-backups, digitalocean-tags", "plugin_config", "each by its own name"},
	{inDriver, "digitalocean-userdata", "plugin_config.user_data",
		"merged with what the Droplets need besides; user_data_file where there is nothing else, or the file cannot be read here"},
	{inDriver, "digitalocean-ssh-user", "connector_config.username", "root where the image is another one"},
	{inDriver, "digitalocean-ssh-port", "connector_config.protocol_port", "22 where the image is another one"},
	{inDriver, "digitalocean-ssh-key-path", "connector_config.key_path",
		"without a fingerprint ssh_key_file: the plugin uploads its public half, as docker-machine did"},
	{inDriver, "digitalocean-ssh-key-fingerprint", "plugin_config.ssh_keys", ""},
	{inDriver, "digitalocean-private-networking", "",
		"every Droplet is in a VPC; docker-machine connected by the public address all the same, and so does use_external_addr = true"},

	{inEngine, "engine-registry-mirror, engine-insecure-registry, engine-label", "daemon.json", "in user_data"},
	{inEngine, "engine-storage-driver", "daemon.json", "in user_data, unless Docker no longer has it"},
	{inEngine, "engine-opt", "daemon.json", "in user_data; a flag whose key is not known is lost"},
	{inEngine, "engine-env", "a systemd drop-in of docker.service", "in user_data, which jobs can read"},
	{inEngine, "engine-install-url", "", "Docker is the image's, or the distribution's package"},
	{inEngine, "tls-san, swarm-*", "", "SSH takes the place of TLS; Swarm is gone, and jobs never used it"},

	{inGlobal, "shutdown_drain.enabled", "delete_instances_on_shutdown",
		"of every migrated runner, with shutdown_deletion_interval and shutdown_deletion_retries"},
	{inGlobal, "shutdown_drain.max_retries", "shutdown_deletion_retries", ""},
	{inGlobal, "shutdown_drain.retry_backoff", "shutdown_deletion_interval", "the pause no longer grows with each try"},
	{inGlobal, "shutdown_drain.concurrency, heartbeat", "", "they were about docker-machine's machines"},

	{inCache, "ServerAddress", "s3.ServerAddress", "of Spaces: the region's host, without scheme and bucket"},
	{inCache, "AccessKey, SecretKey, BucketName", "s3", "each by its own name"},
	{inCache, "BucketLocation", "s3.BucketLocation", "of Spaces, where it is missing: the region"},
	{inCache, "Insecure", "s3.Insecure", "of Spaces it goes: Spaces speaks https"},
	{inCache, "S3CachePath, CacheShared", "Path, Shared", ""},
}

// known reports whether there is a rule for a key of [runners.machine], or of its autoscaling, by its path.
func known(path string) bool {
	key := path[strings.LastIndexByte(path, '.')+1:]
	return key == "machine" || key == "autoscaling" || slices.ContainsFunc(Rules, func(r Rule) bool {
		return (r.Where == inMachine || r.Where == inPeriods) && strings.Contains(strings.ToLower(r.Old)+",", key+",")
	})
}

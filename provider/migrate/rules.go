package migrate

// Rule is what becomes of one key. docs/migrate.md is made of these.
type Rule struct {
	Where string // the section
	Old   string // the key
	New   string // what it becomes; empty = nothing
	Kind  Kind   // at best; a value can make it worse, and a Note says so
	Why   string // what differs, or why it is dropped
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

// Rules are all keys that are known, in the order of the documentation. What is not
// among them stays as a comment, with a Note.
var Rules = []Rule{
	{inRunner, "executor", `executor = "docker-autoscaler"`, Converted, ""},
	{inRunner, "limit", "limit, max_instances", Converted, "of 0 or none: max_instances is concurrent + the highest IdleCount, which is what there could be at most"},

	{inDocker, "host", "", Dropped, "Docker is reached over SSH, on the Droplet"},
	{inDocker, "tls_verify", "", Dropped, "SSH takes the place of TLS"},
	{inDocker, "tls_cert_path", "", Dropped, "SSH takes the place of TLS"},

	{inMachine, "MachineDriver", "plugin", Converted, ""},
	{inMachine, "MachineName", "plugin_config.name", Converted, "without %s, and made of a-z, 0-9 and - alone; of two equal names the second gets a number"},
	{inMachine, "MaxBuilds", "max_use_count", Converted, ""},
	{inMachine, "MaxGrowthRate", "plugin_config.max_creating", Converted, ""},
	{inMachine, "IdleCount", "policy idle_count", Converted, "with IdleScaleFactor it is a cap on idle machines, which no key is: see there"},
	{inMachine, "IdleTime", "policy idle_time", Converted, "none or 0 is 1s, the least that the runner takes"},
	{inMachine, "IdleScaleFactor", "policy scale_factor, scale_factor_limit", Approximated,
		"scale_factor counts all machines, so it is 1 + F, rounded up where docker+machine rounded down; " +
			"scale_factor_limit is set so that there never are more than IdleCount idle machines, and with very many jobs there are fewer"},
	{inMachine, "IdleCountMin", "policy idle_count", Converted, "counts with IdleScaleFactor only, and is at least 1 then"},
	{inMachine, "MaxRemovalAttempts", "", Dropped, "the plugin destroys until a list shows the Droplet gone"},
	{inMachine, "MachineOptionsWithName", "", Decision, "user_data is the same for all Droplets; what to paste is in the note"},
	{inMachine, "OffPeakPeriods", "", Decision, "the runner has ignored it since 14.0; the policy that it meant is proposed in a comment"},
	{inMachine, "OffPeakTimezone", "", Decision, "goes with OffPeakPeriods"},
	{inMachine, "OffPeakIdleCount", "", Decision, "goes with OffPeakPeriods"},
	{inMachine, "OffPeakIdleTime", "", Decision, "goes with OffPeakPeriods"},

	{inPeriods, "Periods", "policy periods", Converted,
		"seconds and year are left out, and must be *; steps become lists, and a day of the month with a day of the week becomes two periods, " +
			"since the autoscaler reads these differently; L, W, # and @ are refused"},
	{inPeriods, "Timezone", "policy timezone", Converted, `"" and "Local" are the default, and left out`},

	{inDriver, "digitalocean-access-token", "plugin_config.token_file", Converted, "moved to a file of mode 0600, by --write"},
	{inDriver, "digitalocean-image", "plugin_config.image", Converted,
		"one that is gone, or that Docker cannot be installed on, becomes the image with Docker; a plain one gets user_data that installs Docker"},
	{inDriver, "digitalocean-region", "plugin_config.region", Converted, "one that takes no new Droplets becomes its neighbour"},
	{inDriver, "digitalocean-size", "plugin_config.size", Converted, "an old name becomes the size of today with as much memory"},
	{inDriver, "digitalocean-ipv6", "plugin_config.ipv6", Converted, ""},
	{inDriver, "digitalocean-monitoring", "plugin_config.monitoring", Converted, ""},
	{inDriver, "digitalocean-backups", "plugin_config.backups", Converted, ""},
	{inDriver, "digitalocean-tags", "plugin_config.tags", Converted, ""},
	{inDriver, "digitalocean-userdata", "plugin_config.user_data_file", Converted, "what else the Droplets need has to be put into that file: the note and a comment have the text"},
	{inDriver, "digitalocean-ssh-user", "connector_config.username", Converted, "the user of an image that is gone becomes root"},
	{inDriver, "digitalocean-ssh-port", "connector_config.protocol_port", Converted, ""},
	{inDriver, "digitalocean-ssh-key-path", "connector_config.key_path", Converted, ""},
	{inDriver, "digitalocean-ssh-key-fingerprint", "plugin_config.ssh_keys", Converted, ""},
	{inDriver, "digitalocean-private-networking", "", Dropped,
		"every Droplet is in a VPC; docker-machine connected by the public address all the same, and so does use_external_addr = true"},

	{inEngine, "engine-registry-mirror", "daemon.json registry-mirrors", Converted, "in user_data"},
	{inEngine, "engine-insecure-registry", "daemon.json insecure-registries", Converted, "in user_data"},
	{inEngine, "engine-storage-driver", "daemon.json storage-driver", Converted, "in user_data; drivers that Docker no longer has are dropped"},
	{inEngine, "engine-label", "daemon.json labels", Converted, "in user_data"},
	{inEngine, "engine-opt", "daemon.json", Converted, "in user_data; a flag whose key is not known is for you to decide"},
	{inEngine, "engine-env", "a systemd drop-in of docker.service", Converted, "in user_data, which jobs can read"},
	{inEngine, "engine-install-url", "", Dropped, "Docker is the image's, or the distribution's package"},
	{inEngine, "tls-san", "", Dropped, "SSH takes the place of TLS"},
	{inEngine, "swarm-*", "", Dropped, "Swarm is gone, and jobs never used it"},

	{inGlobal, "shutdown_drain.enabled", "delete_instances_on_shutdown", Converted, "of every migrated runner"},
	{inGlobal, "shutdown_drain.max_retries", "shutdown_deletion_retries", Converted, ""},
	{inGlobal, "shutdown_drain.retry_backoff", "shutdown_deletion_interval", Approximated, "the pause no longer grows with each try"},
	{inGlobal, "shutdown_drain.concurrency", "", Dropped, "the plugin destroys many Droplets with one request"},
	{inGlobal, "heartbeat", "", Dropped, "it watched docker-machine's machines"},

	{inCache, "ServerAddress", "s3.ServerAddress", Converted, "of Spaces: the region's host, without scheme and bucket"},
	{inCache, "AccessKey", "s3.AccessKey", Converted, ""},
	{inCache, "SecretKey", "s3.SecretKey", Converted, ""},
	{inCache, "BucketName", "s3.BucketName", Converted, ""},
	{inCache, "BucketLocation", "s3.BucketLocation", Converted, "of Spaces, where it is missing: the region"},
	{inCache, "Insecure", "s3.Insecure", Converted, "of Spaces it is dropped: Spaces speaks https"},
	{inCache, "S3CachePath", "Path", Converted, ""},
	{inCache, "CacheShared", "Shared", Converted, ""},
}

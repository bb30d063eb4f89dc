package config

import "time"

// key is one key of plugin_config.
type key struct {
	name string

	// Its row in docs/configuration.md (see TestReference). A key without them shares the row above.
	types, fallback, help string

	example  string // makes the key required, and is shown when it is missing
	unless   string // the key that takes its place, if there is one
	excludes string // the key that must not be given with it

	// read checks the value and stores it in the Config. It is called, with nil, for a key that is not given too.
	read func(any) error
}

// keys are all keys, in the order of the documentation. They are read in this order, and their faults come in it, so a
// key may look at what the keys above it have stored.
func (p *parser) keys() []key {
	c := &p.config
	return []key{
		{name: "name", types: "string", fallback: "required", example: `name = "ci"`, read: set(&c.Name, text(groupName)),
			help: "The group: the prefix of every Droplet's name, and part of its tag `fleeting-group:<name>`. 1 to 45 characters of " +
				"a-z, 0-9 and `-`, with a letter or a digit at both ends, and not `-doctor` at the end. One manager, one name."},
		{name: "token", types: "string", fallback: "required, one of the four", read: p.token,
			help: "Where the token comes from: the first that is set of these, then the environment's `DIGITALOCEAN_TOKEN` and " +
				"`DIGITALOCEAN_ACCESS_TOKEN`. A file is read again after a 401, so a token is rotated without a restart."},
		{name: "token_file", read: p.tokenFile},
		{name: "api_url", types: "string", fallback: `"https://api.digitalocean.com"`, read: p.apiURL,
			help: "The API: https, or http to a loopback host. Also from the environment, `DIGITALOCEAN_API_URL`."},

		{name: "region", types: "string or list", fallback: "required", example: `region = "nyc3"`,
			read: set(&c.Regions, list(1, text(slug))),
			help: "The slug of a region, or a list of them that is tried in order when capacity is short."},
		{name: "size", types: "string or list", fallback: "required", example: `size = "s-2vcpu-4gb"`,
			read: set(&c.Sizes, list(1, text(slug))),
			help: "Likewise. Every region is tried with the first size before the second size is."},
		{name: "image", types: "string or number", fallback: "required, or image_tag", example: `image = "ubuntu-24-04-x64"`, unless: "image_tag",
			read: set(&c.Image, image),
			help: "What Droplets are made from: a slug, or the id of a snapshot."},
		{name: "image_tag", types: "string", fallback: "none", excludes: "image", read: set(&c.ImageTag, text(tag)),
			help: "Instead of `image`: the newest private image that carries this tag and is in the region, looked up again every " +
				"10 minutes."},

		{name: "ssh_keys", types: "string, number or list", fallback: "none", read: set(&c.SSHKeys, list(0, sshKey)),
			help: "More keys of the account that Droplets let in: ids or MD5 fingerprints."},
		{name: "ssh_key_file", types: "string", fallback: "none", read: set(&c.SSHKeyFile, text(path)),
			help: "The path of a private key that outlives restarts; it is made (ed25519, mode 0600) if it is missing. Without it, and " +
				"without `connector_config.key_path`, each start makes a key in memory and takes it off the account at the end."},

		{name: "vpc_uuid", types: "string or table", fallback: "the region's default VPC", read: set(&c.VPC, p.vpc),
			help: "The UUID of a VPC; with several regions a table of region = UUID, which may leave some out. One for a region that is not " +
				"in `region` is refused."},
		{name: "public_networking", types: "boolean", fallback: "true", read: set(&c.PublicNetworking, boolean),
			help: "Whether Droplets have public addresses. With false the runner must be in the VPC, with `use_external_addr = false`."},
		{name: "ipv6", types: "boolean", fallback: "false", read: set(&c.IPv6, p.ipv6),
			help: "A public IPv6 address too."},

		{name: "monitoring", types: "boolean", fallback: "false", read: set(&c.Monitoring, boolean),
			help: "DigitalOcean's metrics agent, free of charge."},
		{name: "backups", types: "boolean", fallback: "false", read: set(&c.Backups, boolean),
			help: "Backups by DigitalOcean, which cost extra and are of little use here."},
		{name: "with_droplet_agent", types: "boolean", fallback: "where the image has it", read: set(&c.WithDropletAgent, optionalBoolean),
			help: "The agent behind DigitalOcean's web console: true insists on it, false goes without."},
		{name: "user_data", types: "string", fallback: "none", read: set(&c.UserData, text(userData)),
			help: "What cloud-init is to do, as text or as the path of a file: at most 64 KiB of ASCII. Jobs can read it through the " +
				"metadata service: no secrets."},
		{name: "user_data_file", excludes: "user_data", read: set(&c.UserData, text(p.userDataFile))},

		{name: "tags", types: "string or list", fallback: "none", read: set(&c.Tags, list(0, text(freeTag))),
			help: "More tags for every Droplet, such as the one that a firewall goes by. `fleeting` and `fleeting-...` are the plugin's."},
		{name: "project_id", types: "string", fallback: "the account's default project", read: set(&c.ProjectID, text(uuid)),
			help: "The UUID of the project that Droplets are assigned to. Failing at that is a warning."},

		{name: "max_instances", types: "number", fallback: "the account's limit", read: set(&c.MaxInstances, droplets),
			help: "Most Droplets at once, 1 to 100000. The runner's own `max_instances` must not be more."},
		{name: "max_creating", types: "number", fallback: "no limit", read: set(&c.MaxCreating, droplets),
			help: "Most Droplets being created at once, 1 to 100000: docker-machine's MaxGrowthRate."},
		{name: "max_hourly_cost", types: "number", fallback: "no limit", read: set(&c.MaxHourlyCost, cost),
			help: "Most USD an hour that the group's Droplets may cost together, by the price of the most expensive `size`: it lowers " +
				"`max_instances`. More than 0, at most 100000. Backups and traffic are not counted."},
		{name: "create_timeout", types: "string", fallback: `"10m"`, read: set(&c.CreateTimeout, createTimeout),
			help: "A Droplet that is not active by then is destroyed: a duration from 30s to 24h."},
	}
}

// defaults is what holds for keys that are not given; apiURL has the one that depends on the environment.
func defaults() Config {
	return Config{PublicNetworking: true, CreateTimeout: 10 * time.Minute}
}

// Keys returns the names of all keys, in the order of the documentation.
func Keys() []string {
	var names []string
	for _, k := range new(parser).keys() {
		names = append(names, k.name)
	}
	return names
}

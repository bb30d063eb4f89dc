package config

import "time"

// key is one key of plugin_config: what reads it, its row in docs/configuration.md and its part of [Schema].
type key struct {
	name     string
	value           // what it takes, and where that goes
	fallback string // what holds without it: a literal in TOML and JSON, or words
	help     string

	example  string // makes the key required, and is shown when it is missing
	unless   string // the key that takes its place, if there is one
	excludes string // the key that must not be given with it
	needs    string // the key that must be given with it
}

// keys are all keys, in the order of the documentation. They are read in this order, and their faults come in it, so a
// key may look at what the keys above it have stored.
func (p *parser) keys() []key {
	c := &p.config
	return []key{
		{name: "name", value: names.and(notBoot).into(&c.Name), fallback: "required", example: `name = "ci"`,
			help: "The group: the prefix of its Droplets' names, and part of their tag `fleeting-group:<name>`. 1 to 45 of a-z, 0-9 and `-`, " +
				"a letter or digit at both ends, no `-doctor` at the end. One manager, one name."},
		{name: "token", value: value{maybeEmpty.schema, p.token}, fallback: "required, or token_file, or the environment",
			help: "DigitalOcean's token. The first that is set counts: `token`, `token_file`, `DIGITALOCEAN_TOKEN`, " +
				"`DIGITALOCEAN_ACCESS_TOKEN`."},
		{name: "token_file", value: value{maybeEmpty.schema, p.tokenFile}, fallback: "the environment",
			help: "A file that contains only the token. It is read again after a 401: no restart for a new token."},
		{name: "api_url", value: value{apiURLs.schema, p.apiURL},
			fallback: `"` + defaultAPIURL + `"`,
			help:     "The API: https, or http to a loopback host. Environment: `DIGITALOCEAN_API_URL`."},

		{name: "region", value: list(1, slugs).into(&c.Regions), fallback: "required", example: `region = "nyc3"`,
			help: "A slug, or a list of them, tried in order."},
		{name: "size", value: list(1, slugs).into(&c.Sizes), fallback: "required", example: `size = "s-2vcpu-4gb"`,
			help: "A slug, or a list of them, tried in order."},
		{name: "image", value: images.into(&c.Image), fallback: "required, or image_tag",
			example: `image = "ubuntu-24-04-x64"`, unless: "image_tag",
			help: "A slug, or the id of a snapshot."},
		{name: "image_tag", value: tags.into(&c.ImageTag), fallback: "none", excludes: "image",
			help: "Instead of `image`: the newest private image with this tag in the region, looked up every 10 minutes."},

		{name: "ssh_keys", value: list(0, sshKeys).into(&c.SSHKeys), fallback: "none",
			help: "More keys of the account that can log in: ids or MD5 fingerprints."},
		{name: "ssh_key_file", value: files.into(&c.SSHKeyFile), fallback: "none",
			help: "A private key, created if it is missing (ed25519, mode 0600). If neither it nor `connector_config.key_path` is set, " +
				"each start creates a key in memory: a restart loses the Droplets."},

		{name: "vpc_uuid", value: p.byRegion().into(&c.VPC), fallback: "the region's default VPC",
			help: "A VPC's UUID; with several regions a table of region = UUID. It may leave some of `region` out, but has no others."},
		{name: "subnet_uuid", value: p.byRegion().and(p.withVPC).into(&c.Subnet), fallback: "the VPC's default subnet", needs: "vpc_uuid",
			help: "A subnet of the VPC, written as `vpc_uuid` is. Only a create checks it. A public preview."},
		{name: "public_networking", value: boolean.into(&c.PublicNetworking), fallback: "true",
			help: "With false, Droplets have no public address: the runner must be in the VPC, with `use_external_addr = false`."},
		{name: "ipv6", value: boolean.and(p.ipv6).into(&c.IPv6), fallback: "false",
			help: "A public IPv6 address too."},

		{name: "monitoring", value: boolean.into(&c.Monitoring), fallback: "false",
			help: "DigitalOcean's metrics agent, free of charge."},
		{name: "backups", value: boolean.into(&c.Backups), fallback: "false",
			help: "Backups cost extra, and are of little use here."},
		{name: "with_droplet_agent", value: optional(boolean).into(&c.WithDropletAgent), fallback: "where the image has it",
			help: "The agent for the web console: true requires it, false leaves it out."},
		{name: "user_data", value: userData.into(&c.UserData), fallback: "none",
			help: "For cloud-init at the first boot: at most 64 KiB of ASCII. Jobs can read it: no secrets."},
		{name: "user_data_file", value: files.and(p.userDataFile).into(&c.UserData), fallback: "none", excludes: "user_data",
			help: "Instead of `user_data`: a file, read at the start."},

		{name: "tags", value: list(0, tags.and(freeTag)).into(&c.Tags), fallback: "none",
			help: "More tags, for example for a firewall. `fleeting` and `fleeting-...` are the plugin's."},
		{name: "project_id", value: uuids.into(&c.ProjectID), fallback: "the account's default project",
			help: "The UUID of the Droplets' project. A failed assignment is only a warning in the log."},

		{name: "max_instances", value: droplets.into(&c.MaxInstances), fallback: "the account's limit",
			help: "The most Droplets, 1 to 100000. The runner's `max_instances` must not be more."},
		{name: "max_creating", value: droplets.into(&c.MaxCreating), fallback: "no limit",
			help: "The most Droplets being created at once, 1 to 100000."},
		{name: "max_hourly_cost", value: cost.into(&c.MaxHourlyCost), fallback: "no limit",
			help: "The most USD an hour for the group's Droplets, without backups and traffic, 0.001 to 100000. It lowers `max_instances`, " +
				"by the price of the most expensive `size`."},
		{name: "create_timeout", value: timeouts.into(&c.CreateTimeout), fallback: `"10m"`,
			help: "A Droplet that is not active by then is deleted. 30s to 24h."},
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

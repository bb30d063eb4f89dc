package config

import (
	"maps"
	"slices"
)

// key is one key of plugin_config: what it takes and where that goes, its row in docs/configuration.md and its part of
// [Schema].
type key struct {
	name     string
	takes    kind[struct{}]
	fallback string // what holds without it: a literal in TOML and JSON, or words
	help     string
	hint     string // shown with each fault

	required    bool
	instead     string   // the key that may be given in place of a required one
	environment []string // the variables that hold it where it is not given
	excludes    string   // the key that must not be given with it
	needs       string   // the key that must be given with it
}

// keys are all keys, in the order of the documentation. They are read in this order, and their faults come in it. Bounds
// of numbers are far above any account's: they catch typos.
func (p *parser) keys() []key {
	c := &p.config
	return []key{
		{name: "name", takes: in(&c.Name, groups), required: true, hint: `for example name = "ci"`,
			help: "The group: the prefix of its Droplets' names, and part of their tag `fleeting-group:<name>`. 1 to 45 of a-z, 0-9 and `-`, " +
				"a letter or digit at both ends, no `-doctor` at the end. One manager, one name."},
		{name: "token", takes: in(&c.Token, then(plain, p.token)),
			required: true, instead: "token_file", environment: []string{"DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"},
			hint: `for example token_file = "/etc/gitlab-runner/digitalocean-token", or DIGITALOCEAN_TOKEN in the environment`,
			help: "DigitalOcean's token. The first that is set counts: `token`, `token_file`, `DIGITALOCEAN_TOKEN`, " +
				"`DIGITALOCEAN_ACCESS_TOKEN`."},
		{name: "token_file", takes: in(&c.Token, then(path, p.tokenFile)), fallback: "the environment",
			help: "A file that contains only the token. It is read again after a 401: no restart for a new token."},
		{name: "api_url", takes: in(&c.APIURL, then(plain, normalURL)),
			environment: []string{"DIGITALOCEAN_API_URL"}, fallback: `"` + defaultAPIURL + `"`,
			help: "The API: https, or http to a loopback host. Environment: `DIGITALOCEAN_API_URL`."},

		{name: "region", takes: in(&c.Regions, list(1, slugs)), required: true, hint: `for example region = "nyc3"`,
			help: "A slug, or a list of them, tried in order."},
		{name: "size", takes: in(&c.Sizes, list(1, slugs)), required: true, hint: `for example size = "s-2vcpu-4gb"`,
			help: "A slug, or a list of them, tried in order."},
		{name: "image", takes: in(&c.Image, images), required: true, instead: "image_tag",
			hint: `for example image = "ubuntu-24-04-x64", or image_tag`,
			help: "A slug, or the id of a snapshot."},
		{name: "image_tag", takes: in(&c.ImageTag, tags), excludes: "image", fallback: "none",
			help: "Instead of `image`: the newest private image with this tag in the region, looked up every 10 minutes."},

		{name: "ssh_keys", takes: in(&c.SSHKeys, list(0, sshKeys)), fallback: "none",
			hint: "ssh-keygen -E md5 -lf KEY.pub prints the fingerprint",
			help: "More keys of the account that can log in: ids or MD5 fingerprints."},
		{name: "ssh_key_file", takes: in(&c.SSHKeyFile, path), fallback: "none",
			help: "A private key, created if it is missing (ed25519, mode 0600). If neither it nor `connector_config.key_path` is set, " +
				"each start creates a key in memory: a restart loses the Droplets."},

		{name: "vpc_uuid", takes: in(&c.VPC, byRegion(uuids, "region", func() []string { return c.Regions })),
			fallback: "the region's default VPC",
			help:     "A VPC's UUID; with several regions a table of region = UUID. It may leave some of `region` out, but has no others."},
		{name: "subnet_uuid", takes: in(&c.Subnet, byRegion(uuids, "vpc_uuid", func() []string { return slices.Sorted(maps.Keys(c.VPC)) })),
			needs: "vpc_uuid", fallback: "the VPC's default subnet",
			help: "A subnet of the VPC, written as `vpc_uuid` is. Only a create checks it. A public preview."},
		{name: "public_networking", takes: in(&c.PublicNetworking, boolean), fallback: "true",
			help: "With false, Droplets have no public address: the runner must be in the VPC, with `use_external_addr = false`."},
		{name: "ipv6", takes: in(&c.IPv6, then(boolean, p.ipv6)), fallback: "false",
			help: "A public IPv6 address too."},

		{name: "monitoring", takes: in(&c.Monitoring, boolean), fallback: "false",
			help: "DigitalOcean's metrics agent, free of charge."},
		{name: "backups", takes: in(&c.Backups, boolean), fallback: "false",
			help: "Backups cost extra, and are of little use here."},
		{name: "with_droplet_agent", takes: in(&c.WithDropletAgent, then(boolean, pointer)), fallback: "where the image has it",
			help: "The agent for the web console: true requires it, false leaves it out."},
		{name: "user_data", takes: in(&c.UserData, then(plain, userData)), fallback: "none",
			help: "For cloud-init at the first boot: at most 64 KiB of ASCII. Jobs can read it: no secrets."},
		{name: "user_data_file", takes: in(&c.UserData, then(path, p.userDataFile)), excludes: "user_data", fallback: "none",
			help: "Instead of `user_data`: a file, read at the start."},

		{name: "tags", takes: in(&c.Tags, list(0, then(tags, notOurs))), fallback: "none",
			help: "More tags, for example for a firewall. `fleeting` and `fleeting-...` are the plugin's."},
		{name: "project_id", takes: in(&c.ProjectID, uuids), fallback: "the account's default project",
			help: "The UUID of the Droplets' project. A failed assignment is only a warning in the log."},

		{name: "max_instances", takes: in(&c.MaxInstances, count), fallback: "the account's limit",
			help: "The most Droplets, 1 to 100000. The runner's `max_instances` must not be more."},
		{name: "max_creating", takes: in(&c.MaxCreating, count), fallback: "no limit",
			help: "The most Droplets being created at once, 1 to 100000."},
		{name: "max_hourly_cost", takes: in(&c.MaxHourlyCost, number("a number of USD", "number", 0.001, 100_000.0)),
			fallback: "no limit",
			help: "The most USD an hour for the group's Droplets, without backups and traffic, 0.001 to 100000. It lowers `max_instances`, " +
				"by the price of the most expensive `size`."},
		{name: "create_timeout", takes: in(&c.CreateTimeout, timeout), fallback: `"10m"`,
			help: "A Droplet that is not active by then is deleted. 30s to 24h."},
	}
}

// Keys returns the names of all keys, in the order of the documentation.
func Keys() []string {
	var names []string
	for _, k := range new(parser).keys() {
		names = append(names, k.name)
	}
	return names
}

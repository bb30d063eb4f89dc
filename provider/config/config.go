// Package config decodes plugin_config, the table of a GitLab Runner's config.toml that configures this plugin.
//
// Decoding is strict. A key that the plugin does not know, a value of the wrong type, a value that cannot work and two
// keys that exclude each other are faults, and all of them come in one error (see [Faults]). What only DigitalOcean
// can judge, such as whether a size exists, is left to Init.
package config

import (
	"encoding/json"
	"time"
)

// Config is a plugin_config that was accepted: every field is within the bounds that its comment gives.
//
// The first paragraph of a field's comment is for users: with the field's tags it makes its row in docs/configuration.md
// (see TestReference). What follows is for code.
type Config struct {
	// The group: the prefix of every Droplet's name, and part of its tag `fleeting-group:<name>`. 1 to 52 characters of
	// a-z, 0-9 and `-`, with a letter or a digit at both ends. One manager, one name.
	Name string `key:"name" type:"string" default:"required"`

	// Where the token comes from: the first that is set of these, then the environment's `DIGITALOCEAN_TOKEN` and
	// `DIGITALOCEAN_ACCESS_TOKEN`. A file is read again after a 401, so a token is rotated without a restart.
	Token Token `key:"token, token_file" type:"string" default:"required, one of the four"`

	// The API: https, or http to a loopback host. Also from the environment, `DIGITALOCEAN_API_URL`.
	//
	// Without a trailing slash and without the version.
	APIURL string `key:"api_url" type:"string" default:"\"https://api.digitalocean.com\""`

	// The slug of a region, or a list of them that is tried in order when capacity is short.
	//
	// Not empty, and without duplicates; so are Sizes.
	Regions []string `key:"region" type:"string or list" default:"required"`

	// Likewise. Every region is tried with the first size before the second size is.
	Sizes []string `key:"size" type:"string or list" default:"required"`

	// What Droplets are made from: a slug, or the id of a snapshot.
	//
	// Zero if and only if ImageTag is set.
	Image Image `key:"image" type:"string or number" default:"required, or image_tag"`

	// Instead of `image`: the newest private image that carries this tag and is in the region, looked up again every 10
	// minutes.
	ImageTag string `key:"image_tag" type:"string" default:"none"`

	// More keys of the account that Droplets let in: ids or MD5 fingerprints.
	//
	// Ids are digits, fingerprints in lower case.
	SSHKeys []string `key:"ssh_keys" type:"string, number or list" default:"none"`

	// The path of a private key that outlives restarts; it is made (ed25519, mode 0600) if it is missing. Without it, and
	// without `connector_config.key_path`, each start makes a key in memory and takes it off the account at the end.
	SSHKeyFile string `key:"ssh_key_file" type:"string" default:"none"`

	// The UUID of a VPC; with several regions a table of region = UUID, which may leave some out.
	//
	// By region, and of no region that is not in Regions. Nil: all of them use their default VPC.
	VPC map[string]string `key:"vpc_uuid" type:"string or table" default:"the region's default VPC"`

	// Whether Droplets have public addresses. With false the runner must be in the VPC, with `use_external_addr = false`.
	PublicNetworking bool `key:"public_networking" type:"boolean" default:"true"`

	// A public IPv6 address too.
	//
	// Never true without PublicNetworking.
	IPv6 bool `key:"ipv6" type:"boolean" default:"false"`

	// DigitalOcean's metrics agent, free of charge.
	Monitoring bool `key:"monitoring" type:"boolean" default:"false"`

	// Backups by DigitalOcean, which cost extra and are of little use here.
	Backups bool `key:"backups" type:"boolean" default:"false"`

	// The agent behind DigitalOcean's web console: true insists on it, false goes without.
	//
	// Nil: DigitalOcean decides by the image.
	WithDropletAgent *bool `key:"with_droplet_agent" type:"boolean" default:"where the image has it"`

	// What cloud-init is to do, as text or as the path of a file: at most 64 KiB of ASCII. Jobs can read it through the
	// metadata service: no secrets.
	UserData string `key:"user_data, user_data_file" type:"string" default:"none"`

	// More tags for every Droplet, such as the one that a firewall goes by. `fleeting` and `fleeting-...` are the plugin's.
	Tags []string `key:"tags" type:"string or list" default:"none"`

	// The UUID of the project that Droplets are assigned to. Failing at that is a warning.
	ProjectID string `key:"project_id" type:"string" default:"the account's default project"`

	// Most Droplets at once, 1 to 100000. The runner's own `max_instances` must not be more.
	//
	// 0: not set. So it is with the limits below.
	MaxInstances int `key:"max_instances" type:"number" default:"the account's limit"`

	// Most Droplets being created at once, 1 to 100000: docker-machine's MaxGrowthRate.
	MaxCreating int `key:"max_creating" type:"number" default:"no limit"`

	// Most USD an hour that the group's Droplets may cost together, by the price of the dearest `size`: it lowers
	// `max_instances`. More than 0, at most 100000. Backups and traffic are not counted.
	MaxHourlyCost float64 `key:"max_hourly_cost" type:"number" default:"no limit"`

	// A Droplet that is not active by then is destroyed: a duration from 30s to 24h.
	CreateTimeout time.Duration `key:"create_timeout" type:"string" default:"\"10m\""`
}

// Image names one image, by slug (of a public image) or by ID (of a snapshot, which has no slug): the other is zero.
type Image struct {
	Slug string
	ID   int
}

// key is one key of plugin_config.
type key struct {
	name string

	// example makes the key required, and is what the fault shows when the key is missing.
	example string

	// decode checks the value and stores it in p.config. value is nil when the key is not given, or given twice.
	decode func(p *parser, value json.RawMessage)
}

// keys are all keys, in the order of the documentation. They are decoded in this order, and their faults come in it, so
// a key may look at what the keys above it have stored.
var keys = []key{
	{name: "name", example: `name = "ci"`, decode: decodeName},
	{name: "token", decode: decodeToken},
	{name: "token_file", decode: decodeTokenFile},
	{name: "api_url", decode: decodeAPIURL},
	{name: "region", example: `region = "nyc3"`, decode: decodeRegion},
	{name: "size", example: `size = "s-2vcpu-4gb"`, decode: decodeSize},
	{name: "image", decode: decodeImage},
	{name: "image_tag", decode: decodeImageTag},
	{name: "ssh_keys", decode: decodeSSHKeys},
	{name: "ssh_key_file", decode: decodeSSHKeyFile},
	{name: "vpc_uuid", decode: decodeVPC},
	{name: "public_networking", decode: decodePublicNetworking},
	{name: "ipv6", decode: decodeIPv6},
	{name: "monitoring", decode: decodeMonitoring},
	{name: "backups", decode: decodeBackups},
	{name: "with_droplet_agent", decode: decodeWithDropletAgent},
	{name: "user_data", decode: decodeUserData},
	{name: "user_data_file", decode: decodeUserDataFile},
	{name: "tags", decode: decodeTags},
	{name: "project_id", decode: decodeProjectID},
	{name: "max_instances", decode: decodeMaxInstances},
	{name: "max_creating", decode: decodeMaxCreating},
	{name: "max_hourly_cost", decode: decodeMaxHourlyCost},
	{name: "create_timeout", decode: decodeCreateTimeout},
}

// Keys returns the names of all keys, in the order of the documentation.
func Keys() []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// defaults is what holds for keys that are not given.
func defaults() Config {
	return Config{APIURL: "https://api.digitalocean.com", PublicNetworking: true, CreateTimeout: 10 * time.Minute}
}

// Parse decodes the JSON that the runner makes of plugin_config. Keys may be in any case, as in the rest of
// config.toml. Empty input and null count as an empty table.
//
// It reads the files that the keys token_file and user_data_file name, and the environment variables that stand in for
// token and api_url, all through host. The error is always a [Faults], and then Config is zero.
func Parse(data []byte, host Host) (Config, error) {
	given, err := members(data)
	if err != nil {
		return Config{}, Faults{{Text: err.Error()}}
	}

	p := &parser{host: host, config: defaults()}
	p.collect(given)
	for _, k := range keys {
		p.decode(k)
	}
	p.rejectUnknown()

	if len(p.faults) > 0 {
		return Config{}, p.faults
	}
	return p.config, nil
}

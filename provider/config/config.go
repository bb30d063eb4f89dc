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
type Config struct {
	// Name is the group: the prefix of every Droplet's name, and part of the tag fleeting-group:<name>. 1 to 52
	// characters of a-z, 0-9 and "-", with neither end a "-".
	Name string

	// Token authorizes requests to DigitalOcean.
	Token Token

	// APIURL is where DigitalOcean's API is served, without a trailing slash and without the version: https, or http
	// to a loopback host.
	APIURL string

	// Regions and Sizes are slugs in the order in which they are tried when capacity is short. Neither is empty, and
	// neither has a duplicate.
	Regions, Sizes []string

	// Image is what Droplets are made from. It is zero if and only if ImageTag is set.
	Image Image

	// ImageTag selects the newest private image that carries this tag. Empty: Image is used.
	ImageTag string

	// SSHKeys are keys of the account that Droplets accept besides the plugin's own: ids (digits) or MD5 fingerprints
	// (lower case).
	SSHKeys []string

	// SSHKeyFile is the path of a private key that outlives restarts. Empty: there is none. The file need not exist.
	SSHKeyFile string

	// VPC holds the UUID of a VPC by region, and names no region that is not in Regions. A region without an entry
	// uses its default VPC. Nil: all of them do.
	VPC map[string]string

	// PublicNetworking gives a Droplet public addresses. Default true.
	PublicNetworking bool

	// IPv6 gives a Droplet a public IPv6 address too. Never true without PublicNetworking.
	IPv6 bool

	// Monitoring installs DigitalOcean's metrics agent, Backups turns backups on.
	Monitoring, Backups bool

	// WithDropletAgent installs the agent behind DigitalOcean's web console. Nil: DigitalOcean decides by the image.
	WithDropletAgent *bool

	// UserData is handed to cloud-init: at most 64 KiB of ASCII, from user_data or user_data_file. Empty: none.
	UserData string

	// Tags are put on every Droplet besides the plugin's own. None is "fleeting" or begins with "fleeting-".
	Tags []string

	// ProjectID is the UUID of the project that Droplets are assigned to. Empty: the account's default project.
	ProjectID string

	// MaxInstances is the most Droplets at once, MaxCreating the most being created at once: 1 to 100000, or 0 when
	// not set.
	MaxInstances, MaxCreating int

	// CreateTimeout is how long a Droplet may be new before it is given up: 30s to 24h. Default 10m.
	CreateTimeout time.Duration
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

	p := &parser{
		host: host,
		config: Config{
			APIURL:           "https://api.digitalocean.com",
			PublicNetworking: true,
			CreateTimeout:    10 * time.Minute,
		},
	}
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

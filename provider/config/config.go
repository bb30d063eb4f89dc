// Package config reads plugin_config, the table of a GitLab Runner's config.toml that configures this plugin.
//
// Reading is strict. A key that the plugin does not know, a value of the wrong type, a value that cannot work and two
// keys that exclude each other are faults, and all of them come in one error (see [Faults]). What only DigitalOcean
// can know, such as whether a size exists, is left to Init.
package config

import "time"

// Config is what a plugin_config says. What its keys mean and which values they take is in keys.go.
type Config struct {
	Name       string
	Token      Token
	APIURL     string   // in one spelling, see normalURL
	Regions    []string // at least one, without duplicates
	Sizes      []string // likewise
	Image      Image    // zero if and only if ImageTag is set
	ImageTag   string
	SSHKeys    []string // ids in digits, fingerprints in lower case
	SSHKeyFile string
	VPC        map[string]string // by region, only those in Regions; one without an entry = its default VPC
	Subnet     map[string]string // by region, only those in VPC; one without an entry = the VPC's default subnet

	PublicNetworking bool
	IPv6             bool // never without PublicNetworking
	Monitoring       bool
	Backups          bool
	WithDropletAgent *bool // nil = DigitalOcean decides by the image
	UserData         string
	Tags             []string
	ProjectID        string

	MaxInstances  int     // 0 = not set
	MaxCreating   int     // 0 = not set
	MaxHourlyCost float64 // USD; 0 = not set
	CreateTimeout time.Duration
}

// Image names one image, by slug (of a public image) or by ID (of a snapshot, which has no slug): the other is zero.
type Image struct {
	Slug string
	ID   int64
}

// Parse reads the JSON that the runner makes of plugin_config. Keys may be in any case, as in the rest of
// config.toml. Empty input counts as an empty table.
//
// It reads the files that the keys token_file and user_data_file name, and the environment variables that stand in for
// token and api_url, all through host. The error is always a [Faults]. The Config that comes with it has what could be
// read: the field of a key with a fault is as if the key were not given, and a required one, or APIURL, is zero. So what
// is valid can still be checked, once DigitalOcean can be asked:
//
//	!faults.Has("token", "token_file", "api_url")
func Parse(data []byte, host Host) (Config, error) {
	p, err := newParser(data, host)
	if err != nil {
		return Config{}, Faults{{Text: err.Error()}}
	}
	for _, k := range p.keys() {
		p.read(k)
	}
	if faults := append(p.faults, p.unknown...); len(faults) > 0 {
		return p.config, faults
	}
	return p.config, nil
}

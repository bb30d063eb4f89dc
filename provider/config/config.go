// Package config reads plugin_config, the table of a GitLab Runner's config.toml that configures this plugin.
//
// Reading is strict. A key that the plugin does not know, a value of the wrong type, a value that cannot work and two
// keys that exclude each other are faults, and all of them come in one error (see [Faults]). What only DigitalOcean
// can know, such as whether a size exists, is left to Init.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Config is what a plugin_config says. What its keys mean and which values they take is in keys.go.
type Config struct {
	Account
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

// Parse reads the JSON that the runner makes of plugin_config; empty input is an empty table. It reads token_file,
// user_data_file and the environment through host. The error is always a [Faults]; the Config with it has what could be read:
// a key with a fault is as if it were not given, and a required one is zero.
func Parse(data []byte, host Host) (Config, error) {
	p := &parser{host: host, config: Config{PublicNetworking: true, CreateTimeout: 10 * time.Minute}}
	p.config.APIURL = defaultAPIURL
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // an id may be beyond what a float holds
	err := decoder.Decode(&p.given)
	if err == nil {
		_, err = decoder.Token() // nothing may follow
	}
	if !errors.Is(err, io.EOF) {
		return Config{}, Faults{{Text: "must be a table"}}
	}
	maps.DeleteFunc(p.given, func(name string, v any) bool {
		return v == "" && (name == "token" || name == "token_file") // templates leave them empty where the environment has the token
	})
	for _, k := range p.keys() {
		if err := p.read(k); err != nil {
			p.faults = append(p.faults, Fault{k.name, err.Error(), k.hint})
		}
	}
	known, free := Keys(), slices.DeleteFunc(Keys(), p.has)
	for _, name := range slices.Sorted(maps.Keys(p.given)) {
		if !slices.Contains(known, name) {
			p.faults = append(p.faults, Fault{strings.Trim(quote(name), `"`), "unknown key", DidYouMean(name, free)})
		}
	}
	if p.faults != nil {
		return p.config, p.faults
	}
	return p.config, nil
}

// parser carries one call of [Parse] from key to key.
type parser struct {
	host   Host
	given  map[string]any // values are strings, bools, json.Numbers, []any and map[string]any
	source string         // of the value that is being read: plugin_config.token, the environment variable DIGITALOCEAN_TOKEN
	config Config
	faults Faults
}

// has reports whether the user gave the key. No key is the empty one.
func (p *parser) has(name string) bool { return name != "" && p.given[name] != nil }

var errMissing = errors.New("is required")

// read reads one key, given or not.
func (p *parser) read(k key) error {
	v, from := p.given[k.name], ""
	p.source = "plugin_config." + k.name
	for _, name := range k.environment {
		if text := strings.TrimSpace(p.host.Getenv(name)); text != "" && v == nil && !p.has(k.instead) {
			p.source = "the environment variable " + name
			v, from = text, p.source+" "
		}
	}
	switch {
	case v == nil && k.required && !p.has(k.instead):
		return errMissing
	case v == nil:
		return nil
	case p.has(k.excludes):
		return fmt.Errorf("excludes %s: set one of the two", k.excludes)
	case k.needs != "" && !p.has(k.needs):
		return fmt.Errorf("needs %s too", k.needs)
	}
	if _, err := k.takes.read(v); err != nil {
		return fmt.Errorf("%s%w", from, err)
	}
	return nil
}

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
	"reflect"
	"slices"
	"strings"
	"time"
)

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

// Parse reads the JSON that the runner makes of plugin_config. Empty input counts as an empty table.
//
// It reads the files that the keys token_file and user_data_file name, and the environment variables that stand in for
// token and api_url, all through host. The error is always a [Faults]. The Config that comes with it has what could be
// read: the field of a key with a fault is as if the key were not given, and a required one, or APIURL, is zero. So what
// is valid can still be checked, once DigitalOcean can be asked:
//
//	!faults.Has("token", "token_file", "api_url")
func Parse(data []byte, host Host) (Config, error) {
	var given map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // an id may be beyond what a float holds
	if err := decoder.Decode(&given); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, Faults{{Text: "must be a table"}}
	}
	maps.DeleteFunc(given, func(name string, v any) bool {
		return v == "" && (name == "token" || name == "token_file") // templates leave them empty where the environment has the token
	})
	p := &parser{host: host, given: given, config: Config{PublicNetworking: true, CreateTimeout: 10 * time.Minute}}
	for _, k := range p.keys() {
		p.read(k)
	}
	p.findUnknown()
	if len(p.faults) > 0 {
		return p.config, p.faults
	}
	return p.config, nil
}

// parser carries one call of [Parse] from key to key.
type parser struct {
	host     Host
	given    map[string]any // values are strings, bools, json.Numbers, []any and map[string]any
	variable string         // of the environment, that the value that is being read is from; "" = it is given
	config   Config
	faults   Faults
}

// has reports whether the user gave the key. No key is the empty one.
func (p *parser) has(name string) bool { return name != "" && p.given[name] != nil }

// read reads one key, given or not.
func (p *parser) read(k key) {
	field := reflect.ValueOf(k.field).Elem()
	before := reflect.New(field.Type()).Elem()
	before.Set(field)
	v := p.given[k.name]
	p.variable = ""
	for _, name := range k.environment {
		if text := strings.TrimSpace(p.host.Getenv(name)); text != "" && v == nil && !p.has(k.instead) {
			v, p.variable = text, "the environment variable "+name
		}
	}
	var err error
	switch {
	case v != nil && p.has(k.excludes):
		err = fmt.Errorf("excludes %s: set one of the two", k.excludes)
	case v != nil:
		err = p.store(k, v)
	case k.required && k.instead == "":
		err = errMissing
	case k.required && !p.has(k.instead):
		err = fmt.Errorf("is required, unless %s is set", k.instead)
	}
	if err == nil && k.then != nil {
		err = k.then()
	}
	if err != nil {
		field.Set(before) // as if it were not given
		p.faults = append(p.faults, Fault{k.name, strings.TrimSpace(p.variable + " " + err.Error()), k.hint})
	}
}

var errMissing = errors.New("is required")

func (p *parser) findUnknown() {
	known := Keys()
	free := slices.DeleteFunc(Keys(), p.has)
	for _, name := range slices.Sorted(maps.Keys(p.given)) {
		if !slices.Contains(known, name) {
			p.faults = append(p.faults, Fault{strings.Trim(quote(name), `"`), "unknown key", DidYouMean(name, free)})
		}
	}
}

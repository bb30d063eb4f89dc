package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// foreign are keys that people bring from docker-machine's driver, from plugins for other clouds and from
// DigitalOcean's other tools, in lower case with "_", and the key that means the same here.
var foreign = map[string]string{
	"group":      "name",
	"group_name": "name",

	"access_token":      "token",
	"api_token":         "token",
	"do_token":          "token",
	"token_path":        "token_file",
	"api_endpoint":      "api_url",
	"api_host":          "api_url",
	"base_url":          "api_url",
	"endpoint":          "api_url",
	"availability_zone": "region",
	"datacenter":        "region",
	"location":          "region",
	"regions":           "region",
	"zone":              "region",
	"droplet_size":      "size",
	"flavor":            "size",
	"instance_type":     "size",
	"machine_type":      "size",
	"server_type":       "size",
	"sizes":             "size",
	"droplet_image":     "image",
	"image_id":          "image",
	"image_slug":        "image",
	"snapshot":          "image",
	"snapshot_id":       "image",

	"ssh_fingerprint":      "ssh_keys",
	"ssh_key":              "ssh_keys",
	"ssh_key_fingerprint":  "ssh_keys",
	"ssh_key_fingerprints": "ssh_keys",
	"ssh_key_id":           "ssh_keys",
	"ssh_key_ids":          "ssh_keys",

	"vpc":           "vpc_uuid",
	"vpc_id":        "vpc_uuid",
	"enable_ipv6":   "ipv6",
	"droplet_agent": "with_droplet_agent",

	"cloud_init":            "user_data",
	"digitalocean_userdata": "user_data_file", // docker-machine's is a path
	"labels":                "tags",
	"project":               "project_id",
	"project_uuid":          "project_id",

	"max":              "max_instances",
	"max_droplets":     "max_instances",
	"max_size":         "max_instances",
	"max_growth_rate":  "max_creating",
	"maxgrowthrate":    "max_creating",
	"creation_timeout": "create_timeout",
}

// elsewhere are keys that people bring and that have no equal in plugin_config, and what to do instead.
var elsewhere = map[string]string{
	"private_networking": "remove it: every Droplet has a private address",
	"ssh_key_path":       "set key_path in connector_config",
	"ssh_port":           "set protocol_port in connector_config",
	"ssh_user":           "set username in connector_config",
	"use_external_addr":  "set it in connector_config",
	"username":           "set it in connector_config",
}

// suggestKey returns the hint for an unknown key in lower case, or "". It never names a key that is given already.
func (p *parser) suggestKey(unknown string) string {
	free := slices.DeleteFunc(Keys(), p.has)
	name := strings.ReplaceAll(unknown, "-", "_")
	short := strings.TrimPrefix(name, "digitalocean_") // as in docker-machine's options
	for _, name := range []string{name, short} {
		if hint, ok := elsewhere[name]; ok {
			return hint
		}
		if key, ok := foreign[name]; ok {
			if !slices.Contains(free, key) {
				return ""
			}
			return didYouMean(key)
		}
	}
	if key, ok := nearest(short, free); ok {
		return didYouMean(key)
	}
	return ""
}

// maxTypo is the longest word that nearest looks at: more than twice the longest key, and it bounds the work.
const maxTypo = 40

// nearest returns the one candidate that word is a slip of the finger away from, in any case: at most two edits, and no
// other candidate as near. Two edits make almost any short word of another, so then the first letters must agree. A
// digit is never a slip: who writes nyc1 does not mean nyc3, nor ipv4 ipv6.
func nearest(word string, candidates []string) (candidate string, ok bool) {
	word = strings.ToLower(word)
	if word == "" || len(word) > maxTypo {
		return "", false
	}
	best := 3
	for _, c := range candidates {
		if digits(c) != digits(word) {
			continue
		}
		distance := levenshtein.ComputeDistance(word, c)
		switch {
		case distance == 2 && c[0] != word[0]:
		case distance < best:
			best, candidate, ok = distance, c, true
		case distance == best:
			ok = false
		}
	}
	return candidate, ok
}

// digits returns the digits of word, in their order.
func digits(word string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, word)
}

package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// foreign has, by key, the keys that mean the same where people come from: docker-machine's driver, plugins for other
// clouds and DigitalOcean's other tools. They are in lower case with "_".
var foreign = map[string]string{
	"name":           "group group_name",
	"token":          "access_token api_token do_token",
	"token_file":     "token_path",
	"api_url":        "api_endpoint api_host base_url endpoint",
	"region":         "availability_zone datacenter location regions zone",
	"size":           "droplet_size flavor instance_type machine_type server_type sizes",
	"image":          "droplet_image image_id image_slug snapshot snapshot_id",
	"ssh_keys":       "ssh_fingerprint ssh_key ssh_key_fingerprint ssh_key_fingerprints ssh_key_id ssh_key_ids",
	"vpc_uuid":       "vpc vpc_id",
	"ipv6":           "enable_ipv6",
	"user_data":      "cloud_init",
	"user_data_file": "digitalocean_userdata", // docker-machine's is a path
	"tags":           "labels",
	"project_id":     "project project_uuid",
	"max_instances":  "max max_droplets max_size",
	"max_creating":   "max_growth_rate maxgrowthrate",
	"create_timeout": "creation_timeout",

	"with_droplet_agent": "droplet_agent",
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

// suggestKey returns the key that an unknown one in lower case seems to mean, or "", and a hint, or "". It never names a
// key that is given already.
func (p *parser) suggestKey(unknown string) (key, hint string) {
	name := strings.ReplaceAll(unknown, "-", "_")
	short := strings.TrimPrefix(name, "digitalocean_") // as in docker-machine's options
	for _, name := range []string{name, short} {
		if hint, ok := elsewhere[name]; ok {
			return "", hint
		}
		for key, names := range foreign {
			if !slices.Contains(strings.Fields(names), name) {
				continue
			}
			if p.has(key) {
				return "", ""
			}
			return key, didYouMean(key)
		}
	}
	key = nearest(short, slices.DeleteFunc(Keys(), p.has))
	return key, didYouMean(key)
}

// maxTypo is the longest word that nearest looks at: more than twice the longest key, and it bounds the work.
const maxTypo = 40

// nearest returns the one candidate that word is probably a typo of, in any case, or "": at most two edits away, and no
// other candidate as near. Two edits turn almost any short word into another, so then the first letters must agree. A
// digit is never a typo: nyc1 is not meant as nyc3, and ipv4 is not meant as ipv6.
func nearest(word string, candidates []string) (candidate string) {
	word = strings.ToLower(word)
	if word == "" || len(word) > maxTypo {
		return ""
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
			best, candidate = distance, c
		case distance == best:
			candidate = ""
		}
	}
	return candidate
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

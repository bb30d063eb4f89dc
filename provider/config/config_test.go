package config

import (
	"slices"
	"strings"
	"testing"
)

// TestSpellings pins what becomes of a value that can be written in several ways; TestGoldenConfigs has the usual ones.
// What is wanted are the fields that differ from the minimal config's.
func TestSpellings(t *testing.T) {
	t.Parallel()
	host := hostWith(nil, map[string]string{"/etc/cloud.yaml": "#cloud-config"})
	byDefault := dump(accept(t, `{}`, host))
	const uuid = "5a4981aa-9653-4bd1-bef5-d6bff52042e4"
	name, tag, data := strings.Repeat("n", MaxName), strings.Repeat("t", 255), strings.Repeat("x", 65536) // the longest
	for change, want := range map[string]string{
		`{"api_url": "HTTPS://API.DigitalOcean.com:443//"}`:   ``,
		`{"api_url": "https://api.digitalocean.com:"}`:        ``,
		`{"api_url": "https://proxy.example.com:8443/DO/"}`:   `APIURL = "https://proxy.example.com:8443/DO"`,
		`{"api_url": "https://api.digitalocean.com:80"}`:      `APIURL = "https://api.digitalocean.com:80"`,
		`{"api_url": "http://LocalHost:80"}`:                  `APIURL = "http://localhost"`,
		`{"api_url": "http://127.1.2.3:443"}`:                 `APIURL = "http://127.1.2.3:443"`,
		`{"api_url": "http://[::1]:8080"}`:                    `APIURL = "http://[::1]:8080"`,
		`{"api_url": "http://[::1]:80/"}`:                     `APIURL = "http://[::1]"`,
		`{"api_url": "https://[2001:DB8::1]:443/v2/digital"}`: `APIURL = "https://[2001:db8::1]/v2/digital"`,

		`{"region": ["nyc3", "nyc3"]}`:            ``,
		`{"image": "12"}`:                         `Image = "{Slug: ID:12}"`,
		`{"image": "0"}`:                          `Image = "{Slug:0 ID:0}"`,
		`{"ssh_keys": 12}`:                        `SSHKeys = "[12]"`,
		`{"ssh_keys": ["512", 9007199254740993]}`: `SSHKeys = "[512 9007199254740993]"`,
		`{"ssh_keys": "3B:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:FA"}`: `SSHKeys = "[3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa]"`,
		`{"ssh_keys": [], "tags": []}`:                                    ``,
		`{"tags": "team:a"}`:                                              `Tags = "[team:a]"`,
		`{"vpc_uuid": "` + strings.ToUpper(uuid) + `"}`:                   `VPC = "map[nyc3:` + uuid + `]"`,
		`{"vpc_uuid": {"nyc3": "` + strings.ToUpper(uuid) + `"}}`:         `VPC = "map[nyc3:` + uuid + `]"`,
		`{"project_id": "` + strings.ToUpper(uuid) + `"}`:                 `ProjectID = "` + uuid + `"`,
		`{"public_networking": false}`:                                    `PublicNetworking = "false"`,
		`{"with_droplet_agent": true}`:                                    `WithDropletAgent = "true"`,
		`{"with_droplet_agent": false}`:                                   `WithDropletAgent = "false"`,
		`{"create_timeout": "30s"}`:                                       `CreateTimeout = "30s"`,
		`{"create_timeout": "24h"}`:                                       `CreateTimeout = "24h0m0s"`,
		`{"max_instances": 100000}`:                                       `MaxInstances = "100000"`,
		`{"max_creating": 100}`:                                           `MaxCreating = "100"`,
		`{"max_hourly_cost": 100000}`:                                     `MaxHourlyCost = "100000"`,
		`{"name": "` + name + `", "tags": "` + tag + `"}`:                 `Name = "` + name + "\"\nTags = \"[" + tag + `]"`,
		`{"user_data": "` + data + `"}`:                                   `UserData = "` + data + `"`,
		`{"name": "0"}`:                                                   `Name = "0"`,
		`{"name": "doctor"}`:                                              `Name = "doctor"`,
		`{"token_file": "/not/read"}`:                                     ``,
		`{"ssh_key_file": "not/there"}`:                                   `SSHKeyFile = "not/there"`,
		`{"user_data_file": "/etc/cloud.yaml"}`:                           `UserData = "#cloud-config"`,
		`{"image": null, "image_tag": "golden"}`:                          "Image = \"{Slug: ID:0}\"\nImageTag = \"golden\"",
	} {
		differs := slices.DeleteFunc(dump(accept(t, change, host)), func(line string) bool { return slices.Contains(byDefault, line) })
		if got := strings.Join(differs, "\n"); got != want {
			t.Errorf("%s makes\n%s\nwant\n%s", change, got, want)
		}
	}
}

// TestNames: the groups of doctor --boot are groups, which plugin_config may not name.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ci", strings.Repeat("b", MaxName-len(bootSuffix))} {
		got := BootGroup(name)
		if CheckName(got) != nil || len(got) > 63-len("-7k2m9qxa7k") {
			t.Errorf("of %s it is %s, which no group can have: %v", name, got, CheckName(got))
		}
		if _, err := Parse(minimalAnd(t, `{"name": "`+got+`"}`), emptyHost); err == nil {
			t.Errorf("plugin_config may name %s", got)
		}
	}
}

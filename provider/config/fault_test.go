package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// faultCase changes the minimal plugin_config, on a host that has the files and the environment given, and pins the exact
// text of every fault that follows.
type faultCase struct {
	about  string
	change string
	env    map[string]string
	files  map[string]string
	want   []string
}

var faultCases = slices.Concat(generalFaults, valueFaults)

// generalFaults are those that hold for all keys.
var generalFaults = []faultCase{
	{
		about:  "unknown keys come last, sorted, each with a hint only when it is safe",
		change: `{"regoin": "nyc3", "colour": "red", "Tag": ["a"], "max_instances": 0}`,
		want: []string{
			`plugin_config.max_instances: must be a whole number from 1 to 100000, not 0`,
			`plugin_config.colour: unknown key`,
			`plugin_config.regoin: unknown key`,
			`plugin_config.Tag: unknown key; did you mean "tags"?`,
		},
	},
	{
		about:  "keys of docker-machine and of other clouds",
		change: `{"digitalocean-userdata": "x", "ssh_key": 1, "vpc": "x", "max_size": 5, "maxgrowthrate": 2}`,
		want: []string{
			`plugin_config.digitalocean-userdata: unknown key; did you mean "user_data_file"?`,
			`plugin_config.max_size: unknown key; did you mean "max_instances"?`,
			`plugin_config.maxgrowthrate: unknown key; did you mean "max_creating"?`,
			`plugin_config.ssh_key: unknown key; did you mean "ssh_keys"?`,
			`plugin_config.vpc: unknown key; did you mean "vpc_uuid"?`,
		},
	},
	{
		about:  "keys that belong elsewhere",
		change: `{"private_networking": true, "ssh-user": "root", "digitalocean-ssh-port": 22, "ssh_key_path": "/k", "use_external_addr": true, "username": "root"}`,
		want: []string{
			`plugin_config.digitalocean-ssh-port: unknown key; set protocol_port in connector_config`,
			`plugin_config.private_networking: unknown key; remove it: every Droplet has a private address`,
			`plugin_config.ssh-user: unknown key; set username in connector_config`,
			`plugin_config.ssh_key_path: unknown key; set key_path in connector_config`,
			`plugin_config.use_external_addr: unknown key; set it in connector_config`,
			`plugin_config.username: unknown key; set it in connector_config`,
		},
	},
	{
		about:  "an unknown key that needs quotes, is long, or is a token",
		change: `{"a b\nc": 1, "` + strings.Repeat("k", 200) + `": 1, "dop_v1_0123456789abcdef": 1}`,
		want: []string{
			`plugin_config."a b\nc": unknown key`,
			`plugin_config."[secret]": unknown key`,
			`plugin_config."` + strings.Repeat("k", 80) + `"...: unknown key`,
		},
	},
	{
		about:  "a key twice",
		change: `{"Region": "nyc3", "region": "fra1", "size": "a", "size": "b", "oops": 1, "OOPS": 2}`,
		want: []string{
			`plugin_config.region: is given more than once, as "Region" and "region"`,
			`plugin_config.size: is given more than once, as "size" and "size"`,
			`plugin_config.OOPS: unknown key`,
			`plugin_config.oops: unknown key`,
		},
	},
	{
		about: "a wrong type for every key",
		change: `{"name": 1, "token": 1, "token_file": 1, "api_url": 1, "region": 1, "size": true, "image": [], "image_tag": [],
			"ssh_keys": true, "ssh_key_file": {}, "vpc_uuid": [], "public_networking": "yes", "ipv6": 1, "monitoring": null,
			"backups": [], "with_droplet_agent": "x", "user_data": [], "user_data_file": 1, "tags": {}, "project_id": 5,
			"max_instances": true, "max_creating": [], "max_hourly_cost": {}, "create_timeout": []}`,
		want: []string{
			`plugin_config.name: must be a string, not a number`,
			`plugin_config.token: must be a string, not a number`,
			`plugin_config.token_file: must be a string, not a number`,
			`plugin_config.api_url: must be a string, not a number`,
			`plugin_config.region: must be a string or a list of strings, not a number`,
			`plugin_config.size: must be a string or a list of strings, not a boolean`,
			`plugin_config.image: must be a slug or the id of an image, not a list`,
			`plugin_config.image_tag: excludes image: set one of the two`,
			`plugin_config.ssh_keys: must be an id, a fingerprint or a list of them, not a boolean`,
			`plugin_config.ssh_key_file: must be a string, not a table`,
			`plugin_config.vpc_uuid: must be a UUID or a table of region = UUID, not a list`,
			`plugin_config.public_networking: must be true or false, not a string`,
			`plugin_config.ipv6: must be true or false, not a number`,
			`plugin_config.monitoring: must be true or false, not null`,
			`plugin_config.backups: must be true or false, not a list`,
			`plugin_config.with_droplet_agent: must be true or false, not a string`,
			`plugin_config.user_data: must be a string, not a list`,
			`plugin_config.user_data_file: excludes user_data: set one of the two`,
			`plugin_config.tags: must be a string or a list of strings, not a table`,
			`plugin_config.project_id: must be a string, not a number`,
			`plugin_config.max_instances: must be a whole number from 1 to 100000, not a boolean`,
			`plugin_config.max_creating: must be a whole number from 1 to 100000, not a list`,
			`plugin_config.max_hourly_cost: must be a number of USD, more than 0 and at most 100000, such as 1.50, not a table`,
			`plugin_config.create_timeout: must be a duration, such as "10m", not a list`,
		},
	},
	{
		about: "an empty string for every key but token and token_file",
		change: `{"name": "", "token_file": "", "api_url": "", "region": "", "size": ["a", ""], "image": "", "ssh_keys": "",
			"ssh_key_file": "", "vpc_uuid": "", "ipv6": "", "user_data": "", "tags": "", "project_id": "",
			"max_instances": "", "create_timeout": ""}`,
		want: []string{
			`plugin_config.name: must not be empty`,
			`plugin_config.api_url: must not be empty`,
			`plugin_config.region: must not be empty`,
			`plugin_config.size: entry 2 must not be empty`,
			`plugin_config.image: must not be empty`,
			`plugin_config.ssh_keys: must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not ""`,
			`plugin_config.ssh_key_file: must not be empty`,
			`plugin_config.vpc_uuid: must not be empty`,
			`plugin_config.ipv6: must be true or false, not a string`,
			`plugin_config.user_data: must not be empty`,
			`plugin_config.tags: must not be empty`,
			`plugin_config.project_id: must not be empty`,
			`plugin_config.max_instances: must be a whole number from 1 to 100000, not a string`,
			`plugin_config.create_timeout: must not be empty`,
		},
	},
}

func TestEveryFaultHasItsText(t *testing.T) {
	t.Parallel()
	for _, test := range faultCases {
		t.Run(test.about, func(t *testing.T) {
			t.Parallel()
			config, err := Parse(minimalAnd(t, test.change), hostWith(test.env, test.files))
			if err == nil {
				t.Fatalf("accepted as %+v", config)
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if !reflect.ValueOf(config).IsZero() {
				t.Errorf("a refused config is %+v, want zero", config)
			}
		})
	}
}

func TestRequiredKeys(t *testing.T) {
	t.Parallel()
	const want = `plugin_config.name: is required; for example name = "ci"
plugin_config.token: is required: set token or token_file, or the environment variable DIGITALOCEAN_TOKEN or DIGITALOCEAN_ACCESS_TOKEN
plugin_config.region: is required; for example region = "nyc3"
plugin_config.size: is required; for example size = "s-2vcpu-4gb"
plugin_config.image: is required, unless image_tag is set; for example image = "ubuntu-24-04-x64"`
	for _, empty := range []string{``, " \n", `null`, `{}`} {
		_, err := Parse([]byte(empty), emptyHost)
		if err == nil {
			t.Errorf("%q was accepted", empty)
		} else if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("faults of %q (-want +got):\n%s", empty, diff)
		}
	}
}

func TestNotATable(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{
		`[]`:            `plugin_config: must be a table, not a list`,
		`"dop_v1_0123"`: `plugin_config: must be a table, not a string`,
		`5`:             `plugin_config: must be a table, not a number`,
		`true`:          `plugin_config: must be a table, not a boolean`,
		`{"name": "ci"`: `plugin_config: is not valid JSON: unexpected end of JSON input`,
		`{} {}`:         `plugin_config: is not valid JSON: invalid character '{' after top-level value`,
	} {
		_, err := Parse([]byte(input), emptyHost)
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%s) = %v, want %s", input, err, want)
		}
	}
}

func TestFaultsCanBeTakenApart(t *testing.T) {
	t.Parallel()
	_, err := Parse(minimalAnd(t, `{"name": "CI"}`), emptyHost)
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("Parse returned a %T, want Faults", err)
	}
	want := Faults{{
		Key:  "name",
		Text: `must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not "CI"`,
		Hint: `did you mean "ci"?`,
	}}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

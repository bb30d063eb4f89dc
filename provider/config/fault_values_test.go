package config

import "strings"

// valueFaults are those of single values, key by key in the order of the documentation.
var valueFaults = []faultCase{
	// name
	{
		about:  "a name that can be made valid",
		change: `{"name": "My Group_"}`,
		want:   []string{`plugin_config.name: must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not "My Group_"; did you mean "my-group"?`},
	},
	{
		about:  "a name that is too long",
		change: `{"name": "` + strings.Repeat("a", 51) + `-b"}`,
		want:   []string{`plugin_config.name: must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not "` + strings.Repeat("a", 51) + `-b"; did you mean "` + strings.Repeat("a", 51) + `"?`},
	},
	{
		about:  "a name of which nothing is left",
		change: `{"name": "-"}`,
		want:   []string{`plugin_config.name: must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not "-"`},
	},
	{
		about:  "a name in another script",
		change: `{"name": "größe"}`,
		want:   []string{`plugin_config.name: must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not "größe"`},
	},
	{
		about:  "a token pasted as the name is not repeated",
		change: `{"name": "dop_v1_0123456789abcdef"}`,
		want:   []string{`plugin_config.name: must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not "[secret]"`},
	},

	// token, token_file
	{
		about:  "no token from anywhere",
		change: `{"token": " ", "token_file": ""}`,
		want:   []string{`plugin_config.token: is required: set token or token_file, or the environment variable DIGITALOCEAN_TOKEN or DIGITALOCEAN_ACCESS_TOKEN`},
	},
	{
		about:  "a token that cannot be sent, although another source has one",
		change: `{"token": "two words"}`,
		env:    map[string]string{"DIGITALOCEAN_TOKEN": "good"},
		want:   []string{`plugin_config.token: holds something other than a token, which is printable ASCII without spaces`},
	},
	{
		about:  "a token in the environment that cannot be sent",
		change: `{"token": ""}`,
		env:    map[string]string{"DIGITALOCEAN_TOKEN": "tökén", "DIGITALOCEAN_ACCESS_TOKEN": "good"},
		want:   []string{`plugin_config.token: the environment variable DIGITALOCEAN_TOKEN holds something other than a token, which is printable ASCII without spaces`},
	},
	{
		about:  "a token file that is missing",
		change: `{"token": "", "token_file": "/etc/do-token"}`,
		want:   []string{`plugin_config.token_file: "/etc/do-token" cannot be read: file does not exist`},
	},
	{
		about:  "a token file that is empty",
		change: `{"token": "", "token_file": "/etc/do-token"}`,
		files:  map[string]string{"/etc/do-token": " \n"},
		want:   []string{`plugin_config.token_file: "/etc/do-token" is empty: put the token into it`},
	},
	{
		about:  "a token file that holds something else",
		change: `{"token": "", "token_file": "/etc/do-token"}`,
		files:  map[string]string{"/etc/do-token": "token = dop_v1_0123"},
		want:   []string{`plugin_config.token_file: "/etc/do-token" holds something other than a token, which is printable ASCII without spaces`},
	},
	{
		about:  "the token itself as the token file",
		change: `{"token": "", "token_file": "dop_v1_0123456789abcdef"}`,
		want:   []string{`plugin_config.token_file: must be the path of a file, not the token itself; did you mean "token"?`},
	},
	{
		about:  "a token file on more than one line",
		change: `{"token": "", "token_file": "/etc/a\n/etc/b"}`,
		want:   []string{`plugin_config.token_file: must be the path of a file, not its content`},
	},
	{
		about:  "a token twice",
		change: `{"token": "a", "Token": "b"}`,
		want:   []string{`plugin_config.token: is given more than once, as "token" and "Token"`},
	},

	// api_url
	{
		about:  "an API URL that is relative",
		change: `{"api_url": "api.digitalocean.com"}`,
		want:   []string{`plugin_config.api_url: must be an absolute https URL, such as https://api.digitalocean.com`},
	},
	{
		about:  "an API URL that does not parse, with a password",
		change: `{"api_url": "https://me:hunter2@example.com:port"}`,
		want:   []string{`plugin_config.api_url: must be an absolute https URL, such as https://api.digitalocean.com`},
	},
	{
		about:  "an API URL with a port that does not exist",
		change: `{"api_url": "https://example.com:65536"}`,
		want:   []string{`plugin_config.api_url: must be an absolute https URL, such as https://api.digitalocean.com`},
	},
	{
		about:  "an API URL of another scheme",
		change: `{"api_url": "ftp://example.com"}`,
		want:   []string{`plugin_config.api_url: must be an absolute https URL, such as https://api.digitalocean.com`},
	},
	{
		about:  "an API URL with a password",
		change: `{"api_url": "https://me:hunter2@example.com"}`,
		want:   []string{`plugin_config.api_url: must not hold a user name or a password`},
	},
	{
		about:  "an API URL with a query",
		change: `{"api_url": "https://example.com/?key=hunter2"}`,
		want:   []string{`plugin_config.api_url: must not hold a query or a fragment`},
	},
	{
		about:  "an API URL with an empty fragment",
		change: `{"api_url": "https://example.com/#"}`,
		want:   []string{`plugin_config.api_url: must not hold a query or a fragment`},
	},
	{
		about:  "plain http to another host",
		change: `{"api_url": "http://localhost.example.com"}`,
		want:   []string{`plugin_config.api_url: must be https, or the token could be read on the way: plain http is for loopback hosts, and "localhost.example.com" is not one`},
	},
	{
		about:  "an API URL with the version",
		change: `{"api_url": "https://api.digitalocean.com/v2/"}`,
		want:   []string{`plugin_config.api_url: must not end in the version, which is added to it; did you mean "https://api.digitalocean.com"?`},
	},
	{
		about:  "an API URL from the environment",
		change: `{}`,
		env:    map[string]string{"DIGITALOCEAN_API_URL": "http://192.0.2.1"},
		want:   []string{`plugin_config.api_url: the environment variable DIGITALOCEAN_API_URL must be https, or the token could be read on the way: plain http is for loopback hosts, and "192.0.2.1" is not one`},
	},

	// region, size
	{
		about:  "slugs that are none",
		change: `{"region": ["nyc3", "FRA1 ", 5, "a/b"], "size": "S-1vcpu-1gb"}`,
		want: []string{
			`plugin_config.region: entry 2 must be a slug, made of a-z, 0-9, -, _ and ., not "FRA1 "; did you mean "fra1"?`,
			`plugin_config.region: entry 3 must be a string, not a number`,
			`plugin_config.region: entry 4 must be a slug, made of a-z, 0-9, -, _ and ., not "a/b"`,
			`plugin_config.size: must be a slug, made of a-z, 0-9, -, _ and ., not "S-1vcpu-1gb"; did you mean "s-1vcpu-1gb"?`,
		},
	},
	{
		about:  "lists that are empty or repeat themselves",
		change: `{"region": [], "size": ["s-1vcpu-1gb", "s-2vcpu-2gb", "s-1vcpu-1gb"]}`,
		want: []string{
			`plugin_config.region: must name at least one`,
			`plugin_config.size: lists "s-1vcpu-1gb" more than once`,
		},
	},

	// image, image_tag
	{
		about:  "an image's id that is none",
		change: `{"image": 2.5}`,
		want:   []string{`plugin_config.image: must be the id of an image, a whole number above 0, not 2.5`},
	},
	{
		about:  "an image's id in digits that is none",
		change: `{"image": "0"}`,
		want:   []string{`plugin_config.image: must be the id of an image, a whole number above 0, not "0"`},
	},
	{
		about:  "an image's id of many digits",
		change: `{"image": ` + strings.Repeat("9", 100) + `}`,
		want:   []string{`plugin_config.image: must be the id of an image, a whole number above 0, not ` + strings.Repeat("9", 80) + `... (100 characters)`},
	},
	{
		about:  "an image's slug that is none",
		change: `{"image": "Ubuntu 24.04"}`,
		want:   []string{`plugin_config.image: must be a slug, made of a-z, 0-9, -, _ and ., not "Ubuntu 24.04"`},
	},
	{
		about:  "an image and an image tag",
		change: `{"image_tag": "golden"}`,
		want:   []string{`plugin_config.image_tag: excludes image: set one of the two`},
	},

	{
		about:  "an image tag that is none",
		change: `{"image": {"remove": 1}, "image_tag": "golden image"}`,
		want:   []string{`plugin_config.image_tag: must be a tag, at most 255 letters, digits, _, - and :, not "golden image"`},
	},
	{
		about:  "an image tag that is no string",
		change: `{"image": {"remove": 1}, "image_tag": ["golden"]}`,
		want:   []string{`plugin_config.image_tag: must be a string, not a list`},
	},
	{
		about:  "an image's slug that is too long to propose another",
		change: `{"image": "` + strings.Repeat("I", 81) + `"}`,
		want:   []string{`plugin_config.image: must be a slug, made of a-z, 0-9, -, _ and ., not "` + strings.Repeat("I", 80) + `"...`},
	},

	// ssh_keys, ssh_key_file
	{
		about: "SSH keys that are none",
		change: `{"ssh_keys": [0, "0", 1.5, "MD5:3B:16:BF:E4:8B:00:8B:B8:59:8C:A9:D3:F0:19:45:FA", "ssh-ed25519 AAAA me", "SHA256:abc", "laptop", [],
			7, "7", "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa", "3B:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa"]}`,
		want: []string{
			`plugin_config.ssh_keys: entry 1 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not 0`,
			`plugin_config.ssh_keys: entry 2 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not "0"`,
			`plugin_config.ssh_keys: entry 3 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not 1.5`,
			`plugin_config.ssh_keys: entry 4 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not "MD5:3B:16:BF:E4:8B:00:8B:B8:59:8C:A9:D3:F0:19:45:FA"; did you mean "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa"?`,
			`plugin_config.ssh_keys: entry 5 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not "ssh-ed25519 AAAA me"; ssh-keygen -E md5 -lf KEY.pub prints the fingerprint`,
			`plugin_config.ssh_keys: entry 6 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not "SHA256:abc"; ssh-keygen -E md5 -lf KEY.pub prints the fingerprint`,
			`plugin_config.ssh_keys: entry 7 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not "laptop"`,
			`plugin_config.ssh_keys: entry 8 must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not a list`,
			`plugin_config.ssh_keys: lists "7" more than once`,
			`plugin_config.ssh_keys: lists "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa" more than once`,
		},
	},
	{
		about:  "the SSH key itself as its file is not repeated",
		change: `{"ssh_key_file": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"}`,
		want:   []string{`plugin_config.ssh_key_file: must be the path of a file, not its content`},
	},
	{
		about:  "nor as one of the keys",
		change: `{"ssh_keys": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"}`,
		want:   []string{`plugin_config.ssh_keys: must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account, not "[secret]"`},
	},
	{
		about:  "a path that only a shell would understand",
		change: `{"ssh_key_file": "~/.ssh/id_ed25519"}`,
		want:   []string{`plugin_config.ssh_key_file: must be a whole path: ~ is expanded by shells only`},
	},

	// vpc_uuid
	{
		about:  "a VPC for several regions",
		change: `{"region": ["nyc3", "fra1"], "vpc_uuid": "5A4981AA-9653-4bd1-bef5-d6bff52042e4"}`,
		want:   []string{`plugin_config.vpc_uuid: must be a table of region = UUID when there are several regions, since a VPC is in one region; for example vpc_uuid = { "nyc3" = "5a4981aa-9653-4bd1-bef5-d6bff52042e4" }`},
	},
	{
		about:  "a VPC that is none",
		change: `{"vpc_uuid": "default"}`,
		want:   []string{`plugin_config.vpc_uuid: must be a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4, not "default"`},
	},
	{
		about: "a table of VPCs that is wrong in every entry",
		change: `{"region": ["nyc3", "fra1", "ams3"], "vpc_uuid": {"ncy3": "x", "fra2": "x", "fra1": "", "ams3": 5,
			"ams3": "5a4981aa-9653-4bd1-bef5-d6bff52042e4", "ams3": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"}}`,
		want: []string{
			`plugin_config.vpc_uuid: "ncy3" is not among the regions, which are "nyc3", "fra1", "ams3"; did you mean "nyc3"?`,
			`plugin_config.vpc_uuid: "fra2" is not among the regions, which are "nyc3", "fra1", "ams3"`,
			`plugin_config.vpc_uuid: "fra1" must be a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4, not ""`,
			`plugin_config.vpc_uuid: "ams3" must be a UUID, not a number`,
			`plugin_config.vpc_uuid: lists "ams3" more than once`,
		},
	},
	{
		about:  "no fault of a VPC follows from one of the regions",
		change: `{"region": "NYC3", "vpc_uuid": {"nyc3": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"}}`,
		want:   []string{`plugin_config.region: must be a slug, made of a-z, 0-9, -, _ and ., not "NYC3"; did you mean "nyc3"?`},
	},
	{
		about:  "nor of a single VPC",
		change: `{"region": [], "vpc_uuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"}`,
		want:   []string{`plugin_config.region: must name at least one`},
	},

	// Booleans
	{
		about:  "booleans in quotes",
		change: `{"public_networking": "False", "monitoring": "true"}`,
		want: []string{
			`plugin_config.public_networking: must be true or false, not a string; did you mean false, without quotes?`,
			`plugin_config.monitoring: must be true or false, not a string; did you mean true, without quotes?`,
		},
	},
	{
		about:  "IPv6 without public networking",
		change: `{"public_networking": false, "ipv6": true}`,
		want:   []string{`plugin_config.ipv6: excludes public_networking = false: IPv6 addresses are public`},
	},

	// user_data, user_data_file
	{
		about:  "user data that is too long",
		change: `{"user_data": "` + strings.Repeat("x", 65537) + `"}`,
		want:   []string{`plugin_config.user_data: has 65537 bytes, and DigitalOcean takes at most 65536 (64 KiB)`},
	},
	{
		about:  "user data that is not ASCII",
		change: `{"user_data": "#cloud-config\n# für alle\n"}`,
		want:   []string{`plugin_config.user_data: must be ASCII, since DigitalOcean truncates or refuses anything else: the byte at offset 17 (line 2) is not`},
	},
	{
		about:  "a file of user data that is missing",
		change: `{"user_data_file": "/etc/cloud.yaml"}`,
		want:   []string{`plugin_config.user_data_file: "/etc/cloud.yaml" cannot be read: file does not exist`},
	},
	{
		about:  "a file of user data that is empty",
		change: `{"user_data_file": "/etc/cloud.yaml"}`,
		files:  map[string]string{"/etc/cloud.yaml": ""},
		want:   []string{`plugin_config.user_data_file: "/etc/cloud.yaml" is empty`},
	},
	{
		about:  "a file of user data that is too long",
		change: `{"user_data_file": "/etc/cloud.yaml"}`,
		files:  map[string]string{"/etc/cloud.yaml": strings.Repeat("x", 65537)},
		want:   []string{`plugin_config.user_data_file: "/etc/cloud.yaml" has 65537 bytes, and DigitalOcean takes at most 65536 (64 KiB)`},
	},
	{
		about:  "a file of user data that is far too long",
		change: `{"user_data_file": "/etc/cloud.yaml"}`,
		files:  map[string]string{"/etc/cloud.yaml": strings.Repeat("x", 1<<20+1)},
		want:   []string{`plugin_config.user_data_file: "/etc/cloud.yaml" cannot be read: it is too large`},
	},
	{
		about:  "a file of user data that is compressed",
		change: `{"user_data_file": "/etc/cloud.yaml.gz"}`,
		files:  map[string]string{"/etc/cloud.yaml.gz": "\x1f\x8b\x08"},
		want:   []string{`plugin_config.user_data_file: "/etc/cloud.yaml.gz" must be ASCII, since DigitalOcean truncates or refuses anything else: the byte at offset 1 (line 1) is not`},
	},
	{
		about:  "user data in place of its file",
		change: `{"user_data_file": "#cloud-config\npackages: [docker.io]\n"}`,
		want:   []string{`plugin_config.user_data_file: must be the path of a file, not its content`},
	},
	{
		about:  "user data and a file of it, which is not even read",
		change: `{"user_data": "#cloud-config", "user_data_file": "/etc/cloud.yaml"}`,
		want:   []string{`plugin_config.user_data_file: excludes user_data: set one of the two`},
	},

	// tags, image_tag, project_id
	{
		about:  "tags that are none, are the plugin's own, or repeat themselves",
		change: `{"tags": ["a b", "fleeting", "Fleeting-Group:ci", "team:a", "TEAM:A", ""]}`,
		want: []string{
			`plugin_config.tags: entry 1 must be a tag, at most 255 letters, digits, _, - and :, not "a b"`,
			`plugin_config.tags: entry 2 must not be "fleeting" or begin with "fleeting-", which are the plugin's own tags: "fleeting"`,
			`plugin_config.tags: entry 3 must not be "fleeting" or begin with "fleeting-", which are the plugin's own tags: "Fleeting-Group:ci"`,
			`plugin_config.tags: lists "TEAM:A" more than once`,
			`plugin_config.tags: entry 6 must not be empty`,
		},
	},
	{
		about:  "a tag that is too long",
		change: `{"tags": "` + strings.Repeat("t", 256) + `"}`,
		want:   []string{`plugin_config.tags: must be a tag, at most 255 letters, digits, _, - and :, not "` + strings.Repeat("t", 80) + `"...`},
	},
	{
		about:  "a project by its name",
		change: `{"project_id": "my project"}`,
		want:   []string{`plugin_config.project_id: must be a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4, not "my project"`},
	},

	// max_instances, max_creating, create_timeout
	{
		about:  "limits that are none",
		change: `{"max_instances": 2.5, "max_creating": -1}`,
		want: []string{
			`plugin_config.max_instances: must be a whole number from 1 to 100000, not 2.5`,
			`plugin_config.max_creating: must be a whole number from 1 to 100000, not -1`,
		},
	},
	{
		about:  "limits beyond every bound",
		change: `{"max_instances": 100001, "max_creating": 1e400}`,
		want: []string{
			`plugin_config.max_instances: must be a whole number from 1 to 100000, not 100001`,
			`plugin_config.max_creating: must be a whole number from 1 to 100000, not 1e400`,
		},
	},
	{
		about:  "limits in quotes",
		change: `{"max_instances": "5", "max_creating": "0"}`,
		want: []string{
			`plugin_config.max_instances: must be a whole number from 1 to 100000, not a string; did you mean 5, without quotes?`,
			`plugin_config.max_creating: must be a whole number from 1 to 100000, not a string`,
		},
	},
	{
		about:  "a cost that is none",
		change: `{"max_hourly_cost": 0}`,
		want:   []string{`plugin_config.max_hourly_cost: must be a number of USD, more than 0 and at most 100000, such as 1.50, not 0`},
	},
	{
		about:  "a cost beyond every bound",
		change: `{"max_hourly_cost": 1e400}`,
		want:   []string{`plugin_config.max_hourly_cost: must be a number of USD, more than 0 and at most 100000, such as 1.50, not 1e400`},
	},
	{
		about:  "a cost in quotes",
		change: `{"max_hourly_cost": "$2.50"}`,
		want: []string{`plugin_config.max_hourly_cost: must be a number of USD, more than 0 and at most 100000, such as 1.50, not a string; ` +
			`did you mean 2.50, without quotes?`},
	},
	{
		about:  "a timeout without a unit",
		change: `{"create_timeout": 600}`,
		want:   []string{`plugin_config.create_timeout: must be a duration with its unit, such as "10m", not a number; did you mean "600s"?`},
	},
	{
		about:  "a timeout without a unit, in quotes",
		change: `{"create_timeout": "600"}`,
		want:   []string{`plugin_config.create_timeout: must be a duration with its unit, such as "10m", not "600"; did you mean "600s"?`},
	},
	{
		about:  "a timeout that no unit is proposed for, as 10 s would be too short",
		change: `{"create_timeout": 10}`,
		want:   []string{`plugin_config.create_timeout: must be a duration with its unit, such as "10m", not a number`},
	},
	{
		about:  "a timeout that is not a duration",
		change: `{"create_timeout": "soon"}`,
		want:   []string{`plugin_config.create_timeout: must be a duration with its unit, such as "10m", not "soon"`},
	},
	{
		about:  "a timeout that is too short",
		change: `{"create_timeout": "29.9s"}`,
		want:   []string{`plugin_config.create_timeout: must be from 30s to 24h, not "29.9s"`},
	},
	{
		about:  "a timeout that is too long",
		change: `{"create_timeout": "24h1s"}`,
		want:   []string{`plugin_config.create_timeout: must be from 30s to 24h, not "24h1s"`},
	},
}

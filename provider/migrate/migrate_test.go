package migrate

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// runnerWith is a runner that can be migrated without a note, with lines added to [runners.machine] and options to
// MachineOptions.
func runnerWith(machine string, options ...string) string {
	all := append([]string{"digitalocean-access-token=dop_v1_0123456789abcdef", "digitalocean-image=docker-20-04", "digitalocean-size=s-2vcpu-4gb"}, options...)
	return `concurrent = 5
[[runners]]
  name = "one"
  executor = "docker+machine"
  limit = 5
  [runners.docker]
    image = "alpine"
  [runners.machine]
    MachineDriver = "digitalocean"
    MachineName = "one-%s"
    MachineOptions = ["` + strings.Join(all, `", "`) + `"]
    IdleTime = 60
` + machine
}

func none() Options { return optionsWith(nil) }

// What cannot be migrated is told with its line, and nothing is changed.
func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want string
	}{
		"no TOML":     {"concurrent = \n[[runners]]\n", ":1: concurrent: expected value but found '\\n' instead"},
		"no text":     {"\xff\xfe", ": invalid character at start of key: U+00FF 'ÿ'"},
		"a key twice": {"concurrent = 1\nconcurrent = 2\n", ":2: concurrent: Key 'concurrent' has already been defined."},
		"what no runner reads": {
			"[[runners]]\nlimit = \"5\"\n",
			":2: runners.limit: incompatible types: TOML value has type string; destination has type integer",
		},
		"a number in quotes": {
			runnerWith("    IdleCount = \"1\"\n"),
			":13: runners.machine.IdleCount: incompatible types: TOML value has type string; destination has type integer",
		},
		"one inline array": {
			"runners = [{ executor = \"docker+machine\" }]\n",
			": runners is spelled in two ways, or one array in brackets: write each as a [[runners]] section",
		},
		"something between": {
			"[[runners]]\nexecutor = \"shell\"\n[session_server]\nsession_timeout = 1\n[runners.docker]\n",
			":5: [runners.docker] is apart from its [[runners]]: move it to the runner's other tables",
		},
		"half-way there": {
			runnerWith("") + strings.TrimPrefix(runnerWith("  [runners.autoscaler]\n    plugin = \"x\"\n"), "concurrent = 5\n"),
			":24: executor: is docker+machine, and the runner has [runners.autoscaler] already",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := holds(t, tt.text, none())
			if got, _, _ := strings.Cut(notesText(r), "\nhint: "); got != "error: config.toml"+tt.want || !r.Has(Error) || r.Changed {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// What is not as it was is told: what has to be done, what is lost, and what to look at. A pointless line is not.
func TestNotes(t *testing.T) {
	script := map[string]string{"files/ud": "#!/bin/sh\necho\n", "files/own": "#cloud-config\nwrite_files: [{path: /etc/docker/daemon.json, content: x}]\n", "files/mime": "Content-Type: x\n",
		"filesud.yml": "#cloud-config\nfqdn: another\n", "files/quotes": "#cloud-config\nfqdn: \"'''x'''\"\n"}
	for _, tt := range []struct {
		machine string
		option  string
		want    string // a part of the only note; empty = there is none
		in      string // a part of the new text
	}{
		{"", "", "", `size = "s-2vcpu-4gb"`},
		{"", "digitalocean-region=nyc2", `check: config.toml:11: digitalocean-region: "nyc2" takes no new Droplets: region = "nyc3"`, `region = "nyc3"`},
		{"", "digitalocean-size=1024mb", `check: config.toml:11: digitalocean-size: "1024mb" is no longer a size: size = "s-1vcpu-1gb"`, `size = "s-1vcpu-1gb"`},
		{"", "digitalocean-region=nyc9", `todo: config.toml:11: digitalocean-region: "nyc9" is no region of DigitalOcean as of`, `region = "nyc9"`},
		{"", "digitalocean-region=syd1", "", `region = "syd1"`},
		{"", "digitalocean-size=s-99vcpu", `todo: config.toml:11: digitalocean-size: "s-99vcpu" is no size of DigitalOcean`, `size = "s-99vcpu"`},
		{"", "digitalocean-size=2vcpu-4gb", `todo: config.toml:11: digitalocean-size: "2vcpu-4gb" is no size`, ""},
		{"", "digitalocean-size=s-1vcpu-512mb-10gb", "", `size = "s-1vcpu-512mb-10gb"`},
		{"", "digitalocean-size=so1_5-2vcpu-16gb-intel", "", ""},
		{"", "digitalocean-size=c-4-intel", "", ""},
		{"", "digitalocean-size=gpu-h100x1-80gb-contracted", "", ""},
		{"", "digitalocean-size", "", `size = "s-2vcpu-4gb"`},
		{"", "digitalocean-size=m-16gb", `size = "s-8vcpu-16gb"`, ""},
		{"", "digitalocean-image=my-image", `check: config.toml:11: digitalocean-image: "my-image" is gone, or not known to have Docker`, `image = "docker-20-04"`},
		{"", "digitalocean-image=ubuntu-28-04-x64", "", "install -y docker.io"},
		{"", "digitalocean-image=debian-12-x64", "", `image = "debian-12-x64"`},
		{"", "digitalocean-image=docker-18-04", `"docker-18-04" is gone`, `image = "docker-20-04"`},
		{"", "digitalocean-image=debian-11-x64", `"debian-11-x64" is gone`, `image = "docker-20-04"`},
		{"", "digitalocean-image=ubuntu-18-04-x64", `"ubuntu-18-04-x64" is gone`, `image = "docker-20-04"`},
		{"", "digitalocean-image=coreos-beta digitalocean-ssh-port=2222 digitalocean-ssh-user=core", "is gone", "protocol_port = 22\n"},
		{"", "digitalocean-size=512mb", "is no longer a size", `size = "s-1vcpu-1gb"`},
		{"", "digitalocean-ssh-port=2222", "", "protocol_port = 2222"},
		{"", "digitalocean-ssh-port=abc", `todo: config.toml:11: digitalocean-ssh-port: "abc" is no port: protocol_port = 22`, "protocol_port = 22\n"},
		{"", "digitalocean-ssh-port=65536", `todo: config.toml:11: digitalocean-ssh-port: "65536" is no port`, "protocol_port = 22\n"},
		{"", "digitalocean-ssh-port=0", `todo: config.toml:11: digitalocean-ssh-port: "0" is no port`, "protocol_port = 22\n"},
		{"", "digitalocean-ssh-user=builder", `check: config.toml:11: digitalocean-ssh-user: the image needs this user`, "usermod -aG docker builder"},
		{"", "digitalocean-ipv6 digitalocean-backups=true digitalocean-monitoring=false", "", "ipv6 = true\n      backups = true\n\n"},
		{"", "digitalocean-tags=ci,docker", "", `tags = ["ci", "docker"]`},
		{"", "digitalocean-image=123456", "check: config.toml:11: digitalocean-image: the snapshot needs Docker", "image = 123456\n"},
		{"", "digitalocean-userdata=/x.yml", "todo: config.toml:11: digitalocean-userdata: /x.yml cannot be read here", "  - if command -v ufw >/dev/null; then ufw allow 22/tcp; fi"},
		{"", "digitalocean-userdata=ud.yml", `todo: config.toml:11: digitalocean-userdata: "ud.yml" is not an absolute path, and ~ is not expanded`, "#cloud-config\nruncmd:"},
		{"", "digitalocean-userdata=/ud", "check: config.toml:11: digitalocean-userdata: /ud is merged", "- /usr/local/sbin/user-data\n  - if command -v ufw >/dev/null; then ufw allow 22/tcp; fi"},
		{"", "digitalocean-userdata=/mime", "todo: config.toml:11: digitalocean-userdata: /mime is no cloud-config whose lists could be continued: it is not in the new section", "  - if command -v ufw >/dev/null; then ufw allow 22/tcp; fi"},
		{"", "digitalocean-userdata=/quotes", "/quotes is merged", `user_data = "#cloud-config\nfqdn: \"'''x'''\"`},
		{"", "digitalocean-ssh-key-path=keys/id_rsa", "todo: config.toml:11: digitalocean-ssh-key-path: \"keys/id_rsa\" is not an absolute path, and ~ is not expanded", ""},
		{"", "digitalocean-ssh-key-path=/root/id_rsa", "", `ssh_key_file = "/root/id_rsa"`},
		{"", "digitalocean-ssh-key-fingerprint=MD5:3B:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa", "", `ssh_keys = ["3b:16:bf:`},
		{"", "engine-registry-mirror=http://10.1.2.3:5000", "check: config.toml:11: private addresses: 10.1.2.3 (engine-registry-mirror). Droplets reach", `# vpc_uuid = ""`},
		{"", "engine-registry-mirror=https://203.0.113.7", "", `"https://203.0.113.7"`},
		{"", "engine-insecure-registry=r:5000", "", `"r:5000"`},
		{"", "engine-opt=bip=192.168.0.1/24", "lost: config.toml:11: engine-opt: not converted", ""},
		{"", "digitalocean-sise=1gb", "lost: config.toml:11: digitalocean-sise: not converted: docker-machine's driver has no such option\n", ""},
		{"", "engine-install-url=https://x", "lost: config.toml:11: engine-install-url: ", ""},
		{"", "swarm-master", "lost: config.toml:11: swarm-master: not converted", ""},
		{"    MaxRemovalAttempts = 1\n", "", "", ""},
		{"[machine.shutdown_drain]\n  enabled = true\n", "", "", "shutdown_deletion_interval = \"5s\"\n    shutdown_deletion_retries = 3\n"},
		{"[machine.shutdown_drain]\n  enabled = true\n  max_retries = 6\n", "", "", "shutdown_deletion_retries = 6\n"},
		{"  [runners.feature_flags]\n    FF_USE_ADAPTIVE_REQUEST_CONCURRENCY = false\n", "", "", "executor = \"docker-autoscaler\"\n  limit = 5\n"},
		{"    OffPeakPeriods = [\"* * * L * * *\"]\n", "", "lost: config.toml:13: OffPeakPeriods: without effect since GitLab Runner 14.0\nhint: for another", ""},
		{"    OffPeakIdleCount = 0\n    OffPeakTimezone = \"UTC\"\n", "", "lost: config.toml:13: OffPeakIdleCount, OffPeakTimezone: without effect", ""},
		{"    Other = { key = 1 }\n    [[runners.machine.autoscaling]]\n      IdleCount = 1\n      NotAKey = 1\n", "", "lost: config.toml:13: Other, key, NotAKey: not converted: docker+machine has no such key\n", ""},
		{"    [[runners.machine.autoscaling]]\n      Periods = [\n        \"* * * L * * *\",\n      ]\n", "", `todo: config.toml:15: Periods: "* * * L * * *" has no equal`, ""},
		{"    [[runners.machine.autoscaling]]\n      IdleCount = 1\n", "", "", ""},
		{"    MachineOptionsWithName = [\"engine-label=machine=%s\"]\n", "", "lost: config.toml:13: MachineOptionsWithName: not converted", ""},
		{"    IdleScaleFactor = inf\n    IdleCount = 1\n", "", "scale_factor = 1001.0 of all", "scale_factor = 1001.0\n"},
		{"  [runners.cache]\n    BucketName = \"x\"\n    AccessKey = \"y\"\n", "", "lost: config.toml:14: BucketName: the runner ignores this and the other S3 keys here", "    AccessKey = \"y\"\n"},
		{"    IdleCount = 1\n    IdleScaleFactor = 0.5\n", "", "scale_factor = 1.5 of all machines, rounded up", "scale_factor_limit = 3"},
		{"    IdleCount = 5\n    IdleScaleFactor = 0.5\n", "", "scale_factor = 1.5", "scale_factor_limit = 5"}, // limit caps both
	} {
		r := holds(t, runnerWith(tt.machine, strings.Fields(tt.option)...), optionsWith(script))
		notes := notesText(r)
		if !r.Changed || !strings.Contains(notes, tt.want) || tt.want == "" && notes != "" || !strings.Contains(r.Text, tt.in) {
			t.Errorf("%s %s: want %q, and %q in the text:\n%s\n%s", tt.machine, tt.option, tt.want, tt.in, notes, r.Text)
		}
		accepted(t, script, r)
		if r.Has(Error, Todo) != strings.HasPrefix(notes, "todo") {
			t.Errorf("%s %s: works: %t\n%s", tt.machine, tt.option, !r.Has(Error, Todo), notes)
		}
	}
}

// A private address is found wherever Droplets are told to use one, and nowhere else.
func TestPrivateAddresses(t *testing.T) {
	for line, want := range map[string]string{
		`url = "https://10.0.0.1"`:                                          "config.toml:6: private addresses: 10.0.0.1 (url).",
		`clone_url = "http://192.168.0.1:8080"`:                             "192.168.0.1 (clone_url).",
		`environment = ["A=1", "HTTPS_PROXY=http://u:p@10.0.0.2:3128"]`:     "10.0.0.2 (environment).",
		`docker = { dns = ["172.16.0.1"], extra_hosts = ["git:10.0.0.3"] }`: "172.16.0.1 (dns), 10.0.0.3 (extra_hosts).",
		`cache.s3.ServerAddress = "10.0.0.4:9000"`:                          "10.0.0.4 (ServerAddress).",
		`name = "runner-10.0.0.5"`:                                          "",
		`docker.host = "tcp://10.0.0.6:2376"`:                               "",
		`docker.extra_hosts = ["docker:172.17.0.1", "x:203.0.113.7"]`:       "",
		`environment = ["NO_PROXY=10.0.0.0/8"]`:                             "",
	} {
		text := strings.Replace(runnerWith(""), "  limit = 5\n  [runners.docker]\n    image = \"alpine\"\n", "  limit = 5\n  "+line+"\n", 1)
		if strings.HasPrefix(line, "name") {
			text = strings.Replace(text, "  name = \"one\"\n", "", 1)
		}
		r := holds(t, text, none())
		if notes := notesText(r); !strings.Contains(notes, want) || strings.Contains(notes, "private addresses") != (want != "") ||
			strings.Contains(r.Text, "vpc_uuid") != (want != "") {
			t.Errorf("%s: want %q:\n%s", line, want, notes)
		}
	}
}

// Comments on docker-machine are in the old section alone. Others stay.
func TestStaleComments(t *testing.T) {
	text := strings.NewReplacer("  limit = 5\n", `  # of the team

  # as many as
  # Docker Machine makes
  # at once
  limit = 5 # docker-machine: 5
  # see MachineOptions
  # of mine
  output_limit = 4 # KiB
  environment = ["A=# docker-machine", """
# docker-machine""", 'B=# docker-machine'] # as docker-machine has it
  pre_build_script = '''
# docker-machine
'''
  custom = { a = "# docker-machine", b = true } # docker-machine
`, "  [runners.docker]\n", "  [runners.docker] # for docker+machine\n").Replace(runnerWith(""))
	r := holds(t, text, none())
	now, then, _ := strings.Cut(r.Text, "# The section as it was")
	if want := "\n  # of the team\n\n  limit = 5\n  output_limit = 4 # KiB\n  environment = ["; !strings.Contains(now, want) {
		t.Errorf("no %q in:\n%s", want, now)
	}
	for _, kept := range []string{"'B=# docker-machine']\n", "'''\n# docker-machine\n'''\n", "b = true }\n  [runners.docker]\n    image"} {
		if !strings.Contains(now, kept) { // holds has compared the values
			t.Errorf("no %q in:\n%s", kept, now)
		}
	}
	for _, comment := range []string{"of the team", "as many as", "docker-machine: 5", "see MachineOptions", "for docker+machine"} {
		if !strings.Contains(then, comment) {
			t.Errorf("no %q in:\n%s", comment, then)
		}
	}
}

// A file of Windows stays one.
func TestCRLF(t *testing.T) {
	for _, g := range goldens(t) {
		crlf := strings.NewReplacer("\n", "\r\n")
		r := holds(t, crlf.Replace(g.files["in.toml"]), optionsWith(g.files))
		if diff := cmp.Diff(crlf.Replace(g.files["out.toml"]), r.Text); r.Changed && diff != "" {
			t.Errorf("%s, -want +got:\n%s", g.name, diff)
		}
	}
}

// Where there is nothing to do the text stays.
func TestNothingToMigrate(t *testing.T) {
	for _, text := range []string{
		"", "metrics_server = ':9252'\n",
		"[[runners]]\nexecutor = \"docker\"\n[runners.machine]\nMachineDriver = \"digitalocean\"\n",
		"[[runners]]\nexecutor = \"docker+machine\"\n[runners.machine]\nMachineDriver = \"google\"\nMachineOptions = [\"digitalocean-image=x\"]\n",
		"[[runners]]\nexecutor = \"docker+machine\"\n[runners.machine]\nMachineOptions = []\n",
	} {
		if r := holds(t, text, none()); r.Changed || len(r.Notes) > 0 {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

// A token of the environment stays there. doctor looks whether there is one.
func TestTokenOfTheEnvironment(t *testing.T) {
	r := holds(t, strings.Replace(runnerWith(""), `"digitalocean-access-token=dop_v1_0123456789abcdef", `, "", 1), none())
	if len(r.Secrets) != 0 || strings.Contains(r.Text, "token_file") || !strings.Contains(notesText(r), "stays in the environment") {
		t.Errorf("%v\n%s", r.Secrets, notesText(r))
	}
}

// What is shown has no secret that stands inside another value either, and the file keeps those that it needs.
func TestEmbeddedSecrets(t *testing.T) {
	text := strings.Replace(runnerWith("", "engine-env=HTTPS_PROXY=http://builder:pw-of-proxy@10.0.0.9:3128", "engine-env=X_TOKEN=value-of-x", "digitalocean-ssh-key-path=value-of-x"), `  [runners.docker]`,
		`  environment = ["HTTPS_PROXY=http://puser:proxy77@10.0.0.9:3128", "DOCKER_AUTH_CONFIG={\"auths\":{\"r\":{\"auth\":\"c2VjcmV0OnNlY3JldA==\"}}}", "NPM_X=npm_0123456789abcdef", "DB_URL=postgres://u:pw1@h/db"]
  token = "tok-7"
  pre_clone_script = "git clone https://oauth2:glpat-xxxxxxxxxxxxxxxxxxxx@gitlab.example.com/x"
  [runners.docker]`, 1)
	r := holds(t, text, none())
	if want := "\n  pre_get_sources_script = \"git clone "; !strings.Contains(r.Text, want) {
		t.Errorf("no %q in:\n%s", want, r.Text)
	}
	shown := r.Mask(text) + r.Mask(r.Text) + notesText(r)
	for _, secret := range []string{"proxy77", "c2VjcmV0", "npm_0123", "pw1@", "glpat-xxxx", "dop_v1_0123", "pw-of-proxy", "value-of-x", "tok-7"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is shown:\n%s", secret, shown)
		}
		if !slices.Contains([]string{"dop_v1_0123", "pw-of-proxy", "value-of-x"}, secret) && !strings.Contains(r.Text, secret) {
			t.Errorf("%s is gone from the file, which needs it", secret)
		}
	}
	for _, plain := range []string{"10.0.0.9:3128", "gitlab.example.com/x", "HTTPS_PROXY=http://puser:", "@h/db", "digitalocean-token"} {
		if !strings.Contains(shown, plain) {
			t.Errorf("%s is no secret, and is not shown", plain)
		}
	}
}

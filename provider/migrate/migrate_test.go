package migrate

import (
	"fmt"
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

func none() Options { return optionsWith(nil, nil) }

// What cannot be migrated is told with its line, and nothing is changed.
func TestErrors(t *testing.T) {
	const both = "\nhint: the runner does not take the file either: fix it first\n"
	for name, tt := range map[string]struct {
		text string
		want string
	}{
		"no TOML":     {"concurrent = \n[[runners]]\n", "error: config.toml:1: expected value but found '\\n' instead" + both},
		"no text":     {"\xff\xfe", "error: config.toml: invalid character at start of key: U+00FF 'ÿ'" + both},
		"a key twice": {"concurrent = 1\nconcurrent = 2\n", "error: config.toml:2: Key 'concurrent' has already been defined." + both},
		"what no runner reads": {
			"[[runners]]\nlimit = \"5\"\nname = 5\n",
			"error: config.toml:2: runners.limit: must be a whole number" + both +
				"error: config.toml:3: runners.name: must be a string" + both,
		},
		"a number in quotes": {
			runnerWith("    IdleCount = \"1\"\n"),
			"error: config.toml:13: (last key \"runners.machine.IdleCount\"): incompatible types: " +
				"TOML value has type string; destination has type integer" + both,
		},
		"one inline array": {
			"runners = [{ executor = \"docker+machine\" }]\n",
			"error: config.toml: runners is spelled in two ways, or written as one array in brackets\n" +
				"hint: write each runner as a [[runners]] section\n",
		},
		"something between": {
			"[[runners]]\nexecutor = \"shell\"\n[session_server]\nsession_timeout = 1\n[runners.docker]\n",
			"error: config.toml:5: [runners.docker] is apart from its [[runners]]: something else is between them\n" +
				"hint: move it to the other tables of its [[runners]]\n",
		},
		"a key in two cases": {
			runnerWith("    IdleCount = 1\n    idlecount = 2\n"),
			"error: config.toml:14: idlecount is given twice, in different case: which one counts is chance\nhint: remove one of them\n",
		},
		"no section": {
			"[[runners]]\n  executor = \"docker+machine\"\n  [runners.machine]\n    MachineDriver = \"digitalocean\"\n",
			"error: config.toml:1: executor: is docker+machine, and the runner has no [runners.machine]\n" +
				"hint: the runner cannot run as it is: remove it, or give it the section\n",
		},
		"half-way there": {
			runnerWith("  [runners.autoscaler]\n    plugin = \"x\"\n"),
			"error: config.toml:13: executor: is docker+machine, and the runner has [runners.autoscaler] already\n" +
				"hint: remove the one that you do not use\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := holds(t, tt.text, none())
			if diff := cmp.Diff(tt.want, notesText(r)); diff != "" || !r.Failed() || r.Changed {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What is not as it was is told: what has to be done, what is lost, and what to look at. A pointless line is not.
func TestNotes(t *testing.T) {
	script := map[string]string{"files/ud": "#!/bin/sh\necho\n", "files/own": "#cloud-config\nwrite_files: [{path: /etc/docker/daemon.json, content: x}]\n", "files/mime": "Content-Type: x\n"}
	for _, tt := range []struct {
		machine string
		option  string
		want    string // a part of the only note; empty = there is none
		in      string // a part of the new text
	}{
		{"", "", "", `size = "s-2vcpu-4gb"`},
		{"", "digitalocean-region=nyc2", `check: config.toml:11: digitalocean-region: "nyc2" takes no new Droplets, but of old accounts: region = "nyc3"`, `region = "nyc3"`},
		{"", "digitalocean-size=1024mb", `check: config.toml:11: digitalocean-size: "1024mb" is no size today: size = "s-1vcpu-1gb"`, `size = "s-1vcpu-1gb"`},
		{"", "digitalocean-size=m-16gb", `size = "m-2vcpu-16gb"`, ""},
		{"", "digitalocean-image=my-image", `todo: config.toml:11: digitalocean-image: "my-image" is no image that is known to have Docker`, "apt-get install -y docker.io"},
		{"", "digitalocean-image=ubuntu-28-04-x64", "", "packages:\n  - docker.io"},
		{"", "digitalocean-image=ubuntu-18-04-x64", `"ubuntu-18-04-x64" is gone`, `image = "docker-20-04"`},
		{"", "digitalocean-image=fedora-40-x64", "is gone, or apt cannot", `image = "docker-20-04"`},
		{"", "digitalocean-image=coreos-beta digitalocean-ssh-port=2222 digitalocean-ssh-user=core", "is gone", "protocol_port = 22\n"},
		{"", "digitalocean-image=coreos-beta digitalocean-size=512mb", "is no size today", `image = "ubuntu-24-04-x64"`},
		{"", "digitalocean-ssh-port=ssh", `todo: config.toml:11: digitalocean-ssh-port: "ssh" is no port`, "protocol_port = 22"},
		{"", "digitalocean-ssh-user=a b", `todo: config.toml:11: digitalocean-ssh-user: "a b" is no user name`, `username = "root"`},
		{"", "digitalocean-ipv6=yes", "todo: config.toml:11: digitalocean-ipv6: is neither true nor false", ""},
		{"", "digitalocean-userdata=~/x.yml", "todo: config.toml:11: ", "user_data_file = \"~/x.yml\"\n      # #cloud-config"},
		{"", "digitalocean-userdata=/ud", "check: config.toml:11: digitalocean-userdata: /ud is merged", "- /usr/local/sbin/user-data\n  - ufw allow ssh"},
		{"", "digitalocean-userdata=/mime", "todo: config.toml:11: digitalocean-userdata: /mime is no cloud-config, and also has to do", "# runcmd:"},
		{"", "digitalocean-ssh-key-path=keys/id_rsa", "todo: config.toml:11: digitalocean-ssh-key-path: \"keys/id_rsa\" is no whole path, and nothing expands ~", ""},
		{"", "digitalocean-ssh-key-path=/root/id_rsa", "", `ssh_key_file = "/root/id_rsa"`},
		{"", "digitalocean-ssh-key-fingerprint=SHA256:x", "lost: config.toml:11: digitalocean-ssh-key-fingerprint: is no MD5", ""},
		{"", "engine-registry-mirror=http://10.1.2.3:5000", "check: config.toml:11: private addresses: 10.1.2.3 (engine-registry-mirror). Droplets reach", `# vpc_uuid = ""`},
		{"", "engine-registry-mirror=https://203.0.113.7", "", `"https://203.0.113.7"`},
		{"", "engine-opt=bip=192.168.0.1/24", "", `"bip": "192.168.0.1/24"`},
		{"", "engine-install-url=https://x", "lost: config.toml:11: engine-install-url: ", ""},
		{"", "swarm-master", "", ""},
		{"    IdleCuont = 1\n", "", "lost: config.toml:13: IdleCuont: is nothing that docker+machine knows", ""},
		{"    MaxRemovalAttempts = 1\n    MachineOptionsWithName = []\n", "", "", ""},
		{"    OffPeakPeriods = [\"* * * L * * *\"]\n", "", "lost: config.toml:13: OffPeakPeriods: the runner ignores it since 14.0\nhint: write", ""},
		{"    [[runners.machine.autoscaling]]\n      Periods = [\n        \"* * * L * * *\",\n      ]\n", "", `todo: config.toml:15: Periods: "* * * L * * *": the day`, ""},
		{"    [[runners.machine.autoscaling]]\n      IdleCount = 1\n", "", "lost: config.toml:13: Periods: there are none", ""},
		{"    IdleScaleFactor = inf\n", "", "todo: config.toml:13: IdleScaleFactor: must be at most 1000", ""},
		{"    IdleCount = 1\n    IdleScaleFactor = 0.5\n", "", "with more than 2 jobs fewer machines are idle than before", "scale_factor_limit = 3"},
		{"    IdleCount = 5\n    IdleScaleFactor = 0.5\n", "", "scale_factor = 1.5 of all machines, rounded up\n", "scale_factor_limit = 5"}, // limit caps both
	} {
		r := holds(t, runnerWith(tt.machine, strings.Fields(tt.option)...), optionsWith(nil, script))
		if strings.Contains(tt.option, "a b") {
			r = holds(t, runnerWith(tt.machine, tt.option), none())
		}
		notes := notesText(r)
		if !r.Changed || !strings.Contains(notes, tt.want) || tt.want == "" && notes != "" || !strings.Contains(r.Text, tt.in) {
			t.Errorf("%s %s: want %q, and %q in the text:\n%s\n%s", tt.machine, tt.option, tt.want, tt.in, notes, r.Text)
		}
		if r.Works() == strings.HasPrefix(notes, "todo") {
			t.Errorf("%s %s: works: %t\n%s", tt.machine, tt.option, r.Works(), notes)
		}
	}
}

// Where there is nothing to do the text stays.
func TestNothingToMigrate(t *testing.T) {
	for _, text := range []string{
		"", "concurrent = 1\n",
		"[[runners]]\nexecutor = \"docker\"\n[runners.machine]\nMachineDriver = \"digitalocean\"\n",
		"[[runners]]\nexecutor = \"docker+machine\"\n[runners.machine]\nMachineDriver = \"google\"\nMachineOptions = [\"digitalocean-image=x\"]\n",
		"[[runners]]\nexecutor = \"docker+machine\"\n[runners.machine]\nMachineOptions = []\n",
	} {
		if r := holds(t, text, none()); r.Changed || r.Failed() {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

// What the global section says counts for each runner.
func TestGlobals(t *testing.T) {
	text := "machine.shutdown_drain.enabled = true\n" + strings.Replace(runnerWith("    IdleCount = 2\n"), "limit = 5", "limit = 0", 1)
	r := holds(t, text, none())
	for _, want := range []string{"      max_instances = 7\n", "delete_instances_on_shutdown = true\n    shutdown_deletion_interval = \"10s\"\n    shutdown_deletion_retries = 3\n"} {
		if !strings.Contains(r.Text, want) {
			t.Errorf("no %q in:\n%s", want, r.Text)
		}
	}
}

// With Windows' line ends user data is one line: in a string of several, the carriage returns would be part of it, and
// cloud-init would not know its first line.
func TestUserDataHasNoCarriageReturns(t *testing.T) {
	r := holds(t, strings.ReplaceAll(runnerWith(""), "\n", "\r\n"), none())
	want := `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"` + "\r\n"
	if !strings.Contains(r.Text, want) || strings.Contains(strings.ReplaceAll(r.Text, "\r\n", ""), "\n") {
		t.Errorf("no %q in:\n%s", want, r.Text)
	}
}

// A file of 10,000 lines is migrated as one of ten is, each token to a file of its own.
func TestTenThousandLines(t *testing.T) {
	text := "concurrent = 5\n"
	const runners = 600
	for n := range runners {
		one := strings.TrimPrefix(runnerWith("    IdleCount = 1\n    # a comment\n"), "concurrent = 5\n")
		text += strings.ReplaceAll(one, "0123456789abcdef", fmt.Sprintf("%016x", n)) + "\n\n[[runners]]\n  executor = \"shell\"\n\n"
	}
	r := Migrate("config.toml", text, none())
	files := map[string]bool{}
	for _, s := range r.Secrets {
		files[s.File] = true
	}
	if r.Failed() || r.Migrated != runners || r.Runners != 2*runners || len(files) != runners {
		t.Errorf("%d of %d runners, %d files for tokens", r.Migrated, r.Runners, len(files))
	}
}

// A token of the environment stays there, unless a file was chosen for it.
func TestTokenOfTheEnvironment(t *testing.T) {
	const token = "dop_v1_99999999999999999999"
	text := strings.Replace(runnerWith(""), `"digitalocean-access-token=dop_v1_0123456789abcdef", `, "", 1)
	o := optionsWith(map[string]string{"DIGITALOCEAN_ACCESS_TOKEN": token}, nil)
	if r := holds(t, text, o); len(r.Secrets) != 0 || strings.Contains(r.Text, "token_file") {
		t.Errorf("%v\n%s", r.Secrets, notesText(r))
	}
	o.TokenFileChosen = true
	r := holds(t, text, o)
	if len(r.Secrets) != 1 || r.Secrets[0].Value.Reveal() != token || !strings.Contains(r.Text, "token_file = ") || strings.Contains(r.Text+notesText(r), token) {
		t.Errorf("%v\n%s", r.Secrets, notesText(r))
	}
	if r := holds(t, text, none()); r.Works() {
		t.Errorf("it works without a token:\n%s", notesText(r))
	}
}

// Where the token stands outside of the section it stays, and that is told.
func TestTokenElsewhere(t *testing.T) {
	r := holds(t, "# dop_v1_0123456789abcdef\n"+runnerWith(""), none())
	if want := "check: config.toml: the access token stands on line 1 of the new file too\n"; !strings.Contains(notesText(r), want) {
		t.Errorf("no %q in:\n%s", want, notesText(r))
	}
}

// What is shown has no secret that stands inside another value either, and the file keeps those that it needs.
func TestEmbeddedSecrets(t *testing.T) {
	text := strings.Replace(runnerWith("", "engine-env=HTTPS_PROXY=http://builder:pw-of-proxy@10.0.0.9:3128", "engine-env=X_TOKEN=value-of-x"), `  [runners.docker]`,
		`  environment = ["HTTPS_PROXY=http://puser:proxy77@10.0.0.9:3128", "DOCKER_AUTH_CONFIG={\"auths\":{\"r\":{\"auth\":\"c2VjcmV0OnNlY3JldA==\"}}}", "NPM_X=npm_0123456789abcdef", "DB_URL=postgres://u:pw1@h/db"]
  pre_clone_script = "git clone https://oauth2:glpat-xxxxxxxxxxxxxxxxxxxx@gitlab.example.com/x"
  [runners.docker]`, 1)
	r := holds(t, text, none())
	if want := "\n  pre_get_sources_script = \"git clone "; !strings.Contains(r.Text, want) {
		t.Errorf("no %q in:\n%s", want, r.Text)
	}
	shown := r.Mask(text) + r.Mask(r.Text) + notesText(r)
	for _, secret := range []string{"proxy77", "c2VjcmV0", "npm_0123", "pw1@", "glpat-xxxx", "dop_v1_0123", "pw-of-proxy", "value-of-x"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is shown:\n%s", secret, shown)
		}
		if secret != "dop_v1_0123" && !strings.Contains(r.Text, secret) {
			t.Errorf("%s is gone from the file, which needs it", secret)
		}
	}
	for _, plain := range []string{"10.0.0.9:3128", "gitlab.example.com/x", "HTTPS_PROXY=http://puser:", "@h/db"} {
		if !strings.Contains(shown, plain) {
			t.Errorf("%s is no secret, and is not shown", plain)
		}
	}
}

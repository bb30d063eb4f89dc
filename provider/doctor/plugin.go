package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

func (e *exam) pluginConfig() {
	if e.File == nil {
		return
	}
	faults, ok := errors.AsType[config.Faults](e.Faults)
	switch {
	case e.Faults == nil:
		e.say(Good, "autoscaler.plugin_config", "", "plugin_config is accepted")
	case !ok:
		e.say(Fault, "autoscaler.plugin_config", documented, "%v", e.Faults)
	}
	for _, f := range faults {
		hint := cmp.Or(f.Hint, documented)
		if f.Key == "token" || f.Key == "token_file" {
			hint = cmp.Or(f.Hint, `token_file = "/etc/gitlab-runner/digitalocean-token", with nothing but the token in that file`)
		}
		f.Hint = ""
		e.say(Fault, "autoscaler.plugin_config."+f.Key, hint, "%v", f)
	}
}

// documented is a hint for want of a better one.
const documented = "docs/configuration.md tells what plugin_config takes"

func (e *exam) address() {
	if !e.valid() {
		return
	}
	const key = "autoscaler.connector_config.use_external_addr"
	switch external := e.Runner.Autoscaler.Connector.UseExternalAddr; {
	case external && !e.Config.PublicNetworking:
		e.say(Warning, key, "use_external_addr = false",
			"use_external_addr is true, and with public_networking = false Droplets have private addresses alone")
	case !external && e.Config.PublicNetworking:
		e.say(Note, key, "where this host is in no VPC with them: use_external_addr = true",
			"use_external_addr is false: Droplets are dialed by their private addresses, so this host has to be in their VPC")
	case !external:
		e.say(Note, key, "", "Droplets have private addresses alone, so this host has to be in their VPC")
	}
}

func (e *exam) connector() {
	if e.File == nil {
		return
	}
	c := e.Runner.Autoscaler.Connector
	const table = "autoscaler.connector_config."
	if c.OS != "" && c.OS != "linux" {
		e.say(Fault, table+"os", `os = "linux"`, "os is %q: Droplets run linux, and the plugin refuses all else", c.OS)
	}
	if c.Protocol != "" && c.Protocol != "ssh" {
		e.say(Fault, table+"protocol", `protocol = "ssh"`, "protocol is %q: Droplets are reached by ssh, and the plugin refuses all else", c.Protocol)
	}
	switch p := c.ProtocolPort; {
	case p < 0 || p > 65535:
		e.say(Fault, table+"protocol_port", "protocol_port = 22", "protocol_port is %d: it must be from 1 to 65535", p)
	case p != 0 && p != 22:
		e.say(Note, table+"protocol_port", "", "protocol_port is %d: the image's SSH server has to listen there", p)
	}
	if u := c.Username; u != "" && u != "root" && !strings.Contains(e.Config.UserData, u) && e.Config.Image.Slug != "" {
		e.say(Warning, table+"username", `username = "root"`,
			"username is %q: DigitalOcean's images know root alone, and user_data does not make another", u)
	}
}

// timeouts finds what ends before a Droplet can be there. A Droplet takes some 30 s to
// become active, and 10 to 30 s more until its SSH server answers.
func (e *exam) timeouts() {
	if e.File == nil {
		return
	}
	a := e.Runner.Autoscaler
	for _, t := range []struct {
		key, usual   string
		value, least time.Duration
	}{
		{"connector_config.timeout", "5m", a.Connector.Timeout, time.Minute},
		{"instance_acquire_timeout", "15m", a.InstanceAcquireTimeout, 2 * time.Minute},
	} {
		if t.value < time.Millisecond || t.value >= t.least {
			continue // not set, told by values, or long enough
		}
		name := lastPart(t.key)
		e.say(Warning, "autoscaler."+t.key, fmt.Sprintf("%s = %q", name, t.usual),
			"%s is %s: a Droplet takes some 30s to become active, and 10s to 30s more until SSH", name, t.value)
	}
}

// secretLike match what looks like a secret, by what it is called.
var secretLike = []struct {
	what string
	re   *regexp.Regexp
}{
	{"a DigitalOcean token", regexp.MustCompile(`\bdo[opr]_v1_[0-9a-f]{16,}`)},
	{"a GitLab token", regexp.MustCompile(`\bgl(pat|rt|dt|cbt|ptt|soat|imt)-[0-9A-Za-z_-]{10,}`)},
	{"a GitHub token", regexp.MustCompile(`\b(gh[pousr]_[0-9A-Za-z]{20,}|github_pat_\w{20,})`)},
	{"an AWS key", regexp.MustCompile(`\bA(KIA|SIA)[0-9A-Z]{16}\b`)},
	{"a private key", regexp.MustCompile(`PRIVATE KEY-----`)},
	{"a password", regexp.MustCompile(`(?im)^[^#\n]*\b(password|passwd|secret|secret_?key|access_?token|api_?key)["']?\s*[:=]\s*["']?[^\s"'$<{]{6,}`)},
	{"a registry's password", regexp.MustCompile(`docker login\b[^\n]*\s(-p|--password)[ =][^$\s]`)},
}

// unlocked matches what ends the limit on SSH connections: ufw limit ssh does not.
var unlocked = regexp.MustCompile(`(?m)^[^#\n]*\bufw["', \t]+(--force["', \t]+)?(allow|disable)\b`)

func (e *exam) firewall() {
	if !e.valid() || !strings.HasPrefix(e.Config.Image.Slug, "docker-") || unlocked.MatchString(e.Config.UserData) {
		return
	}
	key, data := e.userDataKey(), e.Config.UserData
	name, hint := lastPart(key), ""
	switch {
	case data == "":
		hint = `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"`
	case strings.HasPrefix(data, "#cloud-config") && runcmd.MatchString(data):
		hint = "below runcmd: of " + name + ":   - ufw allow ssh"
	case strings.HasPrefix(data, "#cloud-config"):
		hint = "add the line to " + name + ": runcmd: [ufw allow ssh]"
	case strings.HasPrefix(data, "#!"):
		hint = "add the line: ufw allow ssh"
	default:
		hint = "let " + name + " run: ufw allow ssh"
	}
	e.say(Warning, key, hint,
		"the 1-Click image's firewall takes six SSH connections in 30 seconds from an address, and then none: the runner locks itself out")
}

var runcmd = regexp.MustCompile(`(?m)^runcmd:`)

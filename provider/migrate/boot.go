package migrate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// engine reads the options of docker-machine itself, and what nobody knows.
func (c *conversion) engine(d *droplet) {
	for _, o := range d.options.all {
		if strings.HasPrefix(o.key, "digitalocean-") && slices.Contains(driverOptions, strings.TrimPrefix(o.key, "digitalocean-")) {
			continue
		}
		flag, value := "", o.value
		switch o.key {
		case "engine-registry-mirror", "engine-insecure-registry", "engine-storage-driver", "engine-label":
			flag = strings.TrimPrefix(o.key, "engine-")
		case "engine-opt":
			flag, value = splitFlag(o.value)
		}
		switch {
		case flag == "storage-driver" && slices.Contains(lostDrivers, value):
			c.plugin.keep(o.old)
			c.note(Note{Severity: Warning, Kind: Dropped, Line: o.line, Key: o.key, Text: fmt.Sprintf("Docker no longer has the storage driver %q; overlay2 is the default", value)})
		case flag != "":
			c.daemonFlag(d, o, flag, value)
		case o.key == "engine-env":
			c.daemonEnv(d, o)
		case o.key == "engine-install-url":
			c.plugin.keep(o.old)
			c.note(Note{Severity: Warning, Kind: Dropped, Line: o.line, Key: o.key, Text: "Docker is the image's own, or the distribution's package",
				Hint: "an image of your own has just the release that you put in"})
		case o.key == "tls-san" || strings.HasPrefix(o.key, "swarm"):
			key := o.key
			if key != "tls-san" {
				key = "swarm-*"
			}
			c.plugin.keep(o.old)
			c.say(Dropped, o.line, key, o.key+" is of no use: the runner reaches Docker over SSH")
		default:
			c.plugin.keep(o.old)
			c.note(Note{Kind: Decision, Line: o.line, Text: fmt.Sprintf("MachineOptions has %q, which is no option of docker-machine or its digitalocean driver", c.redact(o.key)),
				Hint: "it is a comment now; docker-machine would have refused it"})
		}
	}
	c.withName()
}

// splitFlag takes engine-opt apart: flag=value, or "flag value" as it would stand on
// the daemon's command line.
func splitFlag(text string) (flag, value string) {
	text = strings.TrimLeft(text, "-")
	if i := strings.IndexAny(text, "= "); i >= 0 {
		return text[:i], text[i+1:]
	}
	return text, ""
}

// daemonFlag puts a flag of the Docker daemon into daemon.json.
func (c *conversion) daemonFlag(d *droplet, o *option, flag, value string) {
	key, wrong := d.engine.set(flag, value)
	if wrong != "" {
		c.plugin.keep(o.old)
		c.note(Note{Kind: Decision, Line: o.line, Key: o.key, Text: fmt.Sprintf("%q %s", flag, wrong),
			Hint: "write it into /etc/docker/daemon.json with write_files in user_data"})
		return
	}
	c.plugin.comments(o.old) // its place is in a string, where there are none
	c.say(Converted, o.line, o.key, fmt.Sprintf("%s in daemon.json, which user_data writes", key))
}

func (c *conversion) daemonEnv(d *droplet, o *option) {
	if wrong := d.engine.setEnv(o.value); wrong != "" {
		c.plugin.keep(o.old)
		c.note(Note{Kind: Decision, Line: o.line, Key: o.key, Text: wrong, Hint: "docker-machine took NAME=value"})
		return
	}
	c.plugin.comments(o.old)
	name, _, _ := strings.Cut(o.value, "=")
	c.note(Note{Severity: Warning, Kind: Converted, Line: o.line, Key: o.key, Text: name + " in a systemd drop-in of docker.service, which user_data writes",
		Hint: "jobs can read user_data through the metadata service: it must not hold a password"})
}

// withName reports MachineOptionsWithName: user data is the same for all Droplets, so
// what depends on the name has to be found out at boot.
func (c *conversion) withName() {
	_, list := c.machine("MachineOptionsWithName")
	if list == nil {
		return
	}
	c.plugin.comments(list)
	for _, e := range c.strings("machine.machineoptionswithname", "MachineOptionsWithName") {
		o := c.oldElement("MachineOptionsWithName", e)
		c.plugin.keep(o)
		key, value, _ := splitOption(e.text)
		hint := "a Droplet's host name is its name; user_data can use $(hostname) in runcmd"
		switch {
		case key == "digitalocean-tags":
			hint = "a Droplet has its name, and the tag fleeting-group:" + c.group + "; put tags that do not depend on the name into tags"
		case key == "engine-label" && !sounds(value):
			hint = "to have it all the same, put what docs/migrate.md has for it into runcmd of user_data"
		}
		c.note(Note{Kind: Decision, Line: o.line, Key: "MachineOptionsWithName", Text: fmt.Sprintf("%q with the machine's name has no equal", key), Hint: hint})
	}
}

// maxUserData is DigitalOcean's limit, in bytes.
const maxUserData = 64 << 10

// userData makes user_data, or says what to put into the user's own file.
func (c *conversion) userData(d droplet) {
	port := "ssh"
	if d.port != 22 {
		port = strconv.Itoa(d.port) + "/tcp"
	}
	text := cloudConfig{image: d.class, port: port, user: d.user, engine: d.engine}.String()
	o := d.options.get("userdata")
	if o == nil {
		if text != "" {
			c.plugin.lines = append(c.plugin.lines, "# Jobs can read user_data through the metadata service (169.254.169.254): no secrets in here.")
			c.plugin.set("user_data", quoteLines(text, c.runner.doc.eol))
		}
		return
	}
	c.plugin.set("user_data_file", quote(o.value), o.oldOf())
	if text == "" {
		c.say(Converted, o.line, o.key, "plugin_config.user_data_file"+o.from())
		return
	}
	c.plugin.lines = append(c.plugin.lines, "# That file also has to do what docker-machine did, or the Droplets of this image need:")
	c.plugin.say(text)
	hint := "put the comment's lines into the file; entries of runcmd, packages and write_files go below the keys that are there: of a key that is given twice one is lost"
	if content, err := c.options.Host.ReadFile(o.value, maxUserData); err == nil && strings.HasPrefix(string(content), "#!") {
		hint = "the file is a script, which cannot have cloud-config in it: have it do as commands what the comment says"
	}
	c.note(Note{Kind: Decision, Line: o.line, Key: o.key, Text: "plugin_config.user_data_file" + o.from() + "; the file also has to do what the comment below it says", Hint: hint})
}

// connect makes connector_config, and the command that tells that a Droplet is ready.
func (c *conversion) connect(d droplet) {
	k := &c.connector
	user, docker := "root", "docker info"
	if d.user != "" {
		user, docker = d.user, "sudo docker info" // this session is older than its group
	}
	k.set("username", quote(user), d.options.get("ssh-user").oldOf())
	k.set("protocol", `"ssh"`)
	k.set("protocol_port", strconv.Itoa(d.port), d.options.get("ssh-port").oldOf())
	if o := d.options.get("ssh-key-path"); o != nil {
		k.set("key_path", quote(o.value), o.oldOf())
		c.say(Converted, o.line, o.key, "connector_config.key_path"+o.from())
	}
	k.set("use_external_addr", "true")
	k.set("timeout", `"5m"`)
	k.set("keepalive", `"30s"`)
	c.autoscaler.set("instance_ready_command", quote("(cloud-init status --wait || test $? -eq 2) && "+docker))
}

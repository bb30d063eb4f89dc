package migrate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// option is one of docker-machine's options, or the variable of the environment that stands in for it.
type option struct {
	key   string // digitalocean-image
	value string
	bare  bool // without a value, as booleans mostly are
	line  int
	env   string // the variable that it is from
}

// driverOptions are the options of docker-machine's driver, without digitalocean-. Each has a variable in the
// environment, DIGITALOCEAN_SSH_USER and so on.
var driverOptions = []string{
	"access-token", "ssh-user", "ssh-key-fingerprint", "ssh-key-path", "ssh-port", "image", "region", "size",
	"ipv6", "private-networking", "backups", "userdata", "monitoring", "tags",
}

// splitOption takes an option apart. The name ends where no name goes on, so that what follows, which may be a secret, is
// never taken for a part of it.
func splitOption(text string) (key, value string, bare bool) {
	text = strings.TrimSpace(text)
	key = optionName.FindString(text)
	if key == text {
		return key, "", true
	}
	return key, strings.TrimLeft(text[len(key):], "= \t"), false
}

var optionName = regexp.MustCompile(`^[A-Za-z0-9_-]*`)

// readOptions reads MachineOptions, in their order, and then the environment.
func (c *conversion) readOptions() (all []option) {
	for i, text := range c.old.Machine.MachineOptions {
		o := option{line: c.lineOf("machine.machineoptions", i)}
		o.key, o.value, o.bare = splitOption(text)
		all = append(all, o)
	}
	for _, name := range driverOptions {
		o := option{key: "digitalocean-" + name, line: c.line("machine.machineoptions")}
		o.env = "DIGITALOCEAN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		o.value = c.Host.Getenv(o.env)
		if o.value != "" && !slices.ContainsFunc(all, func(other option) bool { return other.key == o.key }) {
			all = append(all, o)
		}
	}
	return all
}

// option returns an option of the driver. The last one counts. One that is not there, or has no value, is as docker-machine's
// default says.
func (c *conversion) option(name, otherwise string) option {
	for _, o := range slices.Backward(c.options) {
		if o.key == "digitalocean-"+name && o.value != "" {
			return o
		}
	}
	return option{key: "digitalocean-" + name, value: otherwise, line: c.line("machine.machineoptions")}
}

// boolean reads an option that needs no value.
func (c *conversion) boolean(name string) bool {
	for _, o := range slices.Backward(c.options) {
		if o.key != "digitalocean-"+name {
			continue
		}
		on, err := strconv.ParseBool(o.value)
		if err != nil && !o.bare {
			c.at(Todo, o.line, o.key, "is neither true nor false", "write what is meant: "+name+" = true")
		}
		return on || o.bare
	}
	return false
}

// port reads the port of SSH; a wrong one is the default.
func (c *conversion) port() int {
	o := c.option("ssh-port", "22")
	n, err := strconv.Atoi(o.value)
	if err != nil || n < 1 || n > 65535 {
		c.at(Todo, o.line, o.key, strconv.Quote(o.value)+" is no port", "protocol_port = 22")
		return 22
	}
	return n
}

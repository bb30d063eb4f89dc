package migrate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// option is one of docker-machine's options, or what the environment says in its
// place.
type option struct {
	*old
	key   string // digitalocean-image
	value string
	bare  bool   // without a value, as booleans mostly are
	env   string // the variable that it is from
}

// driverOptions are the options of docker-machine's driver, without digitalocean-.
// Each has a variable in the environment, DIGITALOCEAN_SSH_USER and so on.
var driverOptions = []string{
	"access-token", "ssh-user", "ssh-key-fingerprint", "ssh-key-path", "ssh-port", "image", "region", "size",
	"ipv6", "private-networking", "backups", "userdata", "monitoring", "tags",
}

// switches are those of driverOptions that need no value.
var switches = []string{"ipv6", "private-networking", "backups", "monitoring"}

// machineOptions are the options of a runner, by key. A later one takes the place of
// an earlier one, but for those of the engine, which add up.
type machineOptions struct {
	all     []*option // in the order of the file, then those of the environment
	repeats []*option // whose place a later one took
	empty   []*option // without a value, and need one
}

// get returns an option of the driver, or nil.
func (m machineOptions) get(name string) *option {
	for _, o := range m.all {
		if o.key == "digitalocean-"+name {
			return o
		}
	}
	return nil
}

// splitOption takes an option apart. The name ends where no name goes on, so that what
// follows, which may be a secret, is never taken for a part of it.
func splitOption(text string) (key, value string, bare bool) {
	text = strings.TrimSpace(text)
	key = optionName.FindString(text)
	if key == text {
		return key, "", true
	}
	return key, strings.TrimLeft(text[len(key):], "= \t"), false
}

var optionName = regexp.MustCompile(`^[A-Za-z0-9_-]*`)

// readOptions reads MachineOptions and the environment.
func (c *conversion) readOptions() machineOptions {
	var m machineOptions
	for _, e := range c.strings("machine.machineoptions", "MachineOptions") {
		o := &option{old: c.oldElement("MachineOptions", e)}
		o.key, o.value, o.bare = splitOption(e.text)
		name, ours := strings.CutPrefix(o.key, "digitalocean-")
		if ours && o.value == "" && slices.Contains(driverOptions, name) && !slices.Contains(switches, name) {
			m.empty = append(m.empty, o)
			continue
		}
		if ours {
			for i, earlier := range m.all {
				if earlier.key == o.key {
					m.all = append(m.all[:i], m.all[i+1:]...)
					m.repeats = append(m.repeats, earlier)
					break
				}
			}
		}
		m.all = append(m.all, o)
	}
	for _, name := range driverOptions {
		variable := "DIGITALOCEAN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := c.options.Host.Getenv(variable)
		if value == "" || m.get(name) != nil {
			continue
		}
		m.all = append(m.all, &option{
			old: &old{name: variable, line: c.lineOf("machine.machineoptions")},
			key: "digitalocean-" + name, value: value, env: variable,
		})
	}
	return m
}

// oldElement is an element of a list, for a comment.
func (c *conversion) oldElement(list string, e element) *old {
	o := &old{name: list, line: c.runner.doc.line(e.start), after: c.redact(e.after)}
	o.text = list + ": " + c.redactOption(e)
	for _, comment := range e.before {
		o.before = append(o.before, c.redact(comment))
	}
	return o
}

// redactOption is an option as it was written, without the value of what is or sounds
// like a secret.
func (c *conversion) redactOption(e element) string {
	key, _, bare := splitOption(e.text)
	if !bare && sounds(key) {
		return quote(key + "=[secret]")
	}
	return c.redact(c.runner.doc.text[e.start:e.end])
}

// boolean reads an option that needs no value. docker-machine refuses what is neither.
func (c *conversion) boolean(o *option) (on bool) {
	if o == nil {
		return false
	}
	if o.bare {
		return true
	}
	on, err := strconv.ParseBool(o.value)
	if err != nil {
		c.fail(o.line, o.key, "is neither true nor false", "write it without a value to turn it on")
	}
	return on
}

// from tells where an option of the environment comes from.
func (o *option) from() string {
	if o.env == "" {
		return ""
	}
	return " (from the environment variable " + o.env + ")"
}

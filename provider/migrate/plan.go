package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// plan is what the new section says beyond what it takes over from the old one.
type plan struct {
	Array     string // that the section is in, as it is spelled: runners
	Group     string // plugin_config.name
	Most      int    // Droplets at once
	MaxUse    int    // 0 = no limit
	Creating  int    // 0 = no limit
	Drain     drain
	StateDir  string
	TokenFile string // empty = the token is in the environment

	Region, Size string
	Image        any    // a name, or the number of a snapshot
	Private      string // the private addresses that Droplets have to reach; empty = there are none
	UserData     string // as TOML
	SSHKeys      []string
	SSHKeyFile   string
	KeyPath      string
	Flags        []string // ipv6, monitoring, backups
	Tags         []string
	User         string
	Port         int
	Ready        string
	Policies     []policy // in the order in which they count

	DefaultDocker bool // there is no [runners.docker]
}

// conversion is the migration of one runner: from its old settings to a plan, with notes, and to a text.
type conversion struct {
	*migration
	*section
	old     oldRunner
	options []option
	plan
	replaced bool // the image is another one, with root and port 22
}

// convert returns the new section; "" = it cannot be made.
func (c *conversion) convert() string {
	if c.old.Autoscaler != nil {
		c.note(Error, c.line("autoscaler"), "executor", "is docker+machine, and the runner has [runners.autoscaler] already",
			"remove the one that you do not use")
		return ""
	}
	c.options = c.readOptions()
	c.Array = c.name
	c.Group = c.groupName()
	c.groups = append(c.groups, c.Group)
	c.limits()
	c.Policies = c.readPolicies()
	c.Drain = c.file.Machine.Drain
	c.Drain.Retries = cmp.Or(c.Drain.Retries, 3) // the runner's default
	c.Drain.Backoff = cmp.Or(c.Drain.Backoff, 10*time.Second)
	c.StateDir = c.Options.StateDir
	c.TokenFile = c.tokenFile()
	class := c.droplets()
	c.privateAddresses()
	c.boot(class)
	if c.old.Docker == nil && c.get("docker") == nil {
		c.DefaultDocker = true
		c.note(Check, c.line(""), "", `docker-autoscaler needs [runners.docker]: image = "alpine:latest" is for jobs that name no image`, "")
	}
	c.withoutEqual()
	return c.write()
}

// note files a note about a key of the runner.
func (c *conversion) note(level Level, line int, key, text, hint string) {
	c.say(Note{level, line, cmp.Or(c.old.Name, "runner "+strconv.Itoa(c.index+1)), key, text, hint})
}

// line is that of a key, by its path in lower case, or of what is closest around it; "" = the runner.
func (c *conversion) line(path string) int {
	return c.doc.line(fmt.Sprintf("runners.%d.%s", c.index, path))
}

// lineOf is the line of an element of a list.
func (c *conversion) lineOf(path string, i int) int {
	if e := c.get(path); e != nil && i < len(e.elements) {
		return e.elements[i]
	}
	return c.line(path)
}

// groupName makes a name of MachineName that no other group of the file has.
func (c *conversion) groupName() string {
	template := strings.Trim(strings.ReplaceAll(c.old.Machine.MachineName, "%s", ""), "-")
	wanted := cmp.Or(config.SafeName(template), config.SafeName(c.old.Name), "runner-"+strconv.Itoa(c.index+1))
	name := wanted
	for n := 2; c.names[name]; n++ {
		suffix := "-" + strconv.Itoa(n)
		name = wanted[:min(len(wanted), config.MaxName-len(suffix))] + suffix
	}
	c.names[name] = true
	if name != wanted {
		c.note(Check, c.line("machine.machinename"), "MachineName",
			fmt.Sprintf("name = %q: two groups named %q would take each other's Droplets", name, wanted), "")
	}
	return name
}

// limits makes max_instances, the most Droplets at once, and what else is a number.
func (c *conversion) limits() {
	if c.Most = c.old.Limit; c.Most <= 0 {
		idle := max(c.old.Machine.IdleCount, 0)
		for _, section := range c.old.Machine.Autoscaling {
			idle = max(idle, section.IdleCount)
		}
		concurrent := max(c.file.Concurrent, 1)
		c.Most = concurrent + idle
		c.note(Check, c.line("limit"), "limit",
			fmt.Sprintf("not set: max_instances = %d, for concurrent = %d and %d idle machines", c.Most, concurrent, idle),
			"set it to what you are willing to pay for")
	}
	c.MaxUse, c.Creating = max(c.old.Machine.MaxBuilds, 0), max(c.old.Machine.MaxGrowthRate, 0)
}

// tokenFile moves the access token to a file of its own, which runners of one account share.
func (c *conversion) tokenFile() string {
	const variable = "DIGITALOCEAN_ACCESS_TOKEN"
	o := c.option("access-token", "")
	switch fromEnv := c.Host.Getenv(variable); {
	case o.value != "":
	case fromEnv == "":
		c.note(Todo, o.line, o.key, "there is none, here or in "+variable, "put the token into "+c.Options.TokenFile+", with mode 0600")
		return c.Options.TokenFile
	case !c.TokenFileChosen:
		c.note(Check, o.line, o.key, "stays in the environment variable "+variable+", which the runner must have", "")
		return ""
	default:
		o.value = fromEnv
	}
	token := config.NewSecret(o.value)
	if i := slices.IndexFunc(c.tokens, func(s Secret) bool { return s.Value.Equal(token) }); i >= 0 {
		return c.tokens[i].File
	}
	file := c.Options.TokenFile
	if len(c.tokens) > 0 {
		file += "-" + c.Group
	}
	c.doc.secret(o.value)
	c.tokens = append(c.tokens, Secret{file, token})
	return file
}

// deadCache are the keys that were directly below [runners.cache] until Runner 12.0.
var deadCache = strings.Fields("serveraddress accesskey secretkey bucketname bucketlocation insecure s3cachepath cacheshared")

// withoutEqual says what of the old section has no effect any more.
func (c *conversion) withoutEqual() {
	dead := ""
	for _, e := range c.entries {
		key := e.path[strings.LastIndexByte(e.path, '.')+1:]
		switch {
		case e.name == "":
		case below(e.path, "machine") && e.path != "machine" &&
			!slices.ContainsFunc(Keys, func(known string) bool { return strings.EqualFold(known, key) }):
			c.note(Lost, e.line, e.name, "docker+machine does not know it", "")
		case e.path == "cache."+key && slices.Contains(deadCache, key) && dead == "":
			dead = e.name
			c.note(Lost, e.line, dead, "the runner ignores this and the other S3 keys here since 12.0", "move them to [runners.cache.s3]")
		}
	}
	if c.old.Machine.MachineOptionsWithName != nil {
		c.note(Lost, c.line("machine.machineoptionswithname"), "MachineOptionsWithName", "not converted: user_data is the same for all Droplets",
			"a Droplet's host name is its name: user_data can use $(hostname) in runcmd")
	}
}

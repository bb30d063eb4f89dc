package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// plan is what the new section says beyond what it takes over from the old one.
type plan struct {
	Group     string // plugin_config.name
	Most      int    // Droplets at once
	MaxUse    int    // 0 = no limit
	Creating  int    // 0 = no limit
	Drain     drain
	StateDir  string
	TokenFile string // empty = the token is in the environment

	Region, Size string
	Image        string // as TOML
	Private      string // the private addresses that Droplets have to reach; empty = there are none
	UserData     string
	UserDataFile string // in place of UserData, with Paste to be put into it
	Paste        []string
	SSHKeys      []string
	SSHKeyFile   string
	KeyPath      string
	IPv6         bool
	Monitoring   bool
	Backups      bool
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
	engine engine
	moved  bool   // the image is another one
	edits  edits  // of what is taken over, in the order of each block
	s3     []pair // of [runners.cache.s3], where it is written anew
}

// convert returns the new section; "" = it cannot be made.
func (c *conversion) convert() string {
	switch {
	case c.old.Machine.MachineName == "" && c.old.Machine.MachineOptions == nil:
		c.note(Error, "", "executor", "is "+c.old.Executor+", and the runner has no [runners.machine]",
			"the runner cannot run as it is: remove it, or give it the section")
		return ""
	case c.old.Autoscaler != nil:
		c.note(Error, "autoscaler", "executor", "is "+c.old.Executor+", and the runner has [runners.autoscaler] already",
			"remove the one that you do not use")
		return ""
	}
	if c.old.Executor == "docker-ssh+machine" {
		c.note(Check, "executor", "executor", "docker-ssh+machine logged in to a job's container by SSH; docker-autoscaler runs commands in it",
			"the jobs' images need a shell, and no SSH server")
	}
	c.options = c.readOptions()
	c.Group = c.groupName()
	c.groups = append(c.groups, c.Group)
	c.limits()
	c.Policies = c.readPolicies()
	c.Drain = c.file.Machine.Drain
	c.StateDir = strings.TrimSuffix(c.Options.StateDir, "/")
	c.TokenFile = c.tokenFile()
	class := c.droplets()
	c.unknown()
	c.cache()
	c.privateAddresses()
	c.boot(class)
	if c.old.Docker == nil && c.get("docker") == nil {
		c.DefaultDocker = true
		c.note(Check, "", "",
			`had no [runners.docker], which docker-autoscaler needs: image = "alpine:latest" is for jobs that name no image`, "")
	}
	return c.write()
}

// note files a note about a key of the runner, by its path in lower case; "" = the runner.
func (c *conversion) note(level Level, path, key, text, hint string) {
	c.at(level, c.line(path), key, text, hint)
}

func (c *conversion) at(level Level, line int, key, text, hint string) {
	c.say(Note{level, line, cmp.Or(c.old.Name, "runner "+strconv.Itoa(c.index+1)), key, text, hint})
}

// line is that of a key, or of what is closest around it.
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
		c.note(Check, "machine.machinename", "MachineName",
			fmt.Sprintf("name = %q: another runner has %q, and two groups of one name would take each other's Droplets", name, wanted), "")
	}
	return name
}

// maxDroplets is the most that plugin_config takes.
const maxDroplets = 100_000

// limits makes max_instances, the most Droplets at once, and what else is a number.
func (c *conversion) limits() {
	concurrent := max(c.file.Concurrent, 1)
	c.Most = min(max(c.old.Limit, 0), maxDroplets)
	if c.Most == 0 {
		idle := max(c.old.Machine.IdleCount, 0)
		for _, section := range c.old.Machine.Autoscaling {
			idle = max(idle, section.IdleCount)
		}
		c.Most = min(concurrent+idle, maxDroplets)
		c.note(Check, "limit", "limit",
			fmt.Sprintf("is not set: max_instances = %d, for concurrent = %d and %d idle machines", c.Most, concurrent, idle),
			"set it to what you are willing to pay for")
	}
	c.MaxUse = max(c.old.Machine.MaxBuilds, 0)
	c.Creating = min(max(c.old.Machine.MaxGrowthRate, 0), maxDroplets)
}

// tokenFile moves the access token to a file of its own, which runners of one account share.
func (c *conversion) tokenFile() string {
	o := c.option("access-token", "")
	switch {
	case o.value == "":
		c.at(Todo, o.line, o.key, "there is none, here or in the environment of this command",
			"put the token into "+c.Options.TokenFile+", with mode 0600; or remove token_file, if the runner has it in DIGITALOCEAN_ACCESS_TOKEN")
		return c.Options.TokenFile
	case o.env != "" && !c.TokenFileChosen:
		c.at(Check, o.line, o.key, "stays in the environment variable "+o.env+", which the plugin reads too: the runner must have it", "")
		return ""
	}
	if config.Redact(o.value) == o.value {
		c.at(Check, o.line, o.key, "does not look like a token of DigitalOcean, which begins with dop_v1_", "")
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

// unknown says what of the old section nothing is made of, since nobody knows what it is.
func (c *conversion) unknown() {
	for _, b := range c.blocks {
		for _, k := range b.keys {
			if below(k.path, "machine") && !known(k.path) {
				c.at(Lost, k.line, k.name, "is nothing that docker+machine knows", "")
			}
		}
	}
	for _, text := range c.old.Machine.MachineOptionsWithName {
		key, _, _ := splitOption(text)
		c.note(Lost, "machine.machineoptionswithname", "MachineOptionsWithName", fmt.Sprintf("%q with the machine's name has no equal", key),
			"a Droplet's host name is its name: user_data can use $(hostname) in runcmd")
	}
}

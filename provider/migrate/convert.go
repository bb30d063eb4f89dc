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
	index   int
	runner  oldRunner
	options []option
	plan
}

// dead are keys without effect on the new section.
var dead = []struct{ path, key, text, hint string }{
	{"machine.offpeakperiods", "OffPeakPeriods", "the runner ignores it since 14.0",
		"for another number of idle Droplets at some hours write a [[runners.autoscaler.policy]] with periods"},
	{"machine.machineoptionswithname", "MachineOptionsWithName", "not converted: user_data is the same for all Droplets",
		"a Droplet's host name is its name: user_data can use $(hostname) in runcmd"},
	{"cache.bucketname", "BucketName", "the runner ignores this and the other S3 keys here since 12.0", "move them to [runners.cache.s3]"},
}

// convert returns the new section; "" = it cannot be made.
func (c *conversion) convert() string {
	if c.runner.Autoscaler != nil {
		c.note(Error, c.line("autoscaler"), "executor", "is docker+machine, and the runner has [runners.autoscaler] already",
			"remove the one that you do not use")
		return ""
	}
	c.options = c.readOptions()
	c.Array = c.array
	c.Group = c.groupName()
	c.groups = append(c.groups, c.Group)
	c.Most = c.mostDroplets()
	c.MaxUse, c.Creating = max(c.runner.Machine.MaxBuilds, 0), max(c.runner.Machine.MaxGrowthRate, 0)
	c.Policies = c.readPolicies()
	c.Drain = c.old.Machine.Drain
	c.Drain.Retries = cmp.Or(c.Drain.Retries, 3) // the runner's default
	c.Drain.Backoff = cmp.Or(c.Drain.Backoff, 10*time.Second)
	c.StateDir = c.Options.StateDir
	c.TokenFile = c.tokenFile()
	c.droplets()
	c.privateAddresses()
	c.UserData = literal(c.userData())
	if !c.has("docker") {
		c.DefaultDocker = true
		c.note(Check, c.line(""), "", `docker-autoscaler needs [runners.docker]: image = "alpine:latest" is for jobs that name no image`, "")
	}
	for _, d := range dead {
		if c.has(d.path) {
			c.note(Lost, c.line(d.path), d.key, d.text, d.hint)
		}
	}
	return c.write()
}

// note files a note about a key of the runner.
func (c *conversion) note(level Level, line int, key, text, hint string) {
	c.say(Note{level, line, cmp.Or(c.runner.Name, "runner "+strconv.Itoa(c.index+1)), key, text, hint})
}

// line is that of a path below the runner, or of what is closest around it.
func (c *conversion) line(path string) int { return c.config.Line(runnerKey(c.index) + "." + path) }

// has reports whether the runner has a key or table, or anything in it.
func (c *conversion) has(path string) bool {
	return slices.ContainsFunc(c.entries, func(e entry) bool { return below(e.path, path) }) || c.config.Has(runnerKey(c.index)+"."+path)
}

// groupName makes a name of MachineName that no other group of the file has.
func (c *conversion) groupName() string {
	template := strings.Trim(strings.ReplaceAll(c.runner.Machine.MachineName, "%s", ""), "-")
	wanted := cmp.Or(config.SafeName(template), config.SafeName(c.runner.Name), "runner-"+strconv.Itoa(c.index+1))
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

func (c *conversion) mostDroplets() int {
	if c.runner.Limit > 0 {
		return c.runner.Limit
	}
	idle := max(c.runner.Machine.IdleCount, 0)
	for _, section := range c.runner.Machine.Autoscaling {
		idle = max(idle, section.IdleCount)
	}
	concurrent := max(c.old.Concurrent, 1)
	c.note(Check, c.line("limit"), "limit",
		fmt.Sprintf("not set: max_instances = %d, for concurrent = %d and %d idle machines", concurrent+idle, concurrent, idle),
		"set it to what you are willing to pay for")
	return concurrent + idle
}

// tokenFile moves the access token to a file of its own, which runners of one account share.
func (c *conversion) tokenFile() string {
	const variable = "DIGITALOCEAN_ACCESS_TOKEN"
	o := c.option("access-token")
	switch {
	case o.value == "" && c.Host.Getenv(variable) == "":
		c.note(Todo, o.line, o.key, "there is none, here or in "+variable, "put the token into "+c.Options.TokenFile+", with mode 0600")
		return c.Options.TokenFile
	case o.value == "":
		c.note(Check, o.line, o.key, "stays in the environment variable "+variable+", which the runner must have", "")
		return ""
	}
	token := config.NewSecret(o.value)
	if i := slices.IndexFunc(c.tokens, func(s Secret) bool { return s.Value.Equal(token) }); i >= 0 {
		return c.tokens[i].File
	}
	file := c.Options.TokenFile
	if len(c.tokens) > 0 {
		file += "-" + c.Group
	}
	c.tokens = append(c.tokens, Secret{file, token})
	return file
}

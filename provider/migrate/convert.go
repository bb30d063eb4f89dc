package migrate

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// conversion is the migration of one runner: from its old settings to what the new section says, with notes, and to a text.
type conversion struct {
	*migration
	*section
	driver map[string]option // of docker-machine's digitalocean driver, by name without the prefix
	engine []option          // of the Docker daemon, that are converted

	Runner       oldRunner
	Group        string // plugin_config.name
	Most         int    // Droplets at once
	Requests     bool   // request_concurrency is added
	Token        string // a file; empty = it is in the environment
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
	Policies     []runnerconfig.Policy // in the order in which they count
}

// option is one of docker-machine's MachineOptions, where it stands, or else what the driver does without it.
type option struct{ key, value, path string }

// defaults are those of the driver's options.
var defaults = map[string]string{"access-token": "", "backups": "", "image": "ubuntu-16-04-x64", "ipv6": "", "monitoring": "",
	"private-networking": "", "region": "nyc3", "size": "s-1vcpu-1gb", "ssh-key-fingerprint": "", "ssh-key-path": "", "ssh-port": "22",
	"ssh-user": "root", "tags": "", "userdata": ""}

// flags are the driver's options that need no value, and are in plugin_config too.
var flags = []string{"ipv6", "monitoring", "backups"}

type deadKey struct{ path, text, hint string }

// dead are keys without effect on the new section, by how their paths begin: the first that fits counts.
var dead = []deadKey{
	{"machine.offpeak", "without effect since GitLab Runner 14.0",
		"for another number of idle Droplets at some hours write a [[runners.autoscaler.policy]] with periods"},
	{"machine.machineoptionswithname", "not converted: user_data is the same for all Droplets",
		"a Droplet's host name is its name: user_data can use $(hostname) in runcmd"},
	{"machine.", "not converted: docker+machine has no such key", ""},
	{"cache.bucketname", "the runner ignores this and the other S3 keys here since 12.0", "move them to [runners.cache.s3]"},
}

// convert returns the new section; "" = it cannot be made.
func (c *conversion) convert() string {
	if c.Runner.Autoscaler != nil {
		c.note(Error, "autoscaler", "executor", "is docker+machine, and the runner has [runners.autoscaler] already",
			"remove the one that you do not use")
		return ""
	}
	c.readOptions()
	c.Group = c.groupName()
	c.Groups = append(c.Groups, c.Group)
	c.Most = c.mostDroplets()
	c.Requests = !c.config.Has(c.Runner.Key("request_concurrency")) && c.Runner.Adaptive()
	c.Policies = c.policies()
	c.Token = c.tokenFile()
	c.droplets()
	c.privateAddresses()
	c.UserData = literal(c.userData())
	if c.Runner.Docker == nil {
		c.note(Check, "", "", `docker-autoscaler needs [runners.docker]: image = "alpine:latest" is for jobs that name no image`, "")
	}
	c.deadKeys()
	return c.write()
}

var index = regexp.MustCompile(`\.\d+`)

// deadKeys files one note for all keys that are lost for the same reason.
func (c *conversion) deadKeys() {
	names, first := make([][]string, len(dead)), make([]string, len(dead))
	for _, k := range c.items {
		i := slices.IndexFunc(dead, func(d deadKey) bool { return strings.HasPrefix(k.path, d.path) })
		if i >= 0 && c.unread["runners."+index.ReplaceAllString(k.path, "")] {
			names[i], first[i] = append(names[i], k.key), cmp.Or(first[i], k.path)
		}
	}
	for i, d := range dead {
		if names[i] != nil {
			c.note(Lost, first[i], strings.Join(slices.Compact(names[i]), ", "), d.text, d.hint)
		}
	}
}

// note files a note about a key of the runner. path is where it stands, or what is around it.
func (c *conversion) note(level Level, path, key, text, hint string) {
	runner := cmp.Or(c.Runner.Name, fmt.Sprintf("runners.%d", c.Runner.Index))
	c.say(Note{level, c.config.Line(c.Runner.Key(path)), runner, key, text, hint})
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// safeName makes a name of a group of any text, or returns "" when nothing of it can be in one.
func safeName(text string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(text), "-"), "-")
	return strings.TrimRight(name[:min(len(name), config.MaxName)], "-")
}

// groupName makes a name of MachineName that no other group of the file has.
func (c *conversion) groupName() string {
	wanted := cmp.Or(safeName(strings.ReplaceAll(c.Runner.Machine.MachineName, "%s", "")), safeName(c.Runner.Name), safeName(c.Runner.Key("")))
	name := wanted
	for n := 2; c.names[name]; n++ {
		suffix := "-" + strconv.Itoa(n)
		name = wanted[:min(len(wanted), config.MaxName-len(suffix))] + suffix
	}
	c.names[name] = true
	if name != wanted {
		c.note(Check, "machine.machinename", "MachineName",
			fmt.Sprintf("name = %q: two groups named %q would take each other's Droplets", name, wanted), "")
	}
	return name
}

func (c *conversion) mostDroplets() int {
	n, concurrent, idle, whose := c.Runner.Limit, max(c.config.Concurrent, 1), 0, ""
	if c.Runner.Machine.MaxBuilds == 1 { // else the jobs that follow find the same ones
		idle = max(0, c.Runner.Machine.IdleCount)
		for _, section := range c.Runner.Machine.Autoscaling {
			idle = max(idle, section.IdleCount)
		}
		idle = min(idle, concurrent)
		whose = fmt.Sprintf(" and %d idle machines", idle)
	}
	if n == 0 {
		n = concurrent + idle
		c.note(Check, "limit", "limit", fmt.Sprintf("not set: max_instances = %d, for concurrent = %d%s", n, concurrent, whose),
			"set it to what you are willing to pay for")
	}
	return n
}

// tokenFile moves the access token to a file, which runners of one account share.
func (c *conversion) tokenFile() string {
	o := c.driver["access-token"]
	if o.value == "" {
		c.note(Check, o.path, o.key, "there is none: it stays in the environment variable DIGITALOCEAN_ACCESS_TOKEN, which the runner must have",
			"")
		return ""
	}
	token := config.NewSecret(o.value)
	if i := slices.IndexFunc(c.Secrets, func(s Secret) bool { return s.Value.Equal(token) }); i >= 0 {
		return c.Secrets[i].File
	}
	file := c.TokenFile
	if len(c.Secrets) > 0 {
		file += "-" + c.Group
	}
	c.Secrets = append(c.Secrets, Secret{file, token})
	return file
}

var optionName = regexp.MustCompile(`^[A-Za-z0-9_-]*`)

// splitOption takes an option apart. The name ends where no name goes on, so that what follows, which may be a secret, is
// never taken for a part of it.
func splitOption(text string) (key, value string) {
	text = strings.TrimSpace(text)
	key = optionName.FindString(text)
	return key, strings.TrimLeft(text[len(key):], "= \t")
}

// readOptions reads MachineOptions. Of the driver's the last one counts.
func (c *conversion) readOptions() {
	c.driver = map[string]option{}
	for name, value := range defaults {
		c.driver[name] = option{"digitalocean-" + name, value, "machine.machineoptions"}
	}
	for i, text := range c.Runner.Machine.MachineOptions {
		key, value := splitOption(text)
		o := option{key, value, fmt.Sprintf("machine.machineoptions.%d", i)}
		name, isDriver := strings.CutPrefix(key, "digitalocean-")
		if value == "" && slices.Contains(flags, name) {
			o.value = "true"
		}
		switch _, known := defaults[name]; {
		case isDriver && known && o.value != "":
			c.driver[name] = o
		case isDriver && known:
		case isDriver: // it never had an effect, and the result works without it: nothing for a person to do
			c.note(Lost, o.path, key, "not converted: docker-machine's driver has no such option", "")
		case daemonLists[key] != "":
			c.engine = append(c.engine, o)
		default:
			c.note(Lost, o.path, key, "not converted",
				"what Docker's daemon needs belongs into "+daemonFile+", with write_files in user_data")
		}
	}
}

// tableDate is the month of what follows: what DigitalOcean had, and what was gone. doctor asks DigitalOcean.
const tableDate = "November 2026"

// gone are closed regions and sizes that are none: what is next to them, or has as much memory.
var gone = map[string]string{"ams1": "ams3", "ams2": "ams3", "nyc2": "nyc3", "sfo1": "sfo3",
	"512mb": "s-1vcpu-1gb", "1gb": "s-1vcpu-1gb", "1024mb": "s-1vcpu-1gb", "2gb": "s-1vcpu-2gb", "2048mb": "s-1vcpu-2gb",
	"4gb": "s-2vcpu-4gb", "4096mb": "s-2vcpu-4gb", "8gb": "s-4vcpu-8gb", "8192mb": "s-4vcpu-8gb", "16gb": "s-8vcpu-16gb",
	"m-16gb": "s-8vcpu-16gb", "32gb": "g-8vcpu-32gb", "m-32gb": "g-8vcpu-32gb", "48gb": "g-16vcpu-64gb", "64gb": "g-16vcpu-64gb",
	"m-64gb": "g-16vcpu-64gb"}

// sizeSlug matches what can be a size: s-1vcpu-512mb-10gb, so1_5-2vcpu-16gb-intel, c-4, gpu-h100x1-80gb.
var (
	regions  = strings.Fields("ams3 atl1 blr1 fra1 lon1 mem1 mkc1 nyc1 nyc3 ric1 sfo2 sfo3 sgp1 syd1 tor1")
	sizeSlug = regexp.MustCompile(`^([a-z]+[\d_]*-\d+vcpu-\d+[mg]b(-\w+)*|c-\d+(-\w+)?|gpu(-\w+)+)$`)
)

// faulty files a note about an option with which the result does not work, if so.
func (c *conversion) faulty(so bool, name, why, hint string) bool {
	if o := c.driver[name]; so {
		c.note(Todo, o.path, o.key, strconv.Quote(o.value)+" "+why, hint)
	}
	return so
}

// replaced is what takes the place of an option's value, with a note if that is another one.
func (c *conversion) replaced(name, now, why, hint string) string {
	if o := c.driver[name]; now != o.value {
		c.note(Check, o.path, o.key, fmt.Sprintf("%q %s: %s = %q", o.value, why, name, now), hint)
	}
	return now
}

// droplets makes plugin_config and connector_config of MachineOptions, but for user data.
func (c *conversion) droplets() {
	region, size, image, user := c.driver["region"].value, c.driver["size"].value, c.driver["image"], c.driver["ssh-user"]
	c.Region = c.replaced("region", cmp.Or(gone[region], region), "takes no new Droplets", "")
	c.faulty(!slices.Contains(regions, c.Region), "region", "is no region of DigitalOcean as of "+tableDate,
		"doctl compute region list")
	c.Size = c.replaced("size", cmp.Or(gone[strings.ToLower(size)], size), "is no longer a size", "doctl compute size list")
	c.faulty(!sizeSlug.MatchString(c.Size), "size", "is no size of DigitalOcean", "doctl compute size list")
	c.Port, c.User = 22, "root"
	if id, err := strconv.Atoi(image.value); err == nil {
		c.Image = id
		// Most snapshots were made to have Docker. A Todo, and exit code 3, would stay whatever a person finds out.
		c.note(Check, image.path, image.key, "the snapshot needs Docker, or apt, with which user_data installs it", "")
	} else if c.Image = image.value; !goodImage.MatchString(image.value) {
		c.Image = c.replaced("image", dockerImage, "is gone, or not known to have Docker or apt, as of "+tableDate,
			"doctl compute image list-application --public | grep -i docker")
	}
	if c.Image != dockerImage || image.value == dockerImage { // else user and port were the old image's
		port, err := strconv.ParseUint(c.driver["ssh-port"].value, 10, 16)
		if !c.faulty(err != nil || port == 0, "ssh-port", "is no port: protocol_port = 22", "write that of the image's sshd") {
			c.Port = int(port)
		}
		if c.User = user.value; c.User != "root" {
			c.note(Check, user.path, user.key,
				"the image needs this user, with the account's SSH keys and sudo; DigitalOcean's own have only root", "")
		}
	}
	c.keys()
	for _, name := range flags {
		if on, _ := strconv.ParseBool(c.driver[name].value); on {
			c.Flags = append(c.Flags, name)
		}
	}
	c.Tags = strings.FieldsFunc(c.driver["tags"].value, func(r rune) bool { return r == ',' || r == ' ' })
}

// dockerImage is the image with Docker, on Ubuntu.
const dockerImage = "docker-20-04"

// goodImage matches images with Docker or apt that are maintained, or on offer: from Ubuntu 22, Debian 12, Docker on Ubuntu 20.
var goodImage = regexp.MustCompile(`^(ubuntu-(2[2-9]|[3-9]\d)|debian-(1[2-9]|[2-9]\d)|docker-[2-9]\d)(-|$)`)

const notAbsolute = "is not an absolute path, and ~ is not expanded"

// keys takes the SSH keys over. docker-machine uploaded the public half of a key without a fingerprint: so does ssh_key_file.
func (c *conversion) keys() {
	file, fingerprint := c.driver["ssh-key-path"], c.driver["ssh-key-fingerprint"].value
	c.faulty(file.value != "" && !path.IsAbs(file.value), "ssh-key-path", notAbsolute, "write the path from /")
	c.SSHKeyFile = cmp.Or(file.value, c.StateDir+"/"+c.Group+"-ssh-key")
	if fingerprint != "" {
		c.SSHKeys = []string{strings.TrimPrefix(strings.ToLower(fingerprint), "md5:")}
		if file.value != "" {
			c.KeyPath, c.SSHKeyFile = file.value, ""
		}
	}
}

// address matches IPv4 addresses, and networks as well, which no Droplet connects to.
var address = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b(/\d+)?`)

// privateAddresses finds the hosts that Droplets reach from their VPC alone. 172.17.0.1 is each Droplet's own Docker.
func (c *conversion) privateAddresses() {
	var found []string
	first := ""
	kept := slices.DeleteFunc(slices.Clone(c.items), func(k option) bool { return k.path == "name" || useless(k.path) })
	for _, o := range slices.Concat(c.engine, kept) {
		for _, match := range address.FindAllString(o.value, -1) {
			ip, err := netip.ParseAddr(match)
			if what := match + " (" + o.key + ")"; err == nil && ip.IsPrivate() && match != "172.17.0.1" && !slices.Contains(found, what) {
				found, first = append(found, what), cmp.Or(first, o.path)
			}
		}
	}
	if found == nil {
		return
	}
	c.Private = strings.Join(found, ", ")
	level, where := Check, ""
	if was := c.driver["region"].value; was != c.Region {
		level, where = Todo, fmt.Sprintf(", which is in %s, not in %s", was, c.Region)
	}
	c.note(level, first, "", "private addresses: "+c.Private+". Droplets reach them only from the same VPC"+where,
		"set vpc_uuid to that VPC (doctl vpcs list), unless it is the region's default; "+
			"and use_external_addr = false if this host is in it")
}

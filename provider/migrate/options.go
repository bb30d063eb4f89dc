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
)

// option is one of docker-machine's MachineOptions.
type option struct {
	key, value string // digitalocean-image, coreos-stable; booleans mostly have no value
	line       int
}

// driverOptions are those of docker-machine's digitalocean driver, with its defaults.
var driverOptions = map[string]string{"access-token": "", "backups": "", "image": "ubuntu-16-04-x64", "ipv6": "", "monitoring": "",
	"private-networking": "", "region": "nyc3", "size": "s-1vcpu-1gb", "ssh-key-fingerprint": "", "ssh-key-path": "", "ssh-port": "22",
	"ssh-user": "root", "tags": "", "userdata": ""}

// tlsOptions matches options about what SSH has taken the place of.
var tlsOptions = regexp.MustCompile(`^(tls-san|swarm.*)$`)

var optionName = regexp.MustCompile(`^[A-Za-z0-9_-]*`)

// splitOption takes an option apart. The name ends where no name goes on, so that what follows, which may be a secret, is
// never taken for a part of it.
func splitOption(text string) (key, value string) {
	text = strings.TrimSpace(text)
	key = optionName.FindString(text)
	return key, strings.TrimLeft(text[len(key):], "= \t")
}

func (c *conversion) readOptions() (all []option) {
	for i, text := range c.runner.Machine.MachineOptions {
		o := option{line: c.line(fmt.Sprintf("machine.machineoptions.%d", i))}
		o.key, o.value = splitOption(text)
		name, isDriver := strings.CutPrefix(o.key, "digitalocean-")
		_, known := driverOptions[name]
		if (!isDriver || !known) && daemonLists[o.key] == "" && !tlsOptions.MatchString(o.key) {
			hint := ""
			if strings.HasPrefix(o.key, "engine-") {
				hint = "write what Docker's daemon needs into " + daemonFile + " with write_files in user_data"
			}
			c.note(Lost, o.line, o.key, "not converted", hint)
		}
		all = append(all, o)
	}
	return all
}

// option returns an option of the driver. The last one counts; where there is none, docker-machine's default.
func (c *conversion) option(name string) option {
	for _, o := range slices.Backward(c.options) {
		if o.key == "digitalocean-"+name && o.value != "" {
			return o
		}
	}
	return option{key: "digitalocean-" + name, value: driverOptions[name], line: c.line("machine.machineoptions")}
}

func (c *conversion) boolean(name string) (on bool) {
	for _, o := range c.options {
		if o.key == "digitalocean-"+name {
			on, _ = strconv.ParseBool(cmp.Or(o.value, "true"))
		}
	}
	return on
}

// droplets makes plugin_config and connector_config of MachineOptions, but for user data.
func (c *conversion) droplets() {
	region, size := c.option("region"), c.option("size")
	if c.Region = cmp.Or(closed[region.value], region.value); c.Region != region.value {
		c.note(Check, region.line, region.key, fmt.Sprintf("%q takes no new Droplets: region = %q", region.value, c.Region), "")
	}
	if c.Size = newSize(size.value); c.Size != size.value {
		c.note(Check, size.line, size.key, fmt.Sprintf("%q is no longer a size: size = %q, with as much memory or more", size.value, c.Size),
			"doctl compute size list")
	}
	c.Port, c.User, c.Ready = 22, "root", "docker info"
	if kept := c.image(); kept {
		if port, err := strconv.ParseUint(c.option("ssh-port").value, 10, 16); err == nil {
			c.Port = int(port)
		}
		if o := c.option("ssh-user"); o.value != "root" {
			c.User, c.Ready = o.value, "sudo docker info" // the group docker is younger than this session
			c.note(Check, o.line, o.key,
				"the image needs this user, with the account's SSH keys and sudo; DigitalOcean's own have only root", "")
		}
	}
	c.keys()
	for _, name := range []string{"ipv6", "monitoring", "backups"} {
		if c.boolean(name) {
			c.Flags = append(c.Flags, name)
		}
	}
	c.Tags = strings.FieldsFunc(c.option("tags").value, func(r rune) bool { return r == ',' || r == ' ' })
}

// image takes the image over, or finds one with Docker. kept reports whether it is the old one, with its user and port.
func (c *conversion) image() (kept bool) {
	o := c.option("image")
	c.Image = o.value
	id, notID := strconv.Atoi(o.value)
	switch gone, known := lookUpImage(o.value); {
	case gone:
		c.Image = dockerImage
		c.note(Check, o.line, o.key,
			fmt.Sprintf("%q is gone, or has no Docker for apt, as of %s: image = %q, and the user root", o.value, tableDate, dockerImage),
			"doctl compute image list-application --public | grep -i docker")
		return false
	case notID == nil:
		c.Image = id
		c.note(Check, o.line, o.key, "the snapshot needs Docker, or apt, with which user_data installs it", "")
	case !known:
		c.note(Todo, o.line, o.key, fmt.Sprintf("%q is not known to have Docker; user_data installs it with apt where it is missing", o.value),
			fmt.Sprintf("image = %q has Docker; a snapshot is named by its id: doctl compute image list --format ID,Name", dockerImage))
	}
	return true
}

// fingerprint matches the MD5 form, the only one that DigitalOcean takes.
var fingerprint = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){15}$`)

// keys takes the SSH keys over. docker-machine uploaded the public half of a key without a fingerprint: so does ssh_key_file.
func (c *conversion) keys() {
	file, o := c.option("ssh-key-path"), c.option("ssh-key-fingerprint")
	if file.value != "" && !path.IsAbs(file.value) {
		c.note(Todo, file.line, file.key, strconv.Quote(file.value)+" is not an absolute path, and ~ is not expanded", "write the path from /")
	}
	c.SSHKeyFile = cmp.Or(file.value, c.StateDir+"/"+c.Group+"-ssh-key")
	switch key := strings.TrimPrefix(strings.ToLower(o.value), "md5:"); {
	case o.value == "":
	case !fingerprint.MatchString(key):
		c.note(Lost, o.line, o.key, "not an MD5 fingerprint, the only form that DigitalOcean accepts",
			"ssh-keygen -E md5 -lf KEY.pub prints it; it belongs in ssh_keys")
	default:
		c.SSHKeys = []string{key}
		if file.value != "" {
			c.KeyPath, c.SSHKeyFile = file.value, ""
		}
	}
}

// address matches IPv4 addresses, and networks as well, which no Droplet connects to.
var address = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b(/\d+)?`)

// privateAddresses finds the hosts that Droplets reach from inside their VPC alone: a registry's mirror, a cache.
func (c *conversion) privateAddresses() {
	all := slices.DeleteFunc(slices.Clone(c.options), func(o option) bool { return daemonLists[o.key] == "" })
	all = append(all, option{"ServerAddress", c.runner.Cache.ServerAddress, c.line("cache.serveraddress")},
		option{"ServerAddress", c.runner.Cache.S3.ServerAddress, c.line("cache.s3.serveraddress")})
	var found []string
	line := 0
	for _, o := range all {
		for _, match := range address.FindAllString(o.value, -1) {
			ip, err := netip.ParseAddr(match)
			if what := match + " (" + o.key + ")"; err == nil && ip.IsPrivate() && !slices.Contains(found, what) {
				found, line = append(found, what), cmp.Or(line, o.line)
			}
		}
	}
	if found == nil {
		return
	}
	c.Private = strings.Join(found, ", ")
	level, gone := Check, ""
	if was := c.option("region").value; was != c.Region {
		level, gone = Todo, fmt.Sprintf(", which is in %s, not in %s", was, c.Region)
	}
	c.note(level, line, "", "private addresses: "+c.Private+". Droplets reach them only from the same VPC"+gone,
		"set vpc_uuid to that VPC (doctl vpcs list), unless it is the region's default")
}

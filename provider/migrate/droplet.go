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

// droplets makes plugin_config and connector_config of MachineOptions, but for user data.
func (c *conversion) droplets() imageClass {
	c.Region = c.region()
	c.Size = c.size()
	class := c.image()
	c.Port, c.User, c.Ready = c.port(), "root", "docker info"
	switch o := c.option("ssh-user", "root"); {
	case c.moved: // the image of today has root, and port 22
		c.Port = 22
	case !userName.MatchString(o.value):
		c.at(Todo, o.line, o.key, strconv.Quote(o.value)+" is no user name", `username = "root"`)
	case o.value != "root":
		c.User, c.Ready = o.value, "sudo docker info" // the group docker is younger than this session
		c.at(Check, o.line, o.key,
			"the image must have this user, with the account's SSH keys and sudo without a password; DigitalOcean's own have root alone", "")
	}
	c.keys()
	c.IPv6, c.Monitoring, c.Backups = c.boolean("ipv6"), c.boolean("monitoring"), c.boolean("backups")
	for tag := range strings.SplitSeq(c.option("tags", "").value, ",") {
		tag = strings.TrimSpace(tag)
		if tag != "" && !slices.ContainsFunc(c.Tags, func(t string) bool { return strings.EqualFold(t, tag) }) {
			c.Tags = append(c.Tags, tag)
		}
	}
	c.engineOptions()
	return class
}

// region takes the region over, or its neighbour.
func (c *conversion) region() string {
	o := c.option("region", "nyc3")
	neighbour, old := closed[o.value]
	if !old {
		return o.value
	}
	c.at(Check, o.line, o.key, fmt.Sprintf("%q takes no new Droplets, but of old accounts: region = %q", o.value, neighbour), "")
	return neighbour
}

// size takes the size over, or today's with as much memory.
func (c *conversion) size() string {
	o := c.option("size", "s-1vcpu-1gb")
	now := newSize(o.value)
	if now != o.value {
		c.at(Check, o.line, o.key, fmt.Sprintf("%q is no size today: size = %q, with as much memory or more", o.value, now),
			"doctl compute size list")
	}
	return now
}

// image takes the image over, or finds one that has Docker, or on which it can be installed: docker-machine installed it
// by itself.
func (c *conversion) image() imageClass {
	o := c.option("image", "ubuntu-16-04-x64")
	image, class := o.value, classOf(o.value)
	switch class {
	case imageUseless:
		with := "which has Docker, and the user root"
		c.moved, image, class = true, dockerImage, imageWithDocker
		if c.Size == smallest {
			image, class, with = plainImage, imagePlain, "on which user_data installs Docker; the image that has it needs a larger disk"
		}
		c.at(Check, o.line, o.key,
			fmt.Sprintf("%q is gone, or apt cannot install Docker on it, as of %s: image = %q, %s", o.value, tableDate, image, with),
			"doctl compute image list-application --public | grep -i docker")
	case imageUnknown:
		c.at(Todo, o.line, o.key,
			fmt.Sprintf("%q is no image that is known to have Docker; user_data installs it with apt where it is missing", image),
			fmt.Sprintf("image = %q has Docker; a snapshot is named by its id: doctl compute image list --format ID,Name", dockerImage))
	case imageOwn:
		c.at(Check, o.line, o.key,
			"the snapshot needs Docker, or apt: user_data installs Docker where it is missing, as docker-machine did", "")
	}
	c.Image = quote(image)
	if id := strings.TrimLeft(image, "0"); class == imageOwn && id != "" {
		c.Image = id
	}
	return class
}

// fingerprint matches the MD5 form, the only one that DigitalOcean takes.
var fingerprint = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){15}$`)

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// keys takes the SSH keys over. A private key without a fingerprint was uploaded for each machine: so does ssh_key_file.
func (c *conversion) keys() {
	file := c.option("ssh-key-path", "")
	if file.value != "" && !path.IsAbs(file.value) && !strings.Contains(file.value, `:\`) {
		c.at(Todo, file.line, file.key, strconv.Quote(file.value)+" is no whole path, and nothing expands ~", "write it from / on")
	}
	o := c.option("ssh-key-fingerprint", "")
	key := strings.TrimPrefix(strings.ToLower(o.value), "md5:")
	switch {
	case fingerprint.MatchString(key):
		c.SSHKeys = []string{key}
		c.KeyPath = file.value
	case o.value != "":
		c.at(Lost, o.line, o.key, "is no MD5 fingerprint, the only form that DigitalOcean takes",
			"ssh-keygen -E md5 -lf KEY.pub prints it; it belongs into ssh_keys")
	}
	if c.KeyPath == "" {
		c.SSHKeyFile = file.value
	}
	if c.KeyPath == "" && c.SSHKeyFile == "" {
		c.SSHKeyFile = c.StateDir + "/" + c.Group + "-ssh-key"
	}
}

// address matches IPv4 addresses, and networks as well, which no Droplet connects to.
var address = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b(/\d+)?`)

// privateAddresses finds the hosts that Droplets reach from inside their VPC alone: a registry's mirror, a cache.
func (c *conversion) privateAddresses() {
	var found []string
	var line int
	look := func(text, key string, at int) {
		for _, match := range address.FindAllString(text, -1) {
			ip, err := netip.ParseAddr(match)
			if what := match + " (" + key + ")"; err == nil && ip.IsPrivate() && !slices.Contains(found, what) {
				found, line = append(found, what), cmp.Or(line, at)
			}
		}
	}
	for _, o := range c.options {
		if strings.HasPrefix(o.key, "engine-") {
			look(o.value, o.key, o.line)
		}
	}
	for _, path := range []string{"cache.serveraddress", "cache.s3.serveraddress"} {
		if e := c.get(path); e != nil {
			look(e.value, "ServerAddress", e.line)
		}
	}
	if found == nil {
		return
	}
	c.Private = strings.Join(found, ", ")
	level, gone := Check, ""
	if was := c.option("region", "nyc3").value; was != c.Region {
		level, gone = Todo, fmt.Sprintf(", which is in %s, not in %s", was, c.Region)
	}
	c.at(level, line, "", "private addresses: "+c.Private+". Droplets reach them from the same VPC alone"+gone,
		"set vpc_uuid in plugin_config to that VPC (doctl vpcs list), unless it is the region's default; "+
			"with the runner in it, too, use_external_addr = false")
}

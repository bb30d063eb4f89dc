package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// droplet is what the options make of the Droplets.
type droplet struct {
	options machineOptions
	region  string
	size    string
	image   string
	class   imageClass // of image
	moved   bool       // image took the place of another
	user    string     // empty = root
	port    int
	engine  engine
}

// droplets makes plugin_config and connector_config of MachineOptions. The order is
// that of the documentation, and of the examples.
func (c *conversion) droplets() {
	d := droplet{options: c.readOptions(), port: 22}
	p := &c.plugin
	_, list := c.machine("MachineOptions")
	p.comments(list)
	for _, o := range d.options.repeats {
		p.keep(o.old)
		c.say(Dropped, o.line, o.key, "is given again below, and the last one counts")
	}
	for _, o := range d.options.empty {
		p.keep(o.old)
		c.say(Dropped, o.line, o.key, "is empty")
	}
	c.token(d)
	c.region(&d)
	c.size(&d)
	c.image(&d)
	c.engine(&d)
	c.login(&d)
	c.userData(d)
	c.keys(d)
	p.set("max_instances", strconv.Itoa(c.most))
	if s, o := c.machine("MaxGrowthRate"); s != nil {
		if n := min(c.number("machine.maxgrowthrate", "MaxGrowthRate"), maxDroplets); n > 0 {
			p.set("max_creating", strconv.Itoa(n), o)
			c.say(Converted, s.line, "MaxGrowthRate", fmt.Sprintf("plugin_config.max_creating = %d", n))
		} else {
			p.keep(o)
			c.say(Converted, s.line, "MaxGrowthRate", "no limit, which is max_creating's default")
		}
	}
	c.switches(d)
	c.tags(d)
	c.connect(d)
}

// region takes the region over, or its neighbour.
func (c *conversion) region(d *droplet) {
	o := d.options.get("region")
	line, was := c.lineOf("machine.machineoptions"), "nyc3"
	if o != nil {
		line, was = o.line, o.value
	}
	d.region = was
	cat := c.options.Catalog
	offered := cat != nil && slices.Contains(cat.Regions, was)
	neighbour, old := regions[was]
	switch {
	case old && !offered:
		d.region = neighbour
		c.note(Note{Kind: Approximated, Line: line, Key: "digitalocean-region",
			Text: fmt.Sprintf("%q takes no new Droplets, %s: region = %q", was, c.options.source(), neighbour),
			Hint: "choose another if that is too far away; a region of old may still be open to old accounts"})
	case cat != nil && !offered:
		c.note(Note{Kind: Decision, Line: line, Key: "digitalocean-region",
			Text: fmt.Sprintf("DigitalOcean has no region %q that takes new Droplets", was), Hint: "regions: " + strings.Join(cat.Regions, ", ")})
	default:
		c.say(Converted, line, "digitalocean-region", fmt.Sprintf("region = %q%s", was, o.fromOrDefault()))
	}
	c.plugin.set("region", quote(d.region), o.oldOf())
}

// fromOrDefault is from, of an option that may be missing.
func (o *option) fromOrDefault() string {
	if o == nil {
		return " (docker-machine's default)"
	}
	return o.from()
}

// oldOf is the text of an option that may be missing.
func (o *option) oldOf() *old {
	if o == nil || o.env != "" {
		return nil
	}
	return o.old
}

// size takes the size over, or today's of as much memory.
func (c *conversion) size(d *droplet) {
	o := d.options.get("size")
	line, was := c.lineOf("machine.machineoptions"), "s-1vcpu-1gb"
	if o != nil {
		line, was = o.line, o.value
	}
	d.size = was
	cat := c.options.Catalog
	offered := false
	if cat != nil {
		_, offered = cat.Sizes[was]
	}
	if now, old := sizes[was]; old && !offered {
		d.size = now
		c.note(Note{Kind: Approximated, Line: line, Key: "digitalocean-size",
			Text: fmt.Sprintf("%q is an old name, %s: size = %q, with as much memory or more", was, c.options.source(), now),
			Hint: "doctl compute size list shows what else there is, and what it costs"})
	} else {
		c.say(Converted, line, "digitalocean-size", fmt.Sprintf("size = %q%s", was, o.fromOrDefault()))
	}
	if cat != nil {
		switch in, ok := cat.Sizes[d.size]; {
		case !ok:
			c.note(Note{Kind: Decision, Line: line, Key: "digitalocean-size", Text: fmt.Sprintf("DigitalOcean has no size %q", d.size),
				Hint: "doctl compute size list"})
		case !slices.Contains(in, d.region):
			c.note(Note{Kind: Decision, Line: line, Key: "digitalocean-size",
				Text: fmt.Sprintf("DigitalOcean does not offer the size %q in %s now", d.size, d.region), Hint: "it is in: " + strings.Join(in, ", ")})
		}
	}
	c.plugin.set("size", quote(d.size), o.oldOf())
}

// image takes the image over, or finds one that has Docker or on which it can be
// installed: docker-machine installed it by itself.
func (c *conversion) image(d *droplet) {
	o := d.options.get("image")
	line, was := c.lineOf("machine.machineoptions"), "ubuntu-16-04-x64"
	if o != nil {
		line, was = o.line, o.value
	}
	d.image, d.class = was, c.options.class(was)
	which := fmt.Sprintf("%q%s", was, o.fromOrDefault())
	switch d.class {
	case imageGone, imageForeign:
		why := "is gone, " + c.options.source()
		if d.class == imageForeign {
			why = "has no Docker, and cloud-init cannot install it there without a repository of its own"
		}
		plain := d.size == smallest
		d.moved, d.image, d.class = true, c.options.replacement(plain), imageWithDocker
		with := "which has Docker"
		if plain {
			d.class, with = imagePlain, "on which user_data installs Docker; the image that has it needs a larger disk"
		}
		c.note(Note{Kind: Approximated, Line: line, Key: "digitalocean-image",
			Text: fmt.Sprintf("%s %s: image = %q, %s", which, why, d.image, with),
			Hint: "doctl compute image list-application --public | grep -i docker"})
	case imagePlain:
		c.note(Note{Kind: Converted, Line: line, Key: "digitalocean-image",
			Text: fmt.Sprintf("image = %s; user_data installs Docker, as docker-machine did over SSH", which),
			Hint: fmt.Sprintf("image = %q has Docker already, and starts sooner", c.options.replacement(false))})
	case imageWithDocker:
		c.say(Converted, line, "digitalocean-image", "image = "+which+", which has Docker")
	case imageOwn:
		c.note(Note{Kind: Approximated, Line: line, Key: "digitalocean-image",
			Text: "image = " + was + o.fromOrDefault() + "; docker-machine installed Docker if it was missing, user_data now does",
			Hint: "a snapshot that has Docker starts sooner; one without apt must have it"})
	default:
		c.note(Note{Kind: Decision, Line: line, Key: "digitalocean-image",
			Text: "image = " + which + ", of which is not known whether it has Docker; user_data installs it if it is missing",
			Hint: fmt.Sprintf("the image needs Docker, or apt; image = %q has Docker", c.options.replacement(false))})
	}
	value := strings.TrimLeft(d.image, "0")
	if d.class != imageOwn || value == "" {
		value = quote(d.image)
	}
	c.plugin.set("image", value, o.oldOf())
}

// fingerprintPattern is the MD5 form, the only one that DigitalOcean takes.
var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){15}$`)

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// login finds the user and the port of SSH.
func (c *conversion) login(d *droplet) {
	if o := d.options.get("ssh-user"); o != nil {
		switch {
		case o.value == "root":
			c.say(Converted, o.line, o.key, `connector_config.username = "root"`+o.from())
		case d.moved:
			c.note(Note{Kind: Approximated, Line: o.line, Key: o.key, Text: fmt.Sprintf(`%q was the user of the old image: username = "root"`, o.value)})
		case !userName.MatchString(o.value):
			c.fail(o.line, o.key, fmt.Sprintf("%q is no user name", o.value), "")
		default:
			d.user = o.value
			c.note(Note{Severity: Warning, Kind: Converted, Line: o.line, Key: o.key,
				Text: fmt.Sprintf("connector_config.username = %q%s; user_data puts it into the group docker", o.value, o.from()),
				Hint: "the image must have this user, with the account's SSH keys and sudo without a password; DigitalOcean's images have root alone"})
		}
	}
	if o := d.options.get("ssh-port"); o != nil {
		n, err := strconv.Atoi(o.value)
		switch {
		case err != nil || n < 1 || n > 65535:
			c.fail(o.line, o.key, fmt.Sprintf("%q is no port", o.value), "")
		case d.moved && n != 22:
			c.note(Note{Kind: Approximated, Line: o.line, Key: o.key, Text: fmt.Sprintf("%d was the port of the old image: protocol_port = 22", n)})
		default:
			d.port = n
			c.say(Converted, o.line, o.key, fmt.Sprintf("connector_config.protocol_port = %d%s", n, o.from()))
		}
	}
}

// keys takes the SSH keys over.
func (c *conversion) keys(d droplet) {
	if o := d.options.get("ssh-key-fingerprint"); o != nil {
		fingerprint := strings.TrimPrefix(strings.ToLower(o.value), "md5:")
		if fingerprintPattern.MatchString(fingerprint) {
			c.plugin.set("ssh_keys", quoteAll([]string{fingerprint}), o.oldOf())
			text := "plugin_config.ssh_keys" + o.from()
			if d.options.get("ssh-key-path") == nil {
				text += "; its private key, ~/.ssh/id_rsa to docker-machine, is not needed: the plugin brings its own"
			}
			c.say(Converted, o.line, o.key, text)
		} else {
			c.plugin.keep(o.old)
			c.note(Note{Kind: Decision, Line: o.line, Key: o.key, Text: "is no MD5 fingerprint, the only form that DigitalOcean takes",
				Hint: "ssh-keygen -E md5 -lf KEY.pub prints it; put it into plugin_config.ssh_keys if people need to log in"})
		}
	}
	if d.options.get("ssh-key-path") == nil {
		c.plugin.set("ssh_key_file", quote(c.inState(c.group+"-ssh-key")))
	}
}

// switches takes the options over that are on or off.
func (c *conversion) switches(d droplet) {
	for _, name := range []string{"ipv6", "monitoring", "backups"} {
		o := d.options.get(name)
		if o == nil {
			continue
		}
		on := c.boolean(o)
		c.plugin.set(name, strconv.FormatBool(on), o.oldOf())
		c.say(Converted, o.line, o.key, fmt.Sprintf("plugin_config.%s = %t%s", name, on, o.from()))
	}
	if o := d.options.get("private-networking"); o != nil {
		c.boolean(o)
		if o.env == "" {
			c.plugin.keep(o.old)
		}
		c.note(Note{Kind: Dropped, Line: o.line, Key: o.key,
			Text: "every Droplet is in a VPC today; docker-machine dialled the public address whatever this said, and so does use_external_addr = true",
			Hint: "to go private: put the runner into the same VPC, set use_external_addr = false, and public_networking = false in plugin_config"})
	}
}

// tags takes the tags over.
func (c *conversion) tags(d droplet) {
	o := d.options.get("tags")
	if o == nil {
		return
	}
	var tags []string
	for tag := range strings.SplitSeq(o.value, ",") {
		tag = strings.TrimSpace(tag)
		if tag != "" && !slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, tag) }) {
			tags = append(tags, tag)
		}
	}
	if len(tags) == 0 {
		c.plugin.keep(o.old)
		c.say(Dropped, o.line, o.key, "names no tag")
		return
	}
	c.plugin.set("tags", quoteAll(tags), o.oldOf())
	c.say(Converted, o.line, o.key, "plugin_config.tags"+o.from())
}

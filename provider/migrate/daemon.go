package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

const daemonFile = "/etc/docker/daemon.json"

// daemonFlags are the daemon's flags that daemon.json has a key for: those that may be given more than once with the name
// of the list.
var (
	daemonFlags = strings.Fields("bip bridge cgroup-parent data-root debug default-runtime default-shm-size experimental fixed-cidr " +
		"fixed-cidr-v6 icc ip-forward ip-masq iptables ipv6 live-restore log-driver log-level max-concurrent-downloads " +
		"max-concurrent-uploads mtu selinux-enabled shutdown-timeout storage-driver userland-proxy userns-remap")
	daemonLists = map[string]string{"dns": "dns", "dns-opt": "dns-opts", "dns-search": "dns-search", "exec-opt": "exec-opts",
		"insecure-registry": "insecure-registries", "label": "labels", "registry-mirror": "registry-mirrors", "storage-opt": "storage-opts"}
)

// lostDrivers are the storage drivers that Docker no longer has.
var lostDrivers = []string{"aufs", "devicemapper", "overlay"}

// engineOptions reads the options of docker-machine itself, and those that nobody knows.
func (c *conversion) engineOptions() {
	for _, o := range c.options {
		flag, value := "", o.value
		switch o.key {
		case "engine-registry-mirror", "engine-insecure-registry", "engine-storage-driver", "engine-label":
			flag = strings.TrimPrefix(o.key, "engine-")
		case "engine-opt": // flag=value, or "flag value" as it would stand on the daemon's command line
			flag = strings.TrimLeft(value, "-")
			value = ""
			if i := strings.IndexAny(flag, "= "); i >= 0 {
				flag, value = flag[:i], flag[i+1:]
			}
		}
		name, isDriver := strings.CutPrefix(o.key, "digitalocean-")
		switch {
		case flag == "storage-driver" && slices.Contains(lostDrivers, value):
			c.at(Lost, o.line, o.key, fmt.Sprintf("Docker no longer has the storage driver %q; overlay2 is the default", value), "")
		case flag != "":
			if err := c.needs.set(flag, value); err != nil {
				c.at(Lost, o.line, o.key, fmt.Sprintf("%q %v", flag, err), "write it into "+daemonFile+" with write_files in user_data")
			}
		case o.key == "engine-env":
			if err := c.needs.setEnv(value); err != nil {
				c.at(Lost, o.line, o.key, err.Error(), "docker-machine took NAME=value")
			} else if strings.Contains(c.doc.redact(value), "[secret]") {
				c.at(Check, o.line, o.key, "is in user_data, with its password, and jobs can read that through the metadata service", "use a password that is worth nothing elsewhere")
			}
		case o.key == "engine-install-url":
			c.at(Lost, o.line, o.key, "Docker is the image's own, or the distribution's package", "an image of your own has just the release that you put in")
		case isDriver && slices.Contains(driverOptions, name), o.key == "tls-san", strings.HasPrefix(o.key, "swarm"):
		default:
			c.at(Lost, o.line, o.key, "is no option of docker-machine or its digitalocean driver", "")
		}
	}
}

// set puts a flag of the Docker daemon into daemon.json. The error follows the flag in a sentence.
func (n *needs) set(flag, value string) error {
	if n.daemon == nil {
		n.daemon = map[string]any{}
	}
	number, err := strconv.Atoi(value)
	list, isList := daemonLists[flag]
	switch {
	case isList:
		all, _ := n.daemon[list].([]string)
		n.daemon[list] = append(all, value)
	case flag == "log-opt":
		name, of, ok := strings.Cut(value, "=")
		if !ok {
			return errors.New("has no name=value")
		}
		all, _ := n.daemon["log-opts"].(map[string]string)
		if all == nil {
			all = map[string]string{}
		}
		all[name] = of
		n.daemon["log-opts"] = all
	case !slices.Contains(daemonFlags, flag):
		return errors.New("is no flag that migrate knows the key in daemon.json of")
	case value == "", value == "true", value == "false":
		n.daemon[flag] = value != "false"
	case err == nil:
		n.daemon[flag] = number
	default:
		n.daemon[flag] = value
	}
	return nil
}

// variable is the name of an environment variable, and what it is set to, in ASCII.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=[ -~]*$`)

func (n *needs) setEnv(pair string) error {
	if !variable.MatchString(pair) {
		return errors.New("is no NAME=value in ASCII")
	}
	n.env = append(n.env, pair)
	return nil
}

// daemonJSON is daemon.json in ASCII: of anything else DigitalOcean makes a mess in user data.
func (n needs) daemonJSON() string {
	if len(n.daemon) == 0 {
		return ""
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(n.daemon) // cannot fail: strings, numbers and booleans
	var out strings.Builder
	for _, r := range text.String() {
		if r < 0x80 {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.String()
}

// dropIn is a systemd drop-in with the environment variables.
func (n needs) dropIn() string {
	if len(n.env) == 0 {
		return ""
	}
	text := "[Service]\n"
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%")
	for _, pair := range n.env {
		text += `Environment="` + escape.Replace(pair) + "\"\n"
	}
	return text
}

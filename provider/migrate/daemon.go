package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// engine is what docker-machine told the Docker daemon.
type engine struct {
	daemon map[string]any // daemon.json
	env    []string       // NAME=value
}

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
		case (flag != "" || o.key == "engine-env") && strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
			c.at(Lost, o.line, o.key, "is not ASCII, and user data can be nothing else", "")
		case flag == "storage-driver" && slices.Contains(lostDrivers, value):
			c.at(Lost, o.line, o.key, fmt.Sprintf("Docker no longer has the storage driver %q; overlay2 is the default", value), "")
		case flag != "":
			if err := c.engine.set(flag, value); err != nil {
				c.at(Lost, o.line, o.key, fmt.Sprintf("%q %v", flag, err), "write it into "+daemonFile+" with write_files in user_data")
			}
		case o.key == "engine-env":
			if !strings.Contains(value, "=") {
				c.at(Lost, o.line, o.key, "is no NAME=value", "")
				continue
			}
			c.engine.env = append(c.engine.env, value)
			if strings.Contains(c.doc.redact(value), "[secret]") {
				c.at(Check, o.line, o.key, "is in user_data, with its password, and jobs can read that through the metadata service",
					"use a password that is worth nothing elsewhere")
			}
		case o.key == "engine-install-url":
			c.at(Lost, o.line, o.key, "Docker is the image's own, or the distribution's package",
				"an image of your own has just the release that you put in")
		case isDriver && slices.Contains(driverOptions, name), o.key == "tls-san", strings.HasPrefix(o.key, "swarm"):
		default:
			c.at(Lost, o.line, o.key, "is no option of docker-machine or its digitalocean driver", "")
		}
	}
}

// set puts a flag of the Docker daemon into daemon.json. The error follows the flag in a sentence.
func (e *engine) set(flag, value string) error {
	if e.daemon == nil {
		e.daemon = map[string]any{}
	}
	number, err := strconv.Atoi(value)
	list, isList := daemonLists[flag]
	switch {
	case isList:
		all, _ := e.daemon[list].([]string)
		e.daemon[list] = append(all, value)
	case flag == "log-opt":
		name, of, ok := strings.Cut(value, "=")
		if !ok {
			return errors.New("has no name=value")
		}
		all, _ := e.daemon["log-opts"].(map[string]string)
		if all == nil {
			all = map[string]string{}
		}
		all[name] = of
		e.daemon["log-opts"] = all
	case !slices.Contains(daemonFlags, flag):
		return errors.New("is no flag that migrate knows the key in daemon.json of")
	case value == "", value == "true", value == "false":
		e.daemon[flag] = value != "false"
	case err == nil:
		e.daemon[flag] = number
	default:
		e.daemon[flag] = value
	}
	return nil
}

// files returns daemon.json, and a systemd drop-in with the environment.
func (e engine) files() (files []cloudFile) {
	if len(e.daemon) > 0 {
		text, _ := json.MarshalIndent(e.daemon, "", "  ") // cannot fail: strings, numbers and booleans
		files = append(files, cloudFile{Path: daemonFile, Content: string(text) + "\n"})
	}
	if len(e.env) > 0 {
		text := "[Service]\n"
		escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%")
		for _, pair := range e.env {
			text += `Environment="` + escape.Replace(pair) + "\"\n"
		}
		files = append(files, cloudFile{Path: "/etc/systemd/system/docker.service.d/environment.conf", Content: text})
	}
	return files
}

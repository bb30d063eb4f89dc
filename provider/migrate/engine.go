package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// engine is what docker-machine passed to the Docker daemon.
type engine struct {
	daemon map[string]any // daemon.json
	env    []string       // NAME=value
}

// daemonKeys are the daemon's flags that daemon.json has, the key's name, and how its
// value is written.
var daemonKeys = map[string]struct {
	key  string
	kind string // text, list, number, boolean, map
}{
	"bip":                      {"bip", "text"},
	"bridge":                   {"bridge", "text"},
	"cgroup-parent":            {"cgroup-parent", "text"},
	"data-root":                {"data-root", "text"},
	"debug":                    {"debug", "boolean"},
	"default-runtime":          {"default-runtime", "text"},
	"default-shm-size":         {"default-shm-size", "text"},
	"dns":                      {"dns", "list"},
	"dns-opt":                  {"dns-opts", "list"},
	"dns-search":               {"dns-search", "list"},
	"exec-opt":                 {"exec-opts", "list"},
	"experimental":             {"experimental", "boolean"},
	"fixed-cidr":               {"fixed-cidr", "text"},
	"fixed-cidr-v6":            {"fixed-cidr-v6", "text"},
	"graph":                    {"data-root", "text"}, // its old name
	"icc":                      {"icc", "boolean"},
	"insecure-registry":        {"insecure-registries", "list"},
	"ip-forward":               {"ip-forward", "boolean"},
	"ip-masq":                  {"ip-masq", "boolean"},
	"iptables":                 {"iptables", "boolean"},
	"ipv6":                     {"ipv6", "boolean"},
	"label":                    {"labels", "list"},
	"live-restore":             {"live-restore", "boolean"},
	"log-driver":               {"log-driver", "text"},
	"log-level":                {"log-level", "text"},
	"log-opt":                  {"log-opts", "map"},
	"max-concurrent-downloads": {"max-concurrent-downloads", "number"},
	"max-concurrent-uploads":   {"max-concurrent-uploads", "number"},
	"mtu":                      {"mtu", "number"},
	"registry-mirror":          {"registry-mirrors", "list"},
	"selinux-enabled":          {"selinux-enabled", "boolean"},
	"shutdown-timeout":         {"shutdown-timeout", "number"},
	"storage-driver":           {"storage-driver", "text"},
	"storage-opt":              {"storage-opts", "list"},
	"userland-proxy":           {"userland-proxy", "boolean"},
	"userns-remap":             {"userns-remap", "text"},
}

// lostDrivers are the storage drivers that Docker no longer has.
var lostDrivers = []string{"aufs", "devicemapper", "overlay"}

// set adds what a flag of the daemon says. It returns the key of daemon.json, and why
// the value cannot be put there.
func (e *engine) set(flag, value string) (key, wrong string) {
	k, ok := daemonKeys[flag]
	if !ok {
		return "", "is no flag that migrate knows the daemon.json key of"
	}
	if e.daemon == nil {
		e.daemon = map[string]any{}
	}
	switch k.kind {
	case "list":
		list, _ := e.daemon[k.key].([]string)
		e.daemon[k.key] = append(list, value)
	case "map":
		name, of, ok := strings.Cut(value, "=")
		if !ok {
			return "", "has no name=value"
		}
		entries, _ := e.daemon[k.key].(map[string]string)
		if entries == nil {
			entries = map[string]string{}
		}
		entries[name] = of
		e.daemon[k.key] = entries
	case "number":
		n, err := strconv.Atoi(value)
		if err != nil {
			return "", "is no whole number"
		}
		e.daemon[k.key] = n
	case "boolean":
		if value == "" {
			value = "true"
		}
		b, err := strconv.ParseBool(value)
		if err != nil {
			return "", "is neither true nor false"
		}
		e.daemon[k.key] = b
	default:
		e.daemon[k.key] = value
	}
	return k.key, ""
}

// variable is the name of an environment variable.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// setEnv adds an environment variable of the daemon, and returns why it cannot be.
func (e *engine) setEnv(pair string) (wrong string) {
	name, value, ok := strings.Cut(pair, "=")
	if !ok || !variable.MatchString(name) {
		return "is no NAME=value"
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "has a value that is not printable ASCII"
	}
	e.env = append(e.env, pair)
	return ""
}

// json is daemon.json, in ASCII.
func (e *engine) json() string {
	if len(e.daemon) == 0 {
		return ""
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(e.daemon) // cannot fail: strings, numbers and booleans
	return asciiJSON(out.String())
}

// asciiJSON escapes what is not ASCII, of which DigitalOcean makes a mess in user data.
func asciiJSON(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
	}
	return out.String()
}

// dropIn is a systemd drop-in with the environment variables.
func (e *engine) dropIn() string {
	if len(e.env) == 0 {
		return ""
	}
	lines := []string{"[Service]"}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%")
	for _, pair := range slices.Compact(slices.Clone(e.env)) {
		lines = append(lines, `Environment="`+escape.Replace(pair)+`"`)
	}
	return strings.Join(lines, "\n") + "\n"
}

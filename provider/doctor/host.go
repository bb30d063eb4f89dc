package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// Host is what of this host the checks go by. Look fills it in.
type Host struct {
	Now           time.Time
	RunnerVersion string // of gitlab-runner, such as "18.6.6"; "" = not known
	PluginFault   string // why plugin = "..." leads to no program; "" = it does

	Readable  []string          // files with a secret in them that other users can read
	KeyFaults map[string]string // why a private key cannot be used, by the key of config.toml that names it

	StateFault error          // why the state directory cannot be used
	Holder     string         // the process id of the plugin that manages the group, "" = none does
	DeadRuns   []string       // earlier plugin processes that have ended
	Refused    *state.Refusal // the start that was refused last; nil = none was, or one went well since

	Addresses []netip.Addr // of this host
}

// Look looks at this host, as far as the configuration of a group concerns it. It changes nothing.
func Look(ctx context.Context, s Subject) Host {
	h := Host{Now: time.Now()}
	if s.File != nil {
		h.RunnerVersion = askRunner(ctx)
		h.PluginFault = findPlugin(s.Runner.Autoscaler.Plugin)
		h.lookAtFiles(s)
	}
	if s.Account.Name != "" {
		seen, err := state.Peek(ctx, s.Account.APIURL, s.Account.Name)
		h.StateFault, h.DeadRuns, h.Refused = err, seen.Runs, seen.Refused
		if seen.Held { // 0 = not known
			h.Holder = fmt.Sprint(seen.PID)
		}
	}
	all, _ := net.InterfaceAddrs() // none: this host is in no VPC
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			h.Addresses = append(h.Addresses, p.Addr())
		}
	}
	return h
}

// runnerBound is how long the runner may take to print its version.
const runnerBound = 5 * time.Second

var versionLine = regexp.MustCompile(`(?m)^Version:\s+v?(\d+\.\d+\.\d+)`)

// askRunner asks the gitlab-runner in PATH for its version.
func askRunner(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, runnerBound)
	defer cancel()
	c := exec.CommandContext(ctx, "gitlab-runner", "--version")
	c.WaitDelay = time.Second // a child may keep the output open
	out, _ := c.Output()
	if m := versionLine.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

// isPath reports whether plugin = "..." is a path, as the runner decides it of one that may not exist.
func isPath(plugin string) bool { return filepath.IsAbs(plugin) || strings.HasPrefix(plugin, ".") }

// findPlugin returns why the runner would find no program. Of an installed plugin it looks for any version.
func findPlugin(plugin string) string {
	_, err := exec.LookPath(plugin)
	if err == nil {
		return ""
	} else if isPath(plugin) {
		return err.Error()
	}
	repository, _, _ := strings.Cut(plugin, "@")
	if i := strings.LastIndex(repository, ":"); i > strings.LastIndex(repository, "/") {
		repository = repository[:i]
	}
	if first, _, slashed := strings.Cut(repository, "/"); !slashed {
		repository = "registry.gitlab.com/gitlab-org/fleeting/plugins/" + repository
	} else if !strings.Contains(first, ".") {
		repository = "registry.gitlab.com/" + repository
	}
	dir := filepath.Join(pluginsDir(), filepath.FromSlash(repository))
	found, _ := filepath.Glob(filepath.Join(dir, "*", "plugin*")) // none: nothing is installed
	if len(found) > 0 {
		return ""
	}
	return "it is neither in PATH nor installed in " + dir
}

// pluginsDir is the directory of the runner's installer.
func pluginsDir() string {
	base := os.Getenv("APPDATA") // on Windows
	if home, err := os.UserHomeDir(); base == "" && err == nil {
		base = filepath.Join(home, ".config")
	}
	return cmp.Or(os.Getenv("FLEETING_PLUGIN_PATH"), filepath.Join(base, "fleeting", "plugins"))
}

// lookAtFiles looks at the files with secrets. ssh_key_file may be missing: the first start makes it.
func (h *Host) lookAtFiles(s Subject) {
	keyPath := s.Runner.Autoscaler.Connector.KeyPath
	files := []string{s.Config.Token.File, s.Config.SSHKeyFile, keyPath}
	if s.plainSecret() {
		files = append(files, s.File.Path)
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
			h.Readable = append(h.Readable, path)
		}
	}
	h.KeyFaults = map[string]string{}
	if err := checkKey(s.Config.SSHKeyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.KeyFaults["autoscaler.plugin_config.ssh_key_file"] = err.Error()
	}
	if err := checkKey(keyPath); err != nil {
		h.KeyFaults["autoscaler.connector_config.key_path"] = err.Error()
	}
}

// checkKey returns why a private key cannot be used. Where none is configured, it can.
func checkKey(path string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err == nil {
		_, err = ssh.ParsePrivateKey(text)
	}
	return err
}

// plainSecret reports whether a secret stands in config.toml itself.
func (s Subject) plainSecret() bool {
	return pluginKey(s.Runner, "token") != "" || s.Runner.Autoscaler.Connector.Password != ""
}

// skipped matches what `gitlab-runner fleeting install` passes over without a word: a registry with a port, a version with a v.
var skipped = regexp.MustCompile(`^[^/]*:\d+/|:v\d[^/]*$`)

func (e *exam) plugin() {
	const inPath = `plugin = "fleeting-plugin-digitalocean"`
	name, fault := e.Runner.Autoscaler.Plugin, e.Host.PluginFault
	level, hint := Warning, "sudo install fleeting-plugin-digitalocean /usr/local/bin/"
	if skipped.MatchString(name) {
		e.add(Fault, "autoscaler.plugin", inPath,
			"plugin is %q: `gitlab-runner fleeting install` takes neither a registry with a port nor a version with a v, and does not say so", name)
		return
	} else if isPath(name) {
		level, hint = Fault, inPath
	} else if strings.Contains(name, "/") {
		hint = "gitlab-runner fleeting install --upgrade && gitlab-runner fleeting list"
	}
	e.when(fault != "", level, "autoscaler.plugin", hint, "the runner finds no plugin %s: %s", name, fault)
}

func (e *exam) secrets() {
	if level := strings.ToLower(e.File.LogLevel); e.plainSecret() && (level == "debug" || level == "trace") {
		e.addAt(Warning, e.File.At("log_level"), `log_level = "info"`,
			"log_level %q writes plugin_config.token and connector_config.password into the log", level)
	}
	for _, path := range e.Host.Readable {
		e.addAt(Warning, path, "chmod 600 "+path, "other users of this host can read it, and it has a secret in it")
	}
	for _, key := range []string{"autoscaler.plugin_config.ssh_key_file", "autoscaler.connector_config.key_path"} {
		fault := e.Host.KeyFaults[key]
		e.when(fault != "", Fault, key, "ssh-keygen -t ed25519 -N '' -f FILE makes a key", "%s cannot be used: %s", lastPart(key), fault)
	}
}

// lately is how long a refused start is worth a word.
const lately = 10 * time.Minute

func (e *exam) host() {
	const here = "this host"
	switch err := e.Host.StateFault; {
	case err != nil:
		what, hint, _ := strings.Cut(err.Error(), "; ")
		e.addAt(Fault, here, cmp.Or(hint, "in the runner's unit: StateDirectory=fleeting-plugin-digitalocean"),
			"the plugin cannot start: %s", what)
	case e.Host.Holder != "":
		e.addAt(OK, here, "", "process %s manages the group", e.Host.Holder)
	case e.Account.Name != "":
		e.addAt(OK, here, "", "no process manages the group now")
	}
	if r := e.Host.Refused; r != nil && e.Host.Now.Sub(r.At) < lately {
		e.addAt(Warning, here, "fix what it says; the runner starts the plugin again by itself",
			"the start at %s was refused: %s", r.At.In(e.Host.Now.Location()).Format(time.TimeOnly), strings.ReplaceAll(r.Text, "\n", "; "))
	}
}

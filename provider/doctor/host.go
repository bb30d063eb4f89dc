package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// Host is what of this host the checks go by. Look fills it in.
type Host struct {
	Now           time.Time
	RunnerVersion string   // of gitlab-runner, such as "18.6.6"; "" = not known
	Program       string   // the path of this one
	PluginFault   string   // why plugin = "..." leads to no program; "" = it does
	Exposed       bool     // other users can read the File
	KeyFault      error    // why Init refuses the SSH key
	Unprotected   []string // files of the group's secrets that other users can read

	StateFault error        // why the state directory cannot be used
	Holder     string       // the process id of the plugin that manages the group, "" = none does
	Addresses  []netip.Addr // of this host
}

// Look looks at this host, as far as the configuration of a group concerns it. It changes nothing.
func Look(ctx context.Context, s Subject) Host {
	h := Host{Now: time.Now()}
	if s.File != nil {
		h.RunnerVersion = askRunner(ctx)
		h.Program, _ = os.Executable()
		h.PluginFault = findPlugin(s.Runner.Autoscaler.Plugin)
		h.Unprotected, h.KeyFault = provider.CheckFiles(s.Config, s.Account.Token, s.Runner.Autoscaler.Connector.KeyPath)
	}
	if s.Account.Name != "" {
		seen, err := state.Peek(ctx, s.Account.APIURL, s.Account.Name)
		h.StateFault = err
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

var versionLine = regexp.MustCompile(`(?m)^Version:\s+v?(\d+\.\d+\.\d+)`)

// askRunner asks the gitlab-runner in PATH for its version.
func askRunner(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
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

// findPlugin returns why the runner would find no program. Of an installed plugin it looks for any version. (The runner's own
// installer.LookPath would bring half of Docker into the plugin.)
func findPlugin(plugin string) string {
	_, err := exec.LookPath(plugin)
	if err == nil {
		return ""
	} else if isPath(plugin) || !strings.Contains(plugin, "/") {
		return err.Error()
	}
	repository, _, _ := strings.Cut(plugin, "@")
	if i := strings.LastIndex(repository, ":"); i > strings.LastIndex(repository, "/") {
		repository = repository[:i]
	}
	if first, _, _ := strings.Cut(repository, "/"); !strings.Contains(first, ".") {
		repository = "registry.gitlab.com/" + repository
	}
	home, _ := os.UserHomeDir()
	base := filepath.Join(cmp.Or(os.Getenv("APPDATA"), filepath.Join(home, ".config")), "fleeting", "plugins") // the first on Windows
	dir := filepath.Join(cmp.Or(os.Getenv("FLEETING_PLUGIN_PATH"), base), filepath.FromSlash(repository))
	if found, _ := filepath.Glob(filepath.Join(dir, "*", "plugin*")); found == nil {
		return "it is neither in PATH nor installed in " + dir
	}
	return ""
}

// skipped matches what `gitlab-runner fleeting install` passes over without a word: a registry with a port, a version with a v.
var skipped = regexp.MustCompile(`^[^/]*:\d+/|:v\d[^/]*$`)

func (e *exam) plugin() {
	const key, inPath = "autoscaler.plugin", `plugin = "fleeting-plugin-digitalocean"`
	name, fault := e.Runner.Autoscaler.Plugin, e.Host.PluginFault
	// sudo searches a PATH of its own, and finds no file that is named without a directory.
	level, hint := Warning, "sudo install "+Quote(e.Host.Program)+" /usr/local/bin/fleeting-plugin-digitalocean"
	switch {
	case skipped.MatchString(name):
		level, hint, fault = Fault, inPath, "fleeting install passes over a registry with a port, and a version with a v, without a word"
	case isPath(name):
		level, hint = Fault, inPath
	case strings.Contains(name, "/"):
		hint = "gitlab-runner fleeting install --upgrade && gitlab-runner fleeting list"
	}
	e.when(fault != "", level, key, hint, "the runner finds no plugin %s: %s", name, fault)
}

func (e *exam) host() {
	const here = "this host"
	e.refused(e.Host.KeyFault)
	for _, path := range e.Host.Unprotected {
		e.addAt(Warning, path, "chmod 600 "+Quote(path), "others can read the file, which has a secret")
	}
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
}

package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Program is what the runner's plugin = "..." leads to on this host.
type Program struct {
	Path  string // the program; "" = there is none
	Fault string // why Path cannot be run, "" = it can
	Dir   string // of the installed versions; "" = plugin = "..." is a path
}

// isPath reports whether plugin = "..." is a path, as the runner decides it.
func isPath(plugin string) bool {
	_, err := os.Stat(plugin)
	return filepath.IsAbs(plugin) || strings.HasPrefix(plugin, "/") || strings.HasPrefix(plugin, ".") || strings.Contains(plugin, `\`) ||
		err == nil && strings.Contains(plugin, "/")
}

// isName reports whether plugin = "..." is looked for in PATH. Else it is a reference, registry/repository:version.
func isName(plugin string) bool { return !strings.ContainsAny(plugin, "/:@") }

// repository splits a reference, by the rules of the runner's installer, into the directory that has its versions below the
// directory of plugins, and the constraint on the version; "" = none.
func repository(plugin string) (dir, constraint string) {
	first, rest, slashed := strings.Cut(plugin, "/")
	if !slashed {
		plugin = "registry.gitlab.com/gitlab-org/fleeting/plugins/" + plugin
	} else if !strings.Contains(first, ".") {
		plugin = "registry.gitlab.com/" + first + "/" + rest
	}
	plugin, _, _ = strings.Cut(plugin, "@")
	if i := strings.LastIndex(plugin, ":"); i > strings.LastIndex(plugin, "/") {
		return plugin[:i], plugin[i+1:]
	}
	return plugin, ""
}

// findProgram looks where the runner looks: of an installed plugin for a version that fits.
func findProgram(plugin string) (p Program) {
	if isPath(plugin) {
		return Program{Path: plugin, Fault: whyNotRun(plugin)}
	}
	dir, constraint := repository(plugin)
	p.Dir = filepath.Join(pluginsDir(), filepath.FromSlash(dir))
	if path, err := exec.LookPath(plugin); err == nil && isName(plugin) {
		p.Path = path
		return p
	}
	versions, _ := os.ReadDir(p.Dir) // none: nothing is installed
	for _, v := range versions {
		path := filepath.Join(p.Dir, v.Name(), "plugin")
		if runtime.GOOS == "windows" {
			path += ".exe"
		}
		fits := constraint == "" || constraint == "latest" || v.Name() == constraint || strings.HasPrefix(v.Name(), constraint+".")
		if fits && whyNotRun(path) == "" {
			p.Path = path
		}
	}
	return p
}

// pluginsDir is the installer's.
func pluginsDir() string {
	if dir := os.Getenv("FLEETING_PLUGIN_PATH"); dir != "" {
		return dir
	}
	base := os.Getenv("APPDATA")
	if runtime.GOOS != "windows" {
		home, _ := os.UserHomeDir() // none: as the runner does
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "fleeting", "plugins")
}

func whyNotRun(path string) string {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return "does not exist"
	case err != nil:
		return "cannot be looked at: " + err.Error()
	case !info.Mode().IsRegular():
		return "is no file"
	case info.Mode()&0o111 == 0 && runtime.GOOS != "windows":
		return "is not executable"
	}
	return ""
}

// prefixed matches a version with a v in front.
var prefixed = regexp.MustCompile(`^v\d`)

func (e *exam) program() {
	const key, name = "autoscaler.plugin", `plugin = "fleeting-plugin-digitalocean"`
	plugin, p := e.Runner.Autoscaler.Plugin, e.Host.Program
	registry, _, slashed := strings.Cut(plugin, "/")
	_, constraint := repository(plugin)
	switch {
	case p.Fault == "is not executable":
		e.add(Fault, key, "chmod 755 "+plugin, "plugin %s %s: the runner cannot start it", plugin, p.Fault)
	case p.Dir == "":
		e.when(p.Fault != "", Fault, key, name, "plugin %s %s: the runner cannot start it", plugin, p.Fault)
	case slashed && strings.Contains(registry, ":"):
		e.add(Fault, key, name, "plugin is %q: `gitlab-runner fleeting install` skips a registry with a port without a word", plugin)
	case prefixed.MatchString(constraint):
		e.add(Fault, key, fmt.Sprintf("plugin = %q", strings.TrimSuffix(plugin, constraint)+constraint[1:]),
			"plugin is %q: versions have no v in front, and `gitlab-runner fleeting install` finds none without a word", plugin)
	case p.Path != "":
	case isName(plugin):
		e.add(Warning, key, "sudo install fleeting-plugin-digitalocean /usr/local/bin/",
			"plugin %s is neither in PATH nor in %s: the runner cannot start it", plugin, p.Dir)
	default:
		e.add(Warning, key, "gitlab-runner fleeting install --upgrade && gitlab-runner fleeting list",
			"no version of plugin %s is installed in %s: the runner cannot start it", plugin, p.Dir)
	}
}

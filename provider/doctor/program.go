package doctor

import (
	"errors"
	"fmt"
	"io/fs"
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

// findProgram looks where the runner looks. Of an installed plugin it takes any version: which one a constraint selects is
// the runner's decision.
func findProgram(plugin string) (p Program) {
	if isPath(plugin) {
		return Program{Path: plugin, Fault: whyNotRun(plugin)}
	}
	dir, _ := repository(plugin)
	p.Dir = filepath.Join(pluginsDir(), filepath.FromSlash(dir))
	if path, err := exec.LookPath(plugin); err == nil && isName(plugin) {
		p.Path = path
		return p
	}
	name := "plugin"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	versions, _ := filepath.Glob(filepath.Join(p.Dir, "*", name)) // the pattern is sound, or nothing is found
	for _, path := range versions {
		if whyNotRun(path) == "" {
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
	case errors.Is(err, fs.ErrNotExist):
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

func (e *exam) program() {
	const key, name = "autoscaler.plugin", `plugin = "fleeting-plugin-digitalocean"`
	plugin, p := e.Runner.Autoscaler.Plugin, e.Host.Program
	registry, _, _ := strings.Cut(plugin, "/")
	_, constraint := repository(plugin)
	switch {
	case p.Dir == "":
		hint := name
		if p.Fault == "is not executable" {
			hint = "chmod 755 " + plugin
		}
		e.when(p.Fault != "", Fault, key, hint, "plugin %s %s: the runner cannot start it", plugin, p.Fault)
	case isName(plugin):
		e.when(p.Path == "", Warning, key, "sudo install fleeting-plugin-digitalocean /usr/local/bin/",
			"plugin %s is neither in PATH nor in %s: the runner cannot start it", plugin, p.Dir)
	case strings.Contains(registry, ":") && registry != plugin:
		e.add(Fault, key, name, "plugin is %q: `gitlab-runner fleeting install` skips a registry with a port without a word", plugin)
	case prefixed.MatchString(constraint):
		e.add(Fault, key, fmt.Sprintf("plugin = %q", strings.TrimSuffix(plugin, constraint)+constraint[1:]),
			"plugin is %q: versions have no v in front, and `gitlab-runner fleeting install` finds none without a word", plugin)
	case p.Path == "":
		e.add(Warning, key, "gitlab-runner fleeting install && gitlab-runner fleeting list",
			"plugin %s is not installed in %s: the runner cannot start it", plugin, p.Dir)
	}
}

// prefixed matches a version with a v in front.
var prefixed = regexp.MustCompile(`^v\d`)

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Program is what the runner's plugin = "..." leads to on this host.
type Program struct {
	Path  string // the program; "" = there is none
	Fault string // why Path cannot be run, "" = it can
	Dir   string // where `gitlab-runner fleeting install` puts plugins

	spelling spelling
}

// spelling is how plugin = "..." is written: it decides where the runner looks.
type spelling int

const (
	bareName   spelling = iota // looked for in PATH, then among the installed
	taggedName                 // GitLab's own plugin of that name
	filePath
	reference // registry/repository:version
)

func spell(plugin string, exists bool) spelling {
	switch {
	case filepath.IsAbs(plugin), strings.HasPrefix(plugin, "/"), strings.HasPrefix(plugin, "."), strings.Contains(plugin, `\`),
		exists && strings.Contains(plugin, "/"):
		return filePath
	case strings.Contains(plugin, "/"):
		return reference
	case strings.ContainsAny(plugin, ":@"):
		return taggedName
	}
	return bareName
}

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
func findProgram(plugin string) Program {
	_, err := os.Stat(plugin)
	p := Program{Dir: pluginsDir(), spelling: spell(plugin, err == nil)}
	if p.spelling == filePath {
		p.Path, p.Fault = plugin, whyNotRun(plugin)
		return p
	}
	if p.spelling == bareName {
		if p.Path, err = exec.LookPath(plugin); err == nil {
			return p
		}
		p.Path = ""
	}
	name := "plugin"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	dir, _ := repository(plugin)
	versions, _ := filepath.Glob(filepath.Join(p.Dir, filepath.FromSlash(dir), "*", name)) // the pattern is sound, or nothing is found
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
	missing, who := Warning, "the runner cannot start it"
	if e.notRunners() { // another user's PATH and HOME may have it
		missing, who = Note, "the runner's user may have it elsewhere"
	}
	registry, _, _ := strings.Cut(plugin, "/")
	_, constraint := repository(plugin)
	switch p.spelling {
	case filePath:
		switch {
		case p.Fault == "":
		case strings.HasPrefix(p.Fault, "cannot"):
			e.add(missing, key, "sudo fleeting-plugin-digitalocean doctor", "plugin %s %s", plugin, p.Fault)
		case p.Fault == "is not executable":
			e.add(Fault, key, "chmod 755 "+plugin, "plugin %s %s: the runner cannot start it", plugin, p.Fault)
		default:
			e.add(Fault, key, name, "plugin %s %s: the runner cannot start it", plugin, p.Fault)
		}
	case taggedName:
		e.add(Warning, key, name,
			"plugin is %q: with a version, a name without a / means registry.gitlab.com/gitlab-org/fleeting/plugins/%[1]s", plugin)
	case bareName:
		if p.Path == "" {
			e.add(missing, key, "sudo install fleeting-plugin-digitalocean /usr/local/bin/",
				"plugin %s is neither in PATH nor in %s: %s", plugin, p.Dir, who)
		}
	case reference:
		switch {
		case strings.Contains(registry, ":"):
			e.add(Fault, key, name, "plugin is %q: `gitlab-runner fleeting install` refuses a registry with a port, without a word", plugin)
		case len(constraint) > 1 && constraint[0] == 'v' && constraint[1] >= '0' && constraint[1] <= '9':
			e.add(Fault, key, fmt.Sprintf("plugin = %q", strings.TrimSuffix(plugin, constraint)+constraint[1:]),
				"plugin is %q: versions have no v in front, and `gitlab-runner fleeting install` finds none, without a word", plugin)
		case p.Path == "":
			e.add(missing, key, "gitlab-runner fleeting install && gitlab-runner fleeting list",
				"plugin %s is not installed in %s: %s", plugin, p.Dir, who)
		}
	}
}

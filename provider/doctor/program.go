package doctor

import (
	"errors"
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
}

// spelling is how plugin = "..." is written, which tells where the runner looks.
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

// repository is where below the directory of plugins a reference's versions are, by
// the rules of the runner's installer.
func repository(plugin string) string {
	first, rest, slashed := strings.Cut(plugin, "/")
	if !slashed {
		plugin = "registry.gitlab.com/gitlab-org/fleeting/plugins/" + plugin
	} else if !strings.Contains(first, ".") {
		plugin = "registry.gitlab.com/" + first + "/" + rest
	}
	plugin, _, _ = strings.Cut(plugin, "@")
	if i := strings.LastIndex(plugin, ":"); i > strings.LastIndex(plugin, "/") {
		plugin = plugin[:i]
	}
	return plugin
}

// findProgram looks where the runner looks. Of an installed plugin any version will
// do here: which one a constraint selects is the runner's to say.
func findProgram(plugin string) Program {
	p := Program{Dir: pluginsDir()}
	_, err := os.Stat(plugin)
	switch spell(plugin, err == nil) {
	case filePath:
		p.Path, p.Fault = plugin, whyNotRun(plugin)
		return p
	case bareName:
		if found, err := exec.LookPath(plugin); err == nil {
			p.Path = found
			return p
		}
	case taggedName, reference:
	}
	name := "plugin"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	repo := filepath.Join(p.Dir, filepath.FromSlash(repository(plugin)))
	versions, _ := os.ReadDir(repo) // none: it is not installed
	for _, v := range versions {
		if path := filepath.Join(repo, v.Name(), name); whyNotRun(path) == "" {
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
	if e.File == nil {
		return
	}
	const key = "autoscaler.plugin"
	plugin, p := e.Runner.Autoscaler.Plugin, e.Host.Program
	// Another user's PATH and HOME may have it.
	missing, whose := Warning, "the runner cannot start it"
	if e.notRunners() {
		missing, whose = Note, "the runner's user may have it elsewhere"
	}
	registry, _, _ := strings.Cut(plugin, "/")
	switch how := spell(plugin, p.Path == plugin && p.Fault != "does not exist"); {
	case how == reference && strings.Contains(registry, ":"):
		e.say(Fault, key, `plugin = "fleeting-plugin-digitalocean"`,
			"plugin is %q: the runner's installer refuses a registry with a port", plugin)
	case how == filePath && strings.HasPrefix(p.Fault, "cannot"):
		e.say(missing, key, "", "plugin %s %s", plugin, p.Fault)
	case how == filePath && p.Fault == "is not executable":
		e.say(Fault, key, "chmod 755 "+plugin, "plugin %s %s: the runner cannot start it", plugin, p.Fault)
	case how == filePath && p.Fault != "":
		e.say(Fault, key, `plugin = "fleeting-plugin-digitalocean"`, "plugin %s %s: the runner cannot start it", plugin, p.Fault)
	case how == taggedName:
		e.say(Warning, key, `plugin = "fleeting-plugin-digitalocean"`,
			"plugin is %q: with a version, a name without a / means registry.gitlab.com/gitlab-org/fleeting/plugins/%s", plugin, plugin)
	case how == bareName && p.Path == "":
		e.say(missing, key, "sudo install fleeting-plugin-digitalocean /usr/local/bin/",
			"plugin %s is neither in PATH nor in %s: %s", plugin, p.Dir, whose)
	case how == reference && p.Path == "":
		e.say(missing, key, "gitlab-runner fleeting install", "plugin %s is not installed in %s: %s", plugin, p.Dir, whose)
	}
}

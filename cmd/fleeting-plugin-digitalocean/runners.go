package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// runners returns the [[runners]] that use this plugin, or the one of them that was
// chosen.
func (c choice) runners(file *runnerconfig.File) ([]runnerconfig.Runner, error) {
	var found []runnerconfig.Runner
	var names []string
	old := 0
	for _, r := range file.Runners {
		if !r.OurPlugin() {
			if strings.HasSuffix(r.Executor, "+machine") {
				old++
			}
			continue
		}
		names = append(names, r.Name)
		if c.runner == "" || r.Name == c.runner {
			found = append(found, r)
		}
	}
	switch {
	case len(names) == 0 && old > 0:
		return nil, hinted{fmt.Errorf("%s: no [[runners]] has plugin = %q; %d use docker+machine", file.Path, "fleeting-plugin-digitalocean", old),
			"fleeting-plugin-digitalocean migrate " + file.Path}
	case len(names) == 0:
		return nil, hinted{fmt.Errorf("%s: no [[runners]] has plugin = %q", file.Path, "fleeting-plugin-digitalocean"),
			"name the runner's file with --config FILE, or give --token-file FILE and --group NAME"}
	case len(found) == 0:
		return nil, hinted{misuse(fmt.Sprintf("%s: no [[runners]] that uses this plugin is named %q", file.Path, c.runner)),
			"--runner is one of " + strings.Join(quoted(names), ", ")}
	}
	return found, nil
}

// unreadRunner is why a runner's account is not known.
type unreadRunner struct {
	error
	group string // as it is written, well or not; "" = not known
}

// inFile returns the groups of these runners, and which of them cannot be read.
func (c choice) inFile(file *runnerconfig.File) ([]group, []unreadRunner, error) {
	runners, err := c.runners(file)
	if err != nil {
		return nil, nil, err
	}
	var found []group
	var unread []unreadRunner
	for _, r := range runners {
		a, err := account(file, r)
		if err != nil {
			unread = append(unread, unreadRunner{err, writtenName(r)})
			continue
		}
		found = append(found, group{a, file.At(r.Key("autoscaler.plugin_config"))})
	}
	if len(found) == 0 {
		return nil, nil, unreadFault(file, unread)
	}
	return found, unread, nil
}

// unreadFault is that runners cannot be read, as an error.
func unreadFault(file *runnerconfig.File, unread []unreadRunner, more ...error) error {
	var faults []error
	for _, u := range unread {
		faults = append(faults, u.error)
	}
	return hinted{errors.Join(append(faults, more...)...), "fleeting-plugin-digitalocean doctor --config " + file.Path}
}

// writtenName is a group's name as config.toml has it, whatever is wrong beside it.
func writtenName(r runnerconfig.Runner) string {
	for key, value := range r.Autoscaler.PluginConfig {
		if name, ok := value.(string); ok && strings.EqualFold(key, "name") {
			return name
		}
	}
	return ""
}

// account reads what a runner's plugin_config says of its account.
func account(file *runnerconfig.File, r runnerconfig.Runner) (config.Account, error) {
	data, err := json.Marshal(r.Autoscaler.PluginConfig)
	if err != nil {
		return config.Account{}, fmt.Errorf("%s: plugin_config: %w", file.At(r.Key("autoscaler.plugin_config")), err)
	}
	a, err := config.ParseAccount(data, config.ThisHost())
	if err == nil && a.Name == "" {
		err = config.Faults{{Key: "name", Text: "is required"}}
	}
	if faults, ok := errors.AsType[config.Faults](err); ok {
		var lines []error
		for _, f := range faults {
			lines = append(lines, fmt.Errorf("%s: %w", file.At(r.Key("autoscaler.plugin_config."+f.Key)), f))
		}
		err = errors.Join(lines...)
	}
	return a, err
}

// named picks the groups that --group names. One that is in no config.toml, since it
// was renamed there, is on the file's account if there is only one.
//
// Invariant: a group is looked for on every account that has a runner with it, and never
// on one that may be another's. One whose
// own [[runners]] cannot be read is that runner's fault, and one that is not in the
// file may be of any runner that cannot be read. (TestScripts, unread-runner)
func (c choice) named(file *runnerconfig.File, found []group, unread []unreadRunner) ([]group, error) {
	var picked []group
	for _, name := range c.groups {
		own := slices.DeleteFunc(slices.Clone(unread), func(u unreadRunner) bool { return u.group != name })
		if len(own) > 0 {
			return nil, unreadFault(file, own, fmt.Errorf("group %s is on an account that is not known so; nothing was done", name))
		}
		same := slices.DeleteFunc(slices.Clone(found), func(g group) bool { return g.Name != name })
		if len(same) > 0 {
			picked = append(picked, same...) // of several accounts, maybe
			continue
		}
		if len(unread) > 0 {
			return nil, unreadFault(file, unread, fmt.Errorf("%s has no other group %q, which may be on an account that is not known so; "+
				"nothing was done (--runner NAME says whose account it is on)", file.Path, name))
		}
		if slices.ContainsFunc(found, func(g group) bool { return !sameAccount(g.Account, found[0].Account) }) {
			return nil, hinted{misuse(fmt.Sprintf("%s has no group %q, and more than one account", file.Path, name)),
				"say whose account it is on with --runner NAME"}
		}
		g, err := renamed(found[0].Account, name)
		if err != nil {
			return nil, err
		}
		picked = append(picked, g)
	}
	return picked, nil
}

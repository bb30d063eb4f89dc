package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// choice says which groups a command is about.
type choice struct {
	config, runner, tokenFile string
	groups                    []string
	whole                     bool // all groups of an account, whatever their names
}

// group is one group, the account that it is on, and what of it is to be deleted.
type group struct {
	config.Account
	from   string               // where it was found, for messages
	api    *digitalocean.Client // that all groups of the account share
	listed time.Time            // when its Droplets were, by DigitalOcean's clock
	items  []*item
}

// find returns the groups that were chosen, each once. With an error they are those whose account is known all the same.
//
// Invariant: which groups share an account is found out here, and their client reads the token once: a file
// that has another account's token by the time a person has answered would show every Droplet gone.
// (TestScripts, rm-other-token)
func (c choice) find() (found []group, err error) {
	groups, unread := c.chosen()
	for _, g := range groups {
		i := slices.IndexFunc(found, func(o group) bool { return sameAccount(o.Account, g.Account) })
		if i >= 0 {
			g.api = found[i].api
		} else if g.api, err = provider.Client(g.APIURL, g.Token, nil); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(o group) bool { return o.Name == g.Name && o.api == g.api }) {
			found = append(found, g)
		}
	}
	return found, unread
}

// chosen returns the groups that were chosen, as find does.
//
// Invariant: a group is looked for on every account that has a runner with it, and never on one
// that may be another's: one that is not in the file, since it was renamed there, may be of any
// runner. (TestScripts, unread-runner)
func (c choice) chosen() (found []group, err error) {
	byHand, err := c.withoutFile()
	if err != nil {
		return nil, err
	}
	if byHand {
		return c.byHand()
	}
	file, err := c.load()
	if err != nil {
		return nil, err
	}
	runners, err := c.runners(file)
	if err != nil {
		return nil, err
	}
	if len(c.groups) == 0 {
		return groupsOf(file, runners)
	}
	for _, name := range c.groups {
		named := slices.DeleteFunc(slices.Clone(runners), func(r runnerconfig.Runner) bool { return writtenName(r) != name })
		if len(named) == 0 {
			named = runners
		}
		groups, err := groupsOf(file, named)
		if err == nil && groups[0].Name != name {
			groups, err = renamed(groups, name)
		}
		if err != nil {
			return nil, err
		}
		found = append(found, groups...) // of several accounts, maybe
	}
	return found, nil
}

// renamed is a group of the account that others are on, if that is one.
func renamed(others []group, name string) ([]group, error) {
	g := others[0]
	if err := config.CheckName(name); err != nil {
		return nil, misuse("--group: " + err.Error())
	}
	if slices.ContainsFunc(others, func(o group) bool { return !sameAccount(o.Account, g.Account) }) {
		return nil, hinted{misuse(fmt.Sprintf("config.toml has no group %q, and more than one account", name)),
			"say whose account it is on with --runner NAME"}
	}
	g.Name, g.from = name, "--group"
	return []group{g}, nil
}

// groupsOf reads what runners say of their accounts. The error is of those that cannot be read.
func groupsOf(file *runnerconfig.File, runners []runnerconfig.Runner) (found []group, err error) {
	var faults []error
	for _, r := range runners {
		if g, err := groupOf(file, r); err != nil {
			faults = append(faults, err)
		} else {
			found = append(found, g)
		}
	}
	if faults != nil {
		return found, hinted{errors.Join(faults...), program + " doctor --config " + file.Path}
	}
	return found, nil
}

// groupOf reads what a runner's plugin_config says of its account.
func groupOf(file *runnerconfig.File, r runnerconfig.Runner) (group, error) {
	data, err := json.Marshal(r.Autoscaler.PluginConfig)
	if err != nil { // a number that JSON does not have, such as inf
		return group{}, fmt.Errorf("%s: plugin_config: %w", file.At(r.Key("autoscaler.plugin_config")), err)
	}
	a, err := config.ParseAccount(data, config.ThisHost())
	faults, _ := errors.AsType[config.Faults](err)
	if err == nil && a.Name == "" {
		faults = config.Faults{{Key: "name", Text: "is required"}}
	}
	var lines []error
	for _, f := range faults {
		lines = append(lines, fmt.Errorf("%s: %w", file.At(r.Key("autoscaler.plugin_config."+f.Key)), f))
	}
	return group{Account: a}, errors.Join(lines...)
}

// writtenName is a group's name as config.toml has it, whatever is wrong beside it.
func writtenName(r runnerconfig.Runner) string {
	name, _ := r.Autoscaler.PluginConfig["name"].(string)
	return name
}

// runners returns the [[runners]] that use this plugin, or the one of them that was
// chosen.
func (c choice) runners(file *runnerconfig.File) ([]runnerconfig.Runner, error) {
	var found []runnerconfig.Runner
	var names []string
	for _, r := range file.Runners {
		if r.OurPlugin() {
			names = append(names, r.Name)
			if c.runner == "" || r.Name == c.runner {
				found = append(found, r)
			}
		}
	}
	switch {
	case len(names) == 0:
		return nil, hinted{fmt.Errorf("%s: no [[runners]] has plugin = %q", file.Path, program),
			whichFile + noFile + "; migrate converts docker+machine runners"}
	case len(found) == 0:
		return nil, hinted{misuse(fmt.Sprintf("%s: no [[runners]] that uses this plugin is named %q", file.Path, c.runner)),
			"--runner is one of " + strings.Join(quoted(names), ", ")}
	}
	return found, nil
}

const (
	showGroups = "give --group NAME; ls --whole-account shows which there are"

	whichFile = "name the runner's file with --config FILE"
	noFile    = ", or give --token-file FILE and --group NAME"
)

// load reads the config.toml.
func (c choice) load() (*runnerconfig.File, error) {
	file, err := runnerconfig.Load(c.configFile())
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, unopened(noConfig{cause}, whichFile+noFile)
	}
	if err != nil {
		return nil, hinted{err, "the runner cannot read it either"}
	}
	return file, nil
}

// unopened is a file that could not be opened, and what to do about it.
func unopened(err error, hint string) error {
	if errors.Is(err, fs.ErrPermission) {
		hint = "sudo " + program + " ..."
	}
	return hinted{err, hint}
}

// noConfig is a config.toml that cannot be opened.
type noConfig struct{ *fs.PathError }

func (n noConfig) Error() string {
	return fmt.Sprintf("%s: %v: groups and their token are looked for in the runner's config.toml", n.Path, n.Err)
}

// configFile is where the runner has its config.toml.
func (c choice) configFile() string {
	switch file := os.Getenv("CONFIG_FILE"); { // the runner's own variable
	case c.config != "":
		return c.config
	case file != "":
		return file
	case runtime.GOOS == "windows":
		return "config.toml" // of the working directory, which is the service's
	case os.Geteuid() != 0:
		if home, err := os.UserHomeDir(); err == nil {
			own := filepath.Join(home, ".gitlab-runner", "config.toml")
			if _, err := os.Stat(own); err == nil {
				return own
			}
		}
	}
	return "/etc/gitlab-runner/config.toml"
}

// withoutFile reports whether the groups are chosen without a config.toml.
func (c choice) withoutFile() (bool, error) {
	if c.tokenFile != "" {
		if c.config != "" || c.runner != "" {
			return false, misuse("--token-file goes without a config.toml, so without --config and --runner")
		}
		return true, nil
	}
	token := cmp.Or(os.Getenv("DIGITALOCEAN_TOKEN"), os.Getenv("DIGITALOCEAN_ACCESS_TOKEN"))
	if c.config != "" || c.runner != "" || token == "" {
		return false, nil
	}
	_, err := os.Stat(c.configFile())
	return errors.Is(err, fs.ErrNotExist), nil
}

// byHand returns the groups that are chosen without a config.toml.
func (c choice) byHand() (found []group, err error) {
	if len(c.groups) == 0 && !c.whole {
		return nil, hinted{misuse("without a config.toml the group has to be named"), showGroups}
	}
	given, source := map[string]string{"token_file": c.tokenFile}, "--token-file "+c.tokenFile
	if fromStdin(c.tokenFile) { // once: a file would be read again
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return nil, misuse("standard input has no token")
		}
		given, source = map[string]string{"token": string(text)}, "standard input"
	}
	data, _ := json.Marshal(given) // strings
	a, err := config.ParseAccount(data, config.ThisHost())
	if err != nil {
		return nil, err
	}
	if c.tokenFile != "" {
		a.Token.Source = source
	}
	account := []group{{Account: a}}
	if c.whole {
		return account, nil
	}
	for _, name := range c.groups {
		g, err := renamed(account, name)
		if err != nil {
			return nil, err
		}
		found = append(found, g...)
	}
	return found, nil
}

// fault says about which group an error is. That of a whole account has no name.
func (g group) fault(err error) error {
	if g.Name == "" {
		return err
	}
	return fmt.Errorf("group %s: %w", g.Name, err)
}

// sameAccount reports whether two groups are on one account: by one token. Two tokens may
// be of one account too, which nothing tells.
func sameAccount(a, b config.Account) bool {
	one, err := a.Token.Read()
	other, oerr := b.Token.Read()
	return a.APIURL == b.APIURL && err == nil && oerr == nil && one.Equal(other)
}

// byAccount are the groups of each account.
func byAccount(groups []group) (accounts [][]group) {
	for _, g := range groups {
		i := slices.IndexFunc(accounts, func(a []group) bool { return a[0].api == g.api })
		if i < 0 {
			accounts = append(accounts, nil)
			i = len(accounts) - 1
		}
		accounts[i] = append(accounts[i], g)
	}
	return accounts
}

func groupNames(groups []group) string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	if len(names) == 1 {
		return "group " + names[0]
	}
	return "the groups " + strings.Join(names, ", ")
}

func quoted(names []string) []string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return q
}

package main

import (
	"bytes"
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

// group is one group, and the account that it is on.
type group struct {
	config.Account
	from   string // where it was found, for messages
	unread error  // why its account is not known: then it has a Name at most. Only within find
}

// find returns the groups that were chosen. unread is why there may be others: it is nil
// if they were named, since all of those are known.
func (c choice) find(t *terminal) (found []group, unread, err error) {
	c.groups = slices.Compact(slices.Sorted(slices.Values(c.groups))) // one that is named twice counts once
	byHand, err := c.withoutFile()
	if err != nil {
		return nil, nil, err
	}
	if byHand {
		found, err = c.byHand()
		return found, nil, err
	}
	file, err := c.load()
	if err != nil {
		return nil, nil, err
	}
	runners, err := c.runners(file)
	if err != nil {
		return nil, nil, err
	}
	var all []group
	for _, r := range runners {
		g := groupOf(file, r)
		same := func(o group) bool { return o.unread == nil && o.Name == g.Name && sameAccount(o.Account, g.Account) }
		if i := slices.IndexFunc(all, same); i >= 0 && g.unread == nil {
			t.say("warning", "%s: group %s is that of %s too; it counts once", g.from, g.Name, all[i].from)
			continue
		}
		all = append(all, g)
	}
	isUnread := func(g group) bool { return g.unread != nil }
	found = slices.DeleteFunc(slices.Clone(all), isUnread)
	unread = unreadFault(file, all)
	switch {
	case len(found) == 0:
		return nil, nil, unread
	case len(c.groups) == 0:
		return found, unread, nil
	}
	if found, err = c.named(file, all); err != nil {
		return nil, nil, err
	}
	if unread != nil {
		t.say("warning", "%v", unread)
	}
	return found, nil, nil
}

// named picks the groups that --group names.
//
// Invariant: a group is looked for on every account that has a runner with it, and never on one
// that may be another's. One whose own [[runners]] cannot be read is that runner's fault, and one
// that is not in the file, since it was renamed there, may be of any runner that cannot be read.
// (TestScripts, unread-runner)
func (c choice) named(file *runnerconfig.File, all []group) ([]group, error) {
	var picked []group
	for _, name := range c.groups {
		other := func(g group) bool { return g.Name != name }
		same := slices.DeleteFunc(slices.Clone(all), other)
		if fault := unreadFault(file, same, fmt.Errorf("group %s is on an account that is not known so; nothing was done", name)); fault != nil {
			return nil, fault
		}
		if len(same) > 0 {
			picked = append(picked, same...) // of several accounts, maybe
			continue
		}
		if fault := unreadFault(file, all, fmt.Errorf("%s has no other group %q, which may be on an account that is not known so; "+
			"nothing was done (--runner NAME says whose account it is on)", file.Path, name)); fault != nil {
			return nil, fault
		}
		if len(byAccount(all)) > 1 {
			return nil, hinted{misuse(fmt.Sprintf("%s has no group %q, and more than one account", file.Path, name)),
				"say whose account it is on with --runner NAME"}
		}
		g, err := renamed(all[0].Account, name)
		if err != nil {
			return nil, err
		}
		picked = append(picked, g)
	}
	return picked, nil
}

// unreadFault is why the accounts of some of the groups are not known; nil if all are.
func unreadFault(file *runnerconfig.File, groups []group, more ...error) error {
	var faults []error
	for _, g := range groups {
		if g.unread != nil {
			faults = append(faults, g.unread)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return hinted{errors.Join(append(faults, more...)...), program + " doctor --config " + file.Path}
}

// groupOf reads what a runner's plugin_config says of its account.
func groupOf(file *runnerconfig.File, r runnerconfig.Runner) group {
	g := group{from: file.At(r.Key("autoscaler.plugin_config"))}
	data, err := json.Marshal(r.Autoscaler.PluginConfig)
	if err != nil {
		err = fmt.Errorf("%s: plugin_config: %w", g.from, err)
	} else if g.Account, err = config.ParseAccount(data, config.ThisHost()); err == nil && g.Name == "" {
		err = config.Faults{{Key: "name", Text: "is required"}}
	}
	if faults, ok := errors.AsType[config.Faults](err); ok {
		var lines []error
		for _, f := range faults {
			lines = append(lines, fmt.Errorf("%s: %w", file.At(r.Key("autoscaler.plugin_config."+f.Key)), f))
		}
		err = errors.Join(lines...)
	}
	if err != nil {
		return group{config.Account{Name: writtenName(r)}, g.from, err}
	}
	return g
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
		return nil, hinted{fmt.Errorf("%s: no [[runners]] has plugin = %q; %d use docker+machine", file.Path, program, old),
			program + " migrate " + file.Path}
	case len(names) == 0:
		return nil, hinted{fmt.Errorf("%s: no [[runners]] has plugin = %q", file.Path, program), whichFile}
	case len(found) == 0:
		return nil, hinted{misuse(fmt.Sprintf("%s: no [[runners]] that uses this plugin is named %q", file.Path, c.runner)),
			"--runner is one of " + strings.Join(quoted(names), ", ")}
	}
	return found, nil
}

const whichFile = "name the runner's file with --config FILE, or give --token-file FILE and --group NAME"

// load reads the config.toml.
func (c choice) load() (*runnerconfig.File, error) {
	file, err := runnerconfig.Load(c.configFile())
	switch cause, ok := errors.AsType[*fs.PathError](err); {
	case err == nil:
		return file, nil
	case !ok:
		return nil, hinted{err, program + " doctor --config " + c.configFile()}
	case errors.Is(err, fs.ErrPermission):
		return nil, hinted{noConfig{cause}, "sudo " + program + " ..."}
	default:
		return nil, hinted{noConfig{cause}, whichFile}
	}
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
	if c.config != "" || c.runner != "" || !tokenInEnvironment() {
		return false, nil
	}
	_, err := os.Stat(c.configFile())
	return errors.Is(err, fs.ErrNotExist), nil
}

func tokenInEnvironment() bool {
	return os.Getenv("DIGITALOCEAN_TOKEN") != "" || os.Getenv("DIGITALOCEAN_ACCESS_TOKEN") != ""
}

// maxToken bounds what is read of a token on standard input, in bytes. A token has some 71.
const maxToken = 64 << 10

// byHand returns the groups that are chosen without a config.toml.
func (c choice) byHand() ([]group, error) {
	if len(c.groups) == 0 && !c.whole {
		return nil, hinted{misuse("without a config.toml the group has to be named"), "give --group NAME; ls --whole-account shows which there are"}
	}
	given, flag, source := map[string]string{"token_file": c.tokenFile}, "--token-file", "--token-file "+c.tokenFile
	if c.tokenFile == "-" || c.tokenFile == "/dev/stdin" { // once: a file would be read again
		text, err := io.ReadAll(io.LimitReader(os.Stdin, maxToken))
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return nil, misuse("standard input has no token")
		}
		given, flag, source = map[string]string{"token": string(text)}, "standard input:", "standard input"
	}
	data, err := json.Marshal(given)
	if err != nil {
		return nil, err
	}
	a, err := config.ParseAccount(data, config.ThisHost())
	if faults, ok := errors.AsType[config.Faults](err); ok && c.tokenFile != "" && len(faults) == 1 {
		return nil, hinted{fmt.Errorf("%s %s", flag, faults[0].Text), "give a file with nothing but the token in it"}
	}
	if err != nil {
		return nil, err
	}
	if c.tokenFile != "" {
		a.Token.Source = source
	}
	if c.whole {
		return []group{{Account: a, from: "--token-file"}}, nil
	}
	var found []group
	for _, name := range c.groups {
		g, err := renamed(a, name)
		if err != nil {
			return nil, err
		}
		found = append(found, g)
	}
	return found, nil
}

// renamed is another group of a's account.
func renamed(a config.Account, name string) (group, error) {
	if err := config.CheckName(name); err != nil {
		return group{}, misuse("--group: " + err.Error())
	}
	a.Name = name
	return group{Account: a, from: "--group"}, nil
}

// fault says about which group an error is.
func (g group) fault(err error) error {
	return fmt.Errorf("group %s: %w", g.Name, digitalocean.Explain(err, g.Token.Source))
}

// open returns a client of the group's account. Its Close is the caller's to call.
func (g group) open() (*digitalocean.Client, error) {
	return provider.Client(g.APIURL, g.Token, nil)
}

// sameAccount reports whether two groups are on one account: by one token. Two tokens may
// be of one account too, which nothing tells.
func sameAccount(a, b config.Account) bool {
	if a.APIURL != b.APIURL {
		return false
	}
	if a.Token.File == b.Token.File && a.Token.Value.Equal(b.Token.Value) {
		return true
	}
	one, err := a.Token.Read()
	other, oerr := b.Token.Read()
	return err == nil && oerr == nil && one.Equal(other)
}

// ofGroup is a group, or what a command knows of one.
type ofGroup interface{ account() config.Account }

func (g group) account() config.Account { return g.Account }

// byAccount are the groups of each account.
func byAccount[G ofGroup](groups []G) (accounts [][]G) {
	for _, g := range groups {
		i := slices.IndexFunc(accounts, func(a []G) bool { return sameAccount(a[0].account(), g.account()) })
		if i < 0 {
			accounts = append(accounts, nil)
			i = len(accounts) - 1
		}
		accounts[i] = append(accounts[i], g)
	}
	return accounts
}

func groupNames[G ofGroup](groups []G) string {
	var names []string
	for _, g := range groups {
		names = append(names, g.account().Name)
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

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

	"golang.org/x/term"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
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
	file     *runnerconfig.File // nil = there is none
	runner   runnerconfig.Runner
	from     string               // where it was found, for messages
	unread   error                // why its account is not known
	unlisted bool                 // --group names it, and config.toml does not have it
	api      *digitalocean.Client // that all groups of the account share
	shared   *inventory.Account   // which they share too
}

// find returns the groups that were chosen, each once; with an error those whose account is known all the same. Groups of an
// account share a client, which reads the token once: its file may have another's by the time a person answers.
// (TestScripts, rm-other-token)
func (c choice) find() (found []group, err error) {
	groups, err := c.read()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if g.unread != nil {
			err = errors.Join(err, g.unread)
			continue
		}
		if i := slices.IndexFunc(found, func(o group) bool { return sameAccount(o.Account, g.Account) }); i >= 0 {
			g.api, g.shared = found[i].api, found[i].shared
		} else {
			var fault error
			if g.api, fault = provider.Client(g.APIURL, g.Token, nil); fault != nil {
				return nil, fault
			}
			g.shared = &inventory.Account{}
		}
		if c.whole {
			g.Name = ""
		}
		if !slices.ContainsFunc(found, func(o group) bool { return o.Name == g.Name && o.api == g.api }) {
			found = append(found, g)
		}
	}
	return found, err
}

// read returns the groups that were chosen, as they are written.
func (c choice) read() (found []group, err error) {
	all, err := c.sections()
	if err != nil {
		return nil, err
	}
	return c.named(all)
}

// sections returns a group for each [[runners]] that was chosen, or those that are chosen without a config.toml.
func (c choice) sections() (all []group, err error) {
	if c.withoutFile() {
		return c.byHand()
	}
	file, err := c.load(noFile)
	if err != nil {
		return nil, err
	}
	runners, err := c.runners(file)
	if err != nil {
		return nil, err
	}
	for _, r := range runners {
		all = append(all, groupOf(file, r))
	}
	return all, nil
}

// named returns those of groups that --group names, on every account that has them. One that is not in the file, since it was
// renamed there, is never looked for on an account that may be another's. (TestScripts, unread-runner)
func (c choice) named(all []group) (found []group, err error) {
	if len(c.groups) == 0 {
		return all, nil
	}
	for _, name := range c.groups {
		these := slices.DeleteFunc(slices.Clone(all), func(g group) bool { return g.Name != name })
		renamed := len(these) == 0
		if renamed {
			these = all
		}
		for _, g := range these {
			if g.unread != nil {
				return nil, g.unread
			}
		}
		if renamed {
			if err := config.CheckName(name); err != nil {
				return nil, misuse("--group: " + err.Error())
			}
			g := all[0]
			if slices.ContainsFunc(all, func(o group) bool { return !sameAccount(o.Account, g.Account) }) {
				return nil, hinted{misuse(fmt.Sprintf("config.toml has no group %q, and more than one account", name)),
					"say whose account it is on with --runner NAME, or --token-file FILE"}
			}
			g.unlisted = g.Name != ""
			g.Name, g.from = name, "--group"
			these = []group{g}
		}
		found = append(found, these...) // of several accounts, maybe
	}
	return found, nil
}

// groupOf reads what a runner's plugin_config says of its account.
func groupOf(file *runnerconfig.File, r runnerconfig.Runner) group {
	g := group{file: file, runner: r}
	data, err := json.Marshal(r.Autoscaler.PluginConfig)
	if err == nil { // else it has a number that JSON does not have, such as inf
		g.Account, err = config.ParseAccount(data, config.ThisHost())
	}
	if err == nil && g.Name == "" {
		err = config.Faults{{Key: "name", Text: "is required"}}
	}
	if faults, ok := errors.AsType[config.Faults](err); ok {
		err = nil
		for _, f := range faults {
			err = errors.Join(err, fmt.Errorf("%s: %w", file.At(r.Key("autoscaler.plugin_config."+f.Key)), f))
		}
	}
	if err != nil {
		g.unread = hinted{err, choice{config: file.Path}.command("doctor")}
	}
	g.Name = r.PluginKey("name") // whatever is wrong beside it
	return g
}

// runners returns the [[runners]] that use this plugin, or the one that was chosen.
func (c choice) runners(file *runnerconfig.File) ([]runnerconfig.Runner, error) {
	found := slices.DeleteFunc(slices.Clone(file.Runners), func(r runnerconfig.Runner) bool {
		return !r.OurPlugin() || c.runner != "" && r.Name != c.runner
	})
	switch {
	case len(found) > 0:
		return found, nil
	case c.runner != "":
		return nil, misuse(fmt.Sprintf("%s: no [[runners]] that uses this plugin is named %q", file.Path, c.runner))
	}
	return nil, hinted{fmt.Errorf("%s: no [[runners]] has plugin = %q", file.Path, program),
		whichFile + noFile + "; migrate converts docker+machine runners"}
}

const (
	whichFile = "name the runner's file with --config FILE"
	noFile    = ", or give --token-file FILE and --group NAME"
)

// load reads the config.toml. otherwise is what a hint says besides, where it cannot be opened.
func (c choice) load(otherwise string) (*runnerconfig.File, error) {
	file, err := runnerconfig.Load(c.configFile())
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, unopened(fmt.Errorf("%s: %w", cause.Path, cause.Err), whichFile+otherwise)
	}
	return file, err
}

// unopened is a file that could not be opened, and what to do about it.
func unopened(err error, hint string) error {
	if errors.Is(err, fs.ErrPermission) {
		hint = asRoot()
	}
	return hinted{err, hint}
}

// configFile is where the runner has its config.toml.
func (c choice) configFile() string {
	switch file := cmp.Or(c.config, os.Getenv("CONFIG_FILE")); { // the runner's own variable
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
func (c choice) withoutFile() bool {
	switch {
	case c.tokenFile != "":
		return true
	case c.config != "" || c.runner != "" || os.Getenv("DIGITALOCEAN_TOKEN")+os.Getenv("DIGITALOCEAN_ACCESS_TOKEN") == "":
		return false
	}
	_, err := os.Stat(c.configFile())
	return errors.Is(err, fs.ErrNotExist)
}

// byHand returns the groups that are chosen without a config.toml.
func (c choice) byHand() (found []group, err error) {
	if len(c.groups) == 0 && !c.whole {
		return nil, hinted{misuse("without a config.toml the group has to be named"),
			"give --group NAME; " + c.command("ls", "--whole-account") + " shows which there are"}
	}
	given := map[string]string{"token_file": c.tokenFile}
	if fromStdin(c.tokenFile) { // once: a file would be read again
		if term.IsTerminal(int(os.Stdin.Fd())) {
			fmt.Fprintln(os.Stderr, "paste the token, then Enter and Ctrl-D")
		}
		text, err := io.ReadAll(io.LimitReader(os.Stdin, maxConfig))
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return nil, misuse("standard input has no token")
		}
		given = map[string]string{"token": string(text)}
	}
	data, _ := json.Marshal(given) // strings
	g := group{}
	g.Account, err = config.ParseAccount(data, config.ThisHost())
	if faults, ok := errors.AsType[config.Faults](err); ok { // there is no plugin_config that they could be in
		err = nil
		for _, f := range faults {
			if c.tokenFile != "" && strings.HasPrefix(f.Key, "token") {
				f.Text = "--token-file: " + f.Text
			}
			err = errors.Join(err, errors.New(f.Text))
		}
		return nil, err
	}
	if c.tokenFile != "" {
		g.Token.Source = "--token-file " + c.tokenFile
	}
	return c.named([]group{g})
}

// fault says about which group an error is. That of a whole account has no name.
func (g group) fault(err error) error {
	if g.Name == "" {
		return err
	}
	return fmt.Errorf("group %s: %w", g.Name, err)
}

// sameAccount reports whether two groups have one token. Two tokens of one account nothing shows.
func sameAccount(a, b config.Account) bool {
	one, err := a.Token.Read()
	other, oerr := b.Token.Read()
	return a.APIURL == b.APIURL && err == nil && oerr == nil && one.Equal(other)
}

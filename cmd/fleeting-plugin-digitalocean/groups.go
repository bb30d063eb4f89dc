package main

import (
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
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// choice says which groups a command is about.
type choice struct {
	config, runner, tokenFile string
	groups                    []string
	all                       bool // all of an account, whatever their names
}

// account is the flags by which another command finds the same account.
func (c choice) account() string {
	flags := ""
	if c.tokenFile != "" {
		flags += " --token-file " + c.tokenFile
	}
	if c.config != "" {
		flags += " --config " + c.config
	}
	if c.runner != "" {
		flags += fmt.Sprintf(" --runner %q", c.runner)
	}
	return flags
}

// group is one group, and the account that it is on.
type group struct {
	config.Account
	from string // where it was found, for messages
}

// open returns a client of the group's account. Its Close is the caller's to call.
func (g group) open() (*digitalocean.Client, error) {
	return digitalocean.New(digitalocean.Options{
		URL:       g.APIURL,
		UserAgent: "fleeting-plugin-digitalocean/" + provider.Version.Version,
		Token: func() (string, error) {
			t, err := g.Token.Read()
			return t.Reveal(), err
		},
	})
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
	found, faulty, err := c.inFile(file)
	if err != nil {
		return nil, nil, err
	}
	found = distinct(t, found)
	if len(c.groups) > 0 {
		found, err = c.named(file, found, faulty)
	}
	if err != nil || len(faulty) == 0 {
		return found, nil, err
	}
	unread = unreadFault(file, faulty)
	if len(c.groups) > 0 && !c.all {
		t.say("warning", "%v", unread)
		return found, nil, nil
	}
	return found, unread, nil
}

// distinct leaves out what is there twice: two [[runners]] with one group, of which
// only one can work.
func distinct(t *terminal, groups []group) []group {
	var out []group
	for _, g := range groups {
		i := slices.IndexFunc(out, func(o group) bool { return o.Name == g.Name && sameAccount(o.Account, g.Account) })
		if i >= 0 {
			t.say("warning", "%s: group %s is that of %s too; it counts once", g.from, g.Name, out[i].from)
			continue
		}
		out = append(out, g)
	}
	return out
}

// explain says about which group an error is, where there is more than one.
func (g group) explain(err error, groups int) error {
	err = digitalocean.Explain(err, g.Token.Source)
	if groups > 1 {
		err = fmt.Errorf("group %s (%s): %w", g.Name, g.from, err)
	}
	return err
}

// fault says about which group an error is.
func (g group) fault(err error) error {
	return fmt.Errorf("group %s: %w", g.Name, digitalocean.Explain(err, g.Token.Source))
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

// load reads the config.toml.
func (c choice) load() (*runnerconfig.File, error) {
	file, err := runnerconfig.Load(c.configFile())
	switch cause, ok := errors.AsType[*fs.PathError](err); {
	case err == nil:
		return file, nil
	case !ok:
		return nil, hinted{err, "fleeting-plugin-digitalocean doctor --config " + c.configFile()}
	default:
		hint := "name the runner's file with --config FILE, or give --token-file FILE and --group NAME"
		if errors.Is(err, fs.ErrPermission) {
			hint = "sudo fleeting-plugin-digitalocean ..."
		}
		return nil, hinted{noConfig{cause}, hint}
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

// accounts are those of a command's groups, of which each is listed once.
type accounts []listedAccount

type listedAccount struct {
	config.Account
	inventory *inventory.Account
}

// of returns what groups share on an account.
func (l *accounts) of(a config.Account) *inventory.Account {
	i := slices.IndexFunc(*l, func(o listedAccount) bool { return sameAccount(o.Account, a) })
	if i < 0 {
		i = len(*l)
		*l = append(*l, listedAccount{a, &inventory.Account{}})
	}
	return (*l)[i].inventory
}

// maxToken bounds what is read of a token on standard input, in bytes. A token has some 71.
const maxToken = 64 << 10

// byHand returns the groups that are chosen without a config.toml.
func (c choice) byHand() ([]group, error) {
	if len(c.groups) == 0 && !c.all {
		return nil, hinted{misuse("without a config.toml the group has to be named"), "give --group NAME"}
	}
	given := map[string]string{"token_file": c.tokenFile}
	source := "--token-file " + c.tokenFile
	if c.tokenFile == "-" || c.tokenFile == "/dev/stdin" { // once: the token may be asked for again
		text, err := io.ReadAll(io.LimitReader(os.Stdin, maxToken))
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		given, source = map[string]string{"token": string(text)}, "standard input"
	}
	data, err := json.Marshal(given)
	if err != nil {
		return nil, err
	}
	a, err := config.ParseAccount(data, config.ThisHost())
	if faults, ok := errors.AsType[config.Faults](err); ok && c.tokenFile != "" && len(faults) == 1 {
		return nil, hinted{fmt.Errorf("%s %s", strings.TrimSuffix(source, " "+c.tokenFile), faults[0].Text), "give a file with nothing but the token in it"}
	}
	if err != nil {
		return nil, err
	}
	if c.tokenFile != "" {
		a.Token.Source = source
	}
	if c.all {
		return []group{{a, "--token-file"}}, nil
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
	return group{a, "--group"}, nil
}

func tokenInEnvironment() bool {
	return os.Getenv("DIGITALOCEAN_TOKEN") != "" || os.Getenv("DIGITALOCEAN_ACCESS_TOKEN") != ""
}

func quoted(names []string) []string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return q
}

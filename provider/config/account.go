package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Account is the part of a plugin_config that says to which account a group belongs. It is all that a person's
// commands need, also of a plugin_config with other faults.
type Account struct {
	Name   string // of the group; "" if it is not given
	Token  Token
	APIURL string // in one spelling, see normalURL
}

// ParseAccount is Parse that passes over the faults of keys that are not in an Account, and over a name that is not given. A
// key that may be one of an Account, misspelt, is a fault: what is deleted must not depend on a token from elsewhere. With an
// error, a [Faults], the Account is zero.
func ParseAccount(data []byte, host Host) (Account, error) {
	c, err := Parse(data, host)
	faults, _ := errors.AsType[Faults](err)
	faults = slices.DeleteFunc(faults, func(f Fault) bool {
		isOrMayBe := func(key string) bool { return Faults{f}.Has(key) || strings.Contains(f.Hint, strconv.Quote(key)) }
		return f.Key == "name" && f.Text == errMissing.Error() ||
			!slices.ContainsFunc([]string{"name", "token", "token_file", "api_url"}, isOrMayBe)
	})
	if len(faults) > 0 {
		return Account{}, faults
	}
	return c.Account, nil
}

// Token says where the token comes from: the first that is set of the keys token and token_file and the environment
// variables DIGITALOCEAN_TOKEN and DIGITALOCEAN_ACCESS_TOKEN. Either Value or File is set.
type Token struct {
	Value  Secret
	File   string // a path, read by every Read
	Source string // for messages: `plugin_config.token_file /etc/do-token`, `the environment variable DIGITALOCEAN_TOKEN`
}

// Read returns the token. One in a file is read from this machine's disk again, so that it can be rotated without a
// restart. The error names the Source, and never holds the token.
func (t Token) Read() (Secret, error) {
	if t.File == "" {
		return t.Value, nil
	}
	token, err := ThisHost().content(t.Source, t.File, checkToken)
	return NewSecret(token), err
}

// Host is what of the machine a plugin_config may refer to. Neither field may be nil.
type Host struct {
	Getenv   func(name string) string                       // "" = it is not set
	ReadFile func(path string, limit int64) ([]byte, error) // a file longer than limit bytes is an error
}

// ThisHost is the machine that the plugin runs on.
func ThisHost() Host { return Host{Getenv: os.Getenv, ReadFile: readFile} }

func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe that nobody writes to blocks for ever
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("it is larger than %d bytes", limit)
	}
	return os.ReadFile(path)
}

// maxFile bounds what is read of a token's file, which has some 71 bytes, and is DigitalOcean's limit of user data.
const maxFile = 64 << 10

// content returns what is in a file, once it is checked. The error begins with the name of the file, and has no path of its
// own: it may be a token in the wrong place.
func (h Host) content(name, path string, check func(string) (string, error)) (text string, err error) {
	content, err := h.ReadFile(path, maxFile)
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", name, err)
	}
	if text, err = check(string(content)); err != nil {
		return "", fmt.Errorf("%s %w", name, err)
	}
	return text, nil
}

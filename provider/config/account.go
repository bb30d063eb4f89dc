package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Account is the part of a plugin_config that says to which account a group belongs. It is all that a person's
// commands need, also of a plugin_config with other faults.
type Account struct {
	Name   string // of the group; "" if it is not given
	Token  Token
	APIURL string
}

// ParseAccount is Parse that passes over the faults of keys that are not in an Account, and over a name that is not given. A
// key that may be one of an Account, misspelt, is a fault: what is deleted must not depend on a token from elsewhere. With an
// error, a [Faults], the Account is zero.
func ParseAccount(data []byte, host Host) (Account, error) {
	c, err := Parse(data, host)
	faults, _ := errors.AsType[Faults](err)
	faults = slices.DeleteFunc(faults, func(f Fault) bool {
		of := func(key string) bool { return Faults{f}.Has(key) || strings.Contains(f.Hint, strconv.Quote(key)) }
		return f.Key == "name" && f.Text == errMissing.Error() || !slices.ContainsFunc([]string{"name", "token", "token_file", "api_url"}, of)
	})
	if len(faults) > 0 {
		return Account{}, faults
	}
	return Account{Name: c.Name, Token: c.Token, APIURL: c.APIURL}, nil
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
	token, err := readChecked(ThisHost(), t.File, maxTokenFile, checkToken)
	if err != nil {
		return Secret{}, fmt.Errorf("%s %w", t.Source, err)
	}
	return NewSecret(token), nil
}

// maxTokenFile bounds what is read of a token file, in bytes. A token has some 71.
const maxTokenFile = 64 << 10

// checkToken accepts what can be sent in a header. Its error follows the source in a sentence.
func checkToken(content string) (string, error) {
	token := strings.TrimSpace(content)
	if token == "" {
		return "", errors.New("is empty: put the token into it")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("holds something other than a token, which is printable ASCII without spaces")
	}
	return token, nil
}

func (p *parser) tokenIsFrom() error {
	if t := &p.config.Token; !t.Value.IsZero() {
		t.Source = cmp.Or(p.variable, "plugin_config.token")
	}
	return nil
}

func (p *parser) tryTokenFile() error {
	t := &p.config.Token
	if t.Source != "" || p.faults.Has("token") {
		t.File = "" // an earlier source has it, or a fault says why it does not
	}
	if t.File == "" {
		return nil
	}
	if _, err := readChecked(p.host, t.File, maxTokenFile, checkToken); err != nil {
		return fmt.Errorf("%s %w", quote(t.File), err)
	}
	t.Source = "plugin_config.token_file " + t.File
	return nil
}

const defaultAPIURL = "https://api.digitalocean.com"

// defaultURL is not used after a fault: the token is not for another host.
func (p *parser) defaultURL() error {
	p.config.APIURL = cmp.Or(p.config.APIURL, defaultAPIURL)
	return nil
}

// normalURL checks the URL of the API, and returns it in one spelling, by which this host's plugins know that
// they are on the same account: scheme and host in lower case, without the scheme's port and a slash at the end. A fault
// never repeats a user name, a password or a query.
func normalURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("must be an absolute https URL, such as " + defaultAPIURL)
	}
	usualPort := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	u.Host = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(u.Host), usualPort), ":")
	normal := strings.TrimRight(u.String(), "/")
	address, err := netip.ParseAddr(u.Hostname())
	isLoopback := u.Hostname() == "localhost" || err == nil && address.IsLoopback()
	switch {
	case u.User != nil:
		return "", errors.New("must not hold a user name or a password")
	case strings.ContainsAny(text, "?#"):
		return "", errors.New("must not hold a query or a fragment")
	case u.Scheme == "http" && !isLoopback:
		return "", fmt.Errorf("must be https, or the token could be read on the way: plain http is for loopback hosts, and %s is not one",
			quote(u.Hostname()))
	case strings.HasSuffix(normal, "/v2"):
		return "", errors.New("must not end in the version, /v2, which is added to it")
	}
	return normal, nil
}

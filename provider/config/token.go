package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

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
	secret, err := readToken(ThisHost(), t.File)
	if err != nil {
		return Secret{}, fmt.Errorf("%s %w", t.Source, err)
	}
	return secret, nil
}

// maxTokenFile bounds what is read of a token file, in bytes. A token has some 71.
const maxTokenFile = 64 << 10

// readToken returns an error that follows the path in a sentence.
func readToken(host Host, path string) (Secret, error) {
	content, err := host.read(path, maxTokenFile)
	if err != nil {
		return Secret{}, err
	}
	token := strings.TrimSpace(string(content))
	if token == "" {
		return Secret{}, errors.New("is empty: put the token into it")
	}
	if err := checkToken(token); err != nil {
		return Secret{}, err
	}
	return NewSecret(token), nil
}

// checkToken accepts what can be sent in a header. Its error follows the source in a sentence.
func checkToken(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("holds something other than a token, which is printable ASCII without spaces")
	}
	return nil
}

// An empty token or token_file counts as not set: both are often filled in by templates, which leave them empty where
// the environment has the token.

func decodeToken(p *parser, value json.RawMessage) {
	text, ok := p.textOrEmpty(value)
	token := strings.TrimSpace(text)
	if !ok || token == "" {
		return
	}
	if err := checkToken(token); err != nil {
		p.fault("%v", err)
		return
	}
	p.config.Token = Token{Value: NewSecret(token), Source: "plugin_config.token"}
}

// decodeTokenFile also goes on to the environment, the sources that come after it.
func decodeTokenFile(p *parser, value json.RawMessage) {
	path, _ := p.textOrEmpty(value)
	switch {
	case p.config.Token.Source != "" || p.faulty("token") || p.faulty("token_file"):
		// An earlier source has it, or a fault says why it does not.
	case strings.TrimSpace(path) != "":
		p.tokenFromFile(path)
	default:
		p.key = "token"
		p.tokenFromEnvironment()
	}
}

func (p *parser) tokenFromFile(path string) {
	if tokenLike.MatchString(path) {
		p.faultHint("must be the path of a file, not the token itself", didYouMean("token"))
		return
	}
	if !p.checkPath(path) {
		return
	}
	if _, err := readToken(p.host, path); err != nil {
		p.fault("%s %v", quote(path), err)
		return
	}
	p.config.Token = Token{File: path, Source: "plugin_config.token_file " + path}
}

func (p *parser) tokenFromEnvironment() {
	for _, name := range []string{"DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"} {
		token := strings.TrimSpace(p.host.Getenv(name))
		if token == "" {
			continue
		}
		source := "the environment variable " + name
		if err := checkToken(token); err != nil {
			p.fault("%s %v", source, err)
			return
		}
		p.config.Token = Token{Value: NewSecret(token), Source: source}
		return
	}
	p.fault("is required: set token or token_file, or the environment variable DIGITALOCEAN_TOKEN or DIGITALOCEAN_ACCESS_TOKEN")
}

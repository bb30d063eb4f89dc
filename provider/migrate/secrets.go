package migrate

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// masked is a part of the text without the secrets of all of it.
func (d *document) masked(s span) string { return d.redact(edited(d.text, s, d.masks)) }

// findSecret takes down a secret, and where it stands.
func (d *document) findSecret(i runnerconfig.Item) {
	if i.Value == nil || i.Value.Kind != unstable.String || len(i.Value.Data) == 0 {
		return
	}
	text := string(i.Value.Data)
	secret := text
	path := strings.TrimRight(i.Key, ".0123456789") // without the numbers of elements
	if !sounds(path[strings.LastIndexByte(path, '.')+1:]) {
		var name string
		if name, secret = splitOption(text); name == "engine-env" { // MachineOptions, environment: NAME=value
			name, secret = splitOption(secret)
		}
		if secret == "" || !sounds(name) {
			return
		}
	}
	if !slices.ContainsFunc(d.secrets, func(s config.Secret) bool { return s.Reveal() == secret }) {
		d.secrets = append(d.secrets, config.NewSecret(secret))
	}
	at := span{int(i.Value.Raw.Offset), int(i.Value.Raw.Offset + i.Value.Raw.Length)}
	d.masks = append(d.masks, edit{at, toTOML(text[:strings.LastIndex(text, secret)] + "[secret]")})
}

var (
	secretName = regexp.MustCompile(`token|secret|password|passwd|accesskey|apikey|privatekey|credential|dsn|auth|passphrase|pwd|pass$`)
	plainName  = regexp.MustCompile(`^token(file|obtainedat|expiresat)$`)
)

// sounds reports whether the value of a key or an option is a secret, by its name.
func sounds(name string) bool {
	name = strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
	return secretName.MatchString(name) && !plainName.MatchString(name)
}

// redact returns a text without the known secrets and what looks like one.
func (d *document) redact(text string) string {
	for _, s := range d.secrets {
		if value := s.Reveal(); len(value) >= minRedact {
			text = strings.ReplaceAll(text, value, s.String())
		}
	}
	for _, e := range embedded {
		text = e.ReplaceAllString(text, "${1}[secret]${2}")
	}
	return config.Redact(text)
}

// embedded are secrets inside other texts, also where TOML has escaped their quotes: the password of a URL, the auth of a
// Docker configuration, tokens that have a prefix of their own (GitLab's, npm's, GitHub's, AWS's), and what user data
// calls a password.
var embedded = []*regexp.Regexp{
	regexp.MustCompile(`(://[^\s/:@"']*:)[^\s/@"']+(@)`),
	regexp.MustCompile(`((?:auth|identitytoken|registrytoken)\\*"\s*:\s*\\*")[^"\\]+()`),
	regexp.MustCompile(`\b((?:gl(?:pat|rt|rtr|dt|cbt|ft|soat|agent)-|npm_|gh[pousr]_|github_pat_|AKIA))[A-Za-z0-9_.-]{12,}()`),
	regexp.MustCompile(`(?i)((?:password|passwd|passphrase)\\*["']?\s*[:=]\s*\\*["']?)[^\s"'\\\[]+()`),
}

// minRedact is the length from which a secret is looked for in other texts: anything shorter may be part of a word.
const minRedact = 8

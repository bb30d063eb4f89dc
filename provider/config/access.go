package config

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// fingerprintPattern is the MD5 form: the only one that DigitalOcean's API takes.
var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){15}$`)

func decodeSSHKeys(p *parser, value json.RawMessage) {
	entries, ok := entriesOf(value, aString, aNumber)
	if !ok {
		p.mismatch("an id, a fingerprint or a list of them", value)
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if key, ok := p.sshKey(e); ok && p.once(seen, key) {
			p.config.SSHKeys = append(p.config.SSHKeys, key)
		}
	}
}

func (p *parser) sshKey(e entry) (key string, ok bool) {
	const expected = "must be the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account"
	written, number := literal(e.value), e.value
	switch kind := kindOf(e.value); kind {
	case aNumber:
	case aString:
		text := unquote(e.value)
		if fingerprint := strings.ToLower(text); fingerprintPattern.MatchString(fingerprint) {
			return fingerprint, true
		}
		written, number = quote(text), json.RawMessage(text)
		if text == "" || strings.Trim(text, "0123456789") != "" {
			p.faultHint(e.at+expected+", not "+written, proposeFingerprint(text))
			return "", false
		}
	default:
		p.fault("%s%s, not %s", e.at, expected, kind)
		return "", false
	}
	id, ok := whole(number)
	if !ok || id <= 0 {
		p.fault("%s%s, not %s", e.at, expected, written)
		return "", false
	}
	return strconv.Itoa(id), true
}

// proposeFingerprint returns a hint for the other forms in which people have a key at hand, or "".
func proposeFingerprint(text string) string {
	if _, rest, ok := strings.Cut(strings.ToLower(text), "md5:"); ok && fingerprintPattern.MatchString(rest) {
		return didYouMean(rest)
	}
	if strings.HasPrefix(text, "SHA256:") || strings.HasPrefix(text, "ssh-") || strings.HasPrefix(text, "ecdsa-") {
		return "ssh-keygen -E md5 -lf KEY.pub prints the fingerprint"
	}
	return ""
}

func decodeSSHKeyFile(p *parser, value json.RawMessage) { p.config.SSHKeyFile, _ = p.path(value) }

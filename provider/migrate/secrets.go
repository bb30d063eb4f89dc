package migrate

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// findSecrets takes down every secret of the file before anything is written about
// it: no note, comment or diff of one runner may show that of another.
func (m *migration) findSecrets() {
	take := func(value string) {
		if value != "" && !slices.ContainsFunc(m.redact, func(s config.Secret) bool { return s.Reveal() == value }) {
			m.redact = append(m.redact, config.NewSecret(value))
		}
	}
	for _, r := range m.runners {
		for _, s := range r.settings {
			if s.value.kind == unstable.String && sounds(s.name) {
				take(s.value.text)
			}
			for _, e := range s.value.elements {
				if e.kind != unstable.String {
					continue
				}
				// MachineOptions, environment: NAME=value.
				key, value, _ := splitOption(e.text)
				if sounds(key) {
					take(value)
				}
				take(passwordIn(value))
			}
		}
	}
	for _, b := range m.doc.blocks {
		if below(b.path, "runners") {
			continue
		}
		for _, it := range b.items {
			if it.value.kind == unstable.String && sounds(it.path) {
				take(it.value.text)
			}
		}
	}
	take(m.options.Host.Getenv("DIGITALOCEAN_ACCESS_TOKEN"))
}

// sounds tells that the value of a key or an option is a secret, by its name.
func sounds(key string) bool {
	key = strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(key))
	switch key {
	case "digitaloceansshkeypath", "digitaloceansshkeyfingerprint", "tokenfile", "tokenobtainedat", "tokenexpiresat":
		return false
	}
	for _, word := range []string{"token", "secret", "password", "passwd", "accesskey", "apikey", "privatekey", "credential", "dsn",
		"auth", "passphrase", "pwd"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return strings.HasSuffix(key, "pass")
}

// passwordIn returns the password of a URL in NAME=URL, such as that of a proxy.
func passwordIn(pair string) string {
	_, text, _ := strings.Cut(pair, "=")
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// elsewhere says where else in the old file the tokens stand that are moved.
func (m *migration) elsewhere() {
	for _, b := range m.doc.blocks {
		if m.isCut(b.path) {
			continue
		}
		note := func(offset int, comment, text string) {
			n := Note{Severity: Warning, Line: m.doc.line(offset)}
			switch {
			case m.hasToken(comment):
				n.Text = "a comment has the access token: it is [secret] now"
			case m.hasToken(text):
				n.Text, n.Hint = "the access token stands here too, and stays", "replace it once the token is a new one"
			default:
				return
			}
			m.notes = append(m.notes, n)
		}
		note(b.header.start, b.after, "")
		for _, it := range b.items {
			if it.key == nil {
				note(it.start, it.comment, "")
			} else if !m.isCut(it.path) {
				note(it.start, it.comment+strings.Join(comments(it.value), ""), m.doc.text[it.start:it.end])
			}
		}
	}
}

// isCut tells that a path is in the [runners.machine] of a runner that is migrated.
func (m *migration) isCut(path string) bool {
	for _, c := range m.migrated {
		if below(path, c.at("machine")) {
			return true
		}
	}
	return false
}

// hasToken tells that a text holds a token that is moved to a file.
func (m *migration) hasToken(text string) bool {
	return slices.ContainsFunc(m.secrets, func(s Secret) bool {
		return len(s.Value.Reveal()) >= minRedact && strings.Contains(text, s.Value.Reveal())
	})
}

// scrub takes the tokens that are moved out of the comments of the new text, wherever
// they are.
func (m *migration) scrub(text string) string {
	if !m.hasToken(text) {
		return text
	}
	doc, err := parse(text)
	if err != nil {
		return text // which check will refuse
	}
	var tokens []config.Secret
	for _, s := range m.secrets {
		tokens = append(tokens, s.Value)
	}
	var e edits
	redact := func(s span) {
		if part := text[s.start:s.end]; m.hasToken(part) {
			e.replace(s, redacted(part, tokens))
		}
	}
	for _, b := range doc.blocks {
		if b.header.end > 0 {
			redact(span{b.header.end, doc.lines(b.header).end})
		}
		for _, it := range b.items {
			if it.key == nil {
				redact(it.span)
				continue
			}
			redact(span{it.end, doc.lines(it.span).end})
			for _, s := range within(text, it.span, comments(it.value)) {
				redact(s)
			}
		}
	}
	return e.apply(text)
}

// within finds where in a span the comments stand. One that is part of another is part
// of its place.
func within(text string, in span, comments []string) (found []span) {
	for _, comment := range comments {
		for at := in.start; ; {
			i := strings.Index(text[at:in.end], comment)
			if i < 0 {
				break
			}
			at += i + len(comment)
			found = append(found, span{at - len(comment), at})
		}
	}
	slices.SortFunc(found, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	merged := found[:0]
	for _, s := range found {
		if last := len(merged) - 1; last >= 0 && s.start < merged[last].end {
			merged[last].end = max(merged[last].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

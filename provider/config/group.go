package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxName leaves room in a Droplet's name, a hostname label of at most 63 characters, for the suffix.
const maxName = 52

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`)
	notInName   = regexp.MustCompile(`[^a-z0-9]+`)
)

func decodeName(p *parser, value json.RawMessage) {
	name, ok := p.text(value)
	if !ok {
		return
	}
	if err := CheckName(name); err != nil {
		p.faultHint(err.Error(), proposeName(name))
		return
	}
	p.config.Name = name
}

// CheckName returns why name is no name of a group, following the name's key in a sentence, or nil.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not %s", quote(name))
	}
	return nil
}

// proposeName returns a hint with a valid name like the given one, or "".
func proposeName(name string) string {
	if tokenLike.MatchString(name) || strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return ""
	}
	proposal := SafeName(name)
	if proposal == "" {
		return ""
	}
	return didYouMean(proposal)
}

// SafeName makes a valid name of any text, or returns "" when nothing of it can be in one.
func SafeName(text string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(text), "-"), "-")
	return strings.TrimRight(name[:min(len(name), maxName)], "-")
}

// tagPattern is DigitalOcean's, from its API specification, with its length.
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_:-]{1,255}$`)

func checkTag(tag string) (wrong, hint string) {
	if !tagPattern.MatchString(tag) {
		return "must be a tag, at most 255 letters, digits, _, - and :, not " + quote(tag), ""
	}
	return "", ""
}

func decodeTags(p *parser, value json.RawMessage) {
	p.config.Tags, _ = p.texts(value, func(tag string) (wrong, hint string) {
		// DigitalOcean ignores the case of tags.
		if folded := strings.ToLower(tag); folded == "fleeting" || strings.HasPrefix(folded, "fleeting-") {
			return `must not be "fleeting" or begin with "fleeting-", which are the plugin's own tags: ` + quote(tag), ""
		}
		return checkTag(tag)
	})
}

func decodeProjectID(p *parser, value json.RawMessage) {
	if text, ok := p.text(value); ok {
		p.config.ProjectID, _ = p.uuid("", text)
	}
}

package config

import (
	"encoding/json"
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
	if !namePattern.MatchString(name) {
		p.faultHint("must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not "+quote(name),
			proposeName(name))
		return
	}
	p.config.Name = name
}

// proposeName returns a hint with a valid name like the given one, or "".
func proposeName(name string) string {
	if tokenLike.MatchString(name) || strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return ""
	}
	proposal := notInName.ReplaceAllString(strings.ToLower(name), "-")
	proposal = strings.Trim(proposal, "-")
	proposal = strings.TrimRight(proposal[:min(len(proposal), maxName)], "-")
	if proposal == "" {
		return ""
	}
	return didYouMean(proposal)
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

package config

import (
	"encoding/json"
	"regexp"
	"strings"
)

// slugPattern holds for the slugs of regions (nyc3), sizes (so1_5-2vcpu-16gb) and images (ubuntu-24-04-x64).
var slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$`)

func checkSlug(slug string) (wrong, hint string) {
	if slugPattern.MatchString(slug) {
		return "", ""
	}
	if proposal := strings.ToLower(strings.TrimSpace(slug)); slugPattern.MatchString(proposal) {
		hint = didYouMean(proposal)
	}
	return "must be a slug, made of a-z, 0-9, -, _ and ., not " + quote(slug), hint
}

func decodeRegion(p *parser, value json.RawMessage) { p.config.Regions = p.slugs(value) }
func decodeSize(p *parser, value json.RawMessage)   { p.config.Sizes = p.slugs(value) }

// slugs reads what must hold at least one slug. It returns nil after a fault.
func (p *parser) slugs(value json.RawMessage) []string {
	slugs, ok := p.texts(value, checkSlug)
	if !ok {
		return nil
	}
	if len(slugs) == 0 {
		p.fault("must name at least one")
	}
	return slugs
}

func decodeImage(p *parser, value json.RawMessage) {
	switch kind := kindOf(value); kind {
	case nothing:
		if !p.has("image") && !p.has("image_tag") {
			p.faultHint("is required, unless image_tag is set", `for example image = "ubuntu-24-04-x64"`)
		}
	case aNumber:
		p.config.Image.ID = p.imageID(value, literal(value))
	case aString:
		text, ok := p.text(value)
		if !ok {
			return
		}
		if strings.Trim(text, "0123456789") == "" {
			p.config.Image.ID = p.imageID(json.RawMessage(text), quote(text))
			return
		}
		if wrong, hint := checkSlug(text); wrong != "" {
			p.faultHint(wrong, hint)
			return
		}
		p.config.Image.Slug = text
	default:
		p.mismatch("a slug or the id of an image", value)
	}
}

// imageID returns 0 after a fault, which shows the number as the user wrote it.
func (p *parser) imageID(number json.RawMessage, written string) int {
	id, ok := whole(number)
	if !ok || id <= 0 {
		p.fault("must be the id of an image, a whole number above 0, not %s", written)
		return 0
	}
	return id
}

func decodeImageTag(p *parser, value json.RawMessage) {
	if value != nil && p.exclude("image") {
		return
	}
	tag, ok := p.text(value)
	if !ok {
		return
	}
	if wrong, hint := checkTag(tag); wrong != "" {
		p.faultHint(wrong, hint)
		return
	}
	p.config.ImageTag = tag
}

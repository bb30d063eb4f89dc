package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// store checks a value and puts it into the key's field, whose type decides how. The error follows the key in a sentence.
func (p *parser) store(k key, v any) (err error) {
	switch field := k.field.(type) {
	case *bool:
		*field, err = boolean(v)
	case **bool:
		var on bool
		on, err = boolean(v)
		*field = &on
	case *int:
		var n float64
		n, err = k.number(v)
		*field = int(n)
	case *float64:
		*field, err = k.number(v)
	case *time.Duration:
		*field, err = timeout(v)
	case *string:
		*field, err = k.text.read(v)
	case *Secret:
		var text string
		text, err = k.text.read(v)
		*field = NewSecret(text)
	case *Image:
		field.Slug, err = k.text.read(v)
		if id, noID := strconv.ParseInt(field.Slug, 10, 64); noID == nil && id > 0 {
			*field = Image{ID: id}
		}
	case *[]string:
		*field, err = k.list(v)
	case *map[string]string:
		*field, err = k.byRegion(v, p.config.Regions)
	}
	return err
}

// object is an object of a JSON schema.
type object = map[string]any

// schema is what store accepts, as far as a JSON schema can say it.
func (k key) schema() object {
	text := k.text.schema()
	switch k.field.(type) {
	case *bool, **bool:
		return object{"type": "boolean"}
	case *int:
		return object{"type": "integer", "minimum": k.least, "maximum": k.most}
	case *float64:
		return object{"type": "number", "minimum": k.least, "maximum": k.most}
	case *time.Duration:
		return object{"type": "string", "pattern": `^\+?([0-9.]+(ns|us|µs|μs|ms|s|m|h))+$`}
	case *[]string:
		list := object{"type": "array", "items": text}
		if k.required {
			list["minItems"] = 1
		}
		return anyOf(text, list)
	case *map[string]string:
		return anyOf(text, object{"type": "object", "additionalProperties": text})
	}
	return text
}

func anyOf(schemas ...object) object { return object{"anyOf": schemas} }

func boolean(v any) (bool, error) {
	on, ok := v.(bool)
	if !ok {
		return false, mustBe("true or false", v)
	}
	return on, nil
}

func (k key) number(v any) (float64, error) {
	what := "a number of USD"
	_, whole := k.field.(*int)
	if whole {
		what = "a whole number"
	}
	number, _ := v.(json.Number)
	n, err := number.Float64()
	if err != nil || n < k.least || n > k.most || whole && n != math.Trunc(n) {
		return 0, mustBe(fmt.Sprintf("%s from %v to %v", what, k.least, k.most), v)
	}
	return n, nil
}

// timeout has bounds because a Droplet takes about 30 s to become active, and no job waits for a day.
func timeout(v any) (time.Duration, error) {
	text, _ := v.(string)
	d, err := time.ParseDuration(text)
	if err != nil || d < 30*time.Second || d > 24*time.Hour {
		return 0, mustBe(`a duration from 30s to 24h, such as "10m"`, v)
	}
	return d, nil
}

// list takes a list, or a single entry in its place. What is listed twice is listed once.
func (k key) list(v any) (checked []string, err error) {
	entries, ok := v.([]any)
	if !ok {
		entries = []any{v}
	}
	if len(entries) == 0 && k.required {
		return nil, errors.New("must name at least one")
	}
	for _, entry := range entries {
		text, err := k.text.read(entry)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(checked, text) {
			checked = append(checked, text)
		}
	}
	return checked, nil
}

// byRegion takes a text for the only region, or a table. Where the regions have a fault, it is not known what is wrong here.
func (k key) byRegion(v any, regions []string) (map[string]string, error) {
	table, ok := v.(map[string]any)
	switch {
	case len(regions) == 0:
		return nil, nil
	case !ok && len(regions) > 1:
		return nil, mustBe(fmt.Sprintf("a table since there are several regions, such as { %s = \"...\" }", regions[0]), v)
	case !ok:
		text, err := k.text.read(v)
		return map[string]string{regions[0]: text}, err
	}
	checked := map[string]string{}
	for _, region := range slices.Sorted(maps.Keys(table)) {
		text, err := k.text.read(table[region])
		if !slices.Contains(regions, region) {
			err = fmt.Errorf("is not among the regions, which are %s", strings.Join(regions, ", "))
		}
		if err != nil {
			return nil, fmt.Errorf("%s %w", quote(region), err)
		}
		checked[region] = text
	}
	return checked, nil
}

// format is what a text has to look like.
type format struct {
	what    string // in words
	pattern string
	ids     bool                         // a whole number above 0 is as good
	check   func(string) (string, error) // says what a pattern cannot, and returns the text as it is to be stored
}

var (
	// slugs are those of regions (nyc3), sizes (so1_5-2vcpu-16gb) and images (ubuntu-24-04-x64).
	slugs  = format{what: "a slug, made of a-z, 0-9, -, _ and .", pattern: `^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$`}
	images = format{what: "a slug or the id of an image", pattern: slugs.pattern, ids: true}
	uuids  = format{what: "a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4", check: lower,
		pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"}
	tags = format{what: "a tag, at most 255 letters, digits, _, - and :", pattern: `^[a-zA-Z0-9_:-]{1,255}$`}
	// freeTags are not the plugin's own.
	freeTags = format{what: tags.what, pattern: tags.pattern, check: checkTag}
	// sshKeys are ids or MD5 fingerprints, the only ones that DigitalOcean's API takes.
	sshKeys = format{what: "the id or the MD5 fingerprint (16 octets, aa:bb:...) of a key on the account",
		pattern: "^([1-9][0-9]*|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){15})$", ids: true, check: lower}
)

// read returns a text as it is to be stored. It accepts none that is a token in the wrong key, where there is a pattern.
func (f format) read(v any) (string, error) {
	text, ok := v.(string)
	if number, isNumber := v.(json.Number); isNumber && f.ids {
		id, err := strconv.ParseInt(number.String(), 10, 64)
		text, ok = number.String(), err == nil && id > 0
	}
	switch {
	case !ok:
		return "", mustBe(cmp.Or(f.what, "a string"), v)
	case text == "":
		return "", errors.New("must not be empty")
	case f.what != "" && (!regexp.MustCompile(f.pattern).MatchString(text) || tokenLike.MatchString(text)):
		return "", mustBe(f.what, text)
	case f.check != nil:
		return f.check(text)
	}
	return text, nil
}

func (f format) schema() object {
	text := object{"type": "string"}
	if f.pattern != "" {
		text["pattern"] = f.pattern
	}
	if f.ids {
		return anyOf(text, object{"type": "integer", "minimum": 1})
	}
	return text
}

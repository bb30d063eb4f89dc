package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// kind is what a key takes: as a JSON schema says it, and how it is read. The error of read follows the key in a sentence.
type kind[T any] struct {
	schema object
	read   func(v any) (T, error)
}

// object is an object of a JSON schema.
type object = map[string]any

func anyOf(schemas ...object) object { return object{"anyOf": schemas} }

// in stores what has no fault.
func in[T any](field *T, k kind[T]) kind[struct{}] {
	return then(k, func(value T) (struct{}, error) {
		*field = value
		return struct{}{}, nil
	})
}

// then checks or converts what a kind has read.
func then[T, U any](k kind[T], next func(T) (U, error)) kind[U] {
	return kind[U]{k.schema, func(v any) (U, error) {
		value, err := k.read(v)
		if err != nil {
			return *new(U), err
		}
		return next(value)
	}}
}

var boolean = kind[bool]{object{"type": "boolean"}, func(v any) (bool, error) {
	on, ok := v.(bool)
	if !ok {
		return false, mustBe("true or false", v)
	}
	return on, nil
}}

func number[T int | float64](what, schemaType string, least, most T) kind[T] {
	return kind[T]{object{"type": schemaType, "minimum": least, "maximum": most}, func(v any) (T, error) {
		given, _ := v.(json.Number)
		f, err := given.Float64()
		if n := T(f); err == nil && float64(n) == f && least <= n && n <= most {
			return n, nil
		}
		return 0, mustBe(fmt.Sprintf("%s from %v to %v", what, least, most), v)
	}}
}

// plain is any text but the empty one.
var plain = kind[string]{object{"type": "string"}, func(v any) (string, error) {
	if text, _ := v.(string); text != "" {
		return text, nil
	}
	return "", mustBe("a text", v)
}}

// text is of a pattern. It is none that is a token in the wrong key.
func text(what, pattern string) kind[string] {
	return kind[string]{object{"type": "string", "pattern": pattern}, func(v any) (string, error) {
		text, ok := v.(string)
		if !ok || !regexp.MustCompile(pattern).MatchString(text) || tokenLike.MatchString(text) {
			return "", mustBe(what, v)
		}
		return text, nil
	}}
}

// orID takes a whole number above 0 too.
func orID(text kind[string]) kind[string] {
	return kind[string]{anyOf(text.schema, object{"type": "integer", "minimum": 1}), func(v any) (string, error) {
		if number, ok := v.(json.Number); ok {
			if id, err := number.Int64(); err == nil && id > 0 {
				v = number.String()
			}
		}
		return text.read(v)
	}}
}

// list takes a list, or a single entry in its place. What is listed twice is listed once.
func list(least int, entry kind[string]) kind[[]string] {
	array := object{"type": "array", "items": entry.schema, "minItems": least}
	return kind[[]string]{anyOf(entry.schema, array), func(v any) (checked []string, err error) {
		entries, ok := v.([]any)
		if !ok {
			entries = []any{v}
		}
		if len(entries) < least {
			return nil, errors.New("must name at least one")
		}
		for _, v := range entries {
			text, err := entry.read(v)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(checked, text) {
				checked = append(checked, text)
			}
		}
		return checked, nil
	}}
}

// byRegion takes a table by the regions that another key has, or a text for the only one. If that key has a fault, it has
// none, and it is not known what is wrong here.
func byRegion(entry kind[string], key string, regions func() []string) kind[map[string]string] {
	schema := anyOf(entry.schema, object{"type": "object", "additionalProperties": entry.schema})
	return kind[map[string]string]{schema, func(v any) (map[string]string, error) {
		known, checked := regions(), map[string]string{}
		table, ok := v.(map[string]any)
		switch {
		case len(known) == 0:
			return nil, nil
		case !ok && len(known) > 1:
			return nil, mustBe(fmt.Sprintf("a table since there are several regions, such as { %s = \"...\" }", known[0]), v)
		case !ok:
			table = map[string]any{known[0]: v}
		}
		for _, region := range slices.Sorted(maps.Keys(table)) {
			text, err := entry.read(table[region])
			if !slices.Contains(known, region) {
				err = fmt.Errorf("is not in %s, which has %s", key, strings.Join(known, ", "))
			}
			if err != nil {
				return nil, fmt.Errorf("%s %w", quote(region), err)
			}
			checked[region] = text
		}
		return checked, nil
	}}
}

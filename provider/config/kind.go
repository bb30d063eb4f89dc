package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is an object of a JSON schema.
type object = map[string]any

// kind is what values a key takes. A value is a string, a json.Number, a bool, a []any or a map[string]any.
type kind[T any] struct {
	schema object
	check  func(any) (T, error) // the error follows the key in a sentence
}

// value is a kind with the place that its values are stored in.
type value struct {
	schema object
	read   func(any) error // checks and stores; it is called with nil for a key that is not given
}

// into stores a value as it is checked, where the key is given.
func (k kind[T]) into(field *T) value {
	return value{k.schema, func(v any) error {
		if v == nil {
			return nil
		}
		checked, err := k.check(v)
		if err == nil {
			*field = checked
		}
		return err
	}}
}

// and checks further what has passed.
func (k kind[T]) and(check func(T) (T, error)) kind[T] {
	return kind[T]{k.schema, func(v any) (T, error) {
		checked, err := k.check(v)
		if err != nil {
			return checked, err
		}
		return check(checked)
	}}
}

// text is a string that is not empty: "" is not a way to say "not set", so that a template which failed to fill in a
// value is noticed.
var text = kind[string]{object{"type": "string", "minLength": 1}, func(v any) (string, error) {
	text, ok := v.(string)
	switch {
	case !ok:
		return "", mustBe("a string", v)
	case text == "":
		return "", errors.New("must not be empty")
	}
	return text, nil
}}

// matching is text that matches a pattern, and is no token.
func matching(pattern, what string) kind[string] {
	expression := regexp.MustCompile(pattern)
	k := text.and(func(text string) (string, error) {
		if !expression.MatchString(text) || tokenLike.MatchString(text) {
			return "", mustBe(what, text)
		}
		return text, nil
	})
	k.schema = object{"type": "string", "pattern": pattern}
	return k
}

// list is a list without duplicates, or a single entry in its place.
func list(least int, of kind[string]) kind[[]string] {
	entries := object{"type": "array", "items": of.schema, "minItems": least, "uniqueItems": true}
	return kind[[]string]{anyOf(of.schema, entries), func(v any) (checked []string, err error) {
		entries, ok := v.([]any)
		if !ok {
			one, err := of.check(v)
			return []string{one}, err
		}
		if len(entries) < least {
			return nil, errors.New("must name at least one")
		}
		var faults []error
		for i, entry := range entries {
			one, err := of.check(entry)
			switch {
			case err != nil:
				faults = append(faults, fmt.Errorf("entry %d %w", i+1, err))
			case slices.Contains(checked, one):
				faults = append(faults, fmt.Errorf("lists %s more than once", quote(one)))
			default:
				checked = append(checked, one)
			}
		}
		return checked, errors.Join(faults...)
	}}
}

var boolean = kind[bool]{object{"type": "boolean"}, func(v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, mustBe("true or false", v)
	}
	return b, nil
}}

func optional[T any](k kind[T]) kind[*T] {
	return kind[*T]{k.schema, func(v any) (*T, error) {
		checked, err := k.check(v)
		return &checked, err
	}}
}

// The bounds of numbers are far above any account's: they catch typos.
var (
	droplets = number("integer", "a whole number", 1, 100_000, strconv.Atoi)
	cost     = number("number", "a number of USD", 0.001, 100_000, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
)

func number[T int | float64](jsonType, what string, least, most T, parse func(string) (T, error)) kind[T] {
	what = fmt.Sprintf("%s from %v to %v", what, least, most)
	return kind[T]{object{"type": jsonType, "minimum": least, "maximum": most}, func(v any) (T, error) {
		n, err := parse(fmt.Sprint(v))
		if within := n >= least && n <= most; err != nil || !within {
			return 0, mustBe(what, v)
		}
		if _, isNumber := v.(json.Number); !isNumber {
			return 0, hinted{mustBe(what, v), fmt.Sprintf("did you mean %v, without quotes?", n)}
		}
		return n, nil
	}}
}

// timeouts have bounds because a Droplet takes about 30 s to become active, and no job waits for a day.
var timeouts = kind[time.Duration]{object{"type": "string", "pattern": `^\+?([0-9.]+(ns|us|µs|μs|ms|s|m|h))+$`},
	func(v any) (time.Duration, error) {
		text, _ := v.(string)
		timeout, err := time.ParseDuration(text)
		if err != nil || timeout < 30*time.Second || timeout > 24*time.Hour {
			return 0, mustBe(`a duration from 30s to 24h, such as "10m"`, v)
		}
		return timeout, nil
	}}

var (
	ids     = object{"type": "integer", "minimum": 1}
	idTexts = object{"type": "string", "pattern": `^\+?0*[1-9][0-9]*$`}
)

// id takes a whole number above 0, also in quotes.
func id(v any) (int64, bool) {
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	return n, err == nil && n > 0
}

// files are paths. Whether there is such a file is not checked.
var files = text.and(func(path string) (string, error) {
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
		return "", errors.New("must be the path of a file, not its content")
	}
	if strings.HasPrefix(path, "~") {
		return "", errors.New("must be a whole path: ~ is expanded by shells only")
	}
	return path, nil
})

func anyOf(schemas ...object) object { return object{"anyOf": schemas} }

func mustBe(what string, v any) error { return fmt.Errorf("must be %s, not %s", what, show(v)) }

// show returns a value as a fault repeats it: of lists and tables only what they are.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprint(v)
}

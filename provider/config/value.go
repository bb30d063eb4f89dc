package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kind returns the type of a value as TOML calls it, which is what the user wrote. A value is a string, a json.Number, a
// bool, a []any or a map[string]any; nil is a key that is not given.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "null"
}

func wrongType(expected string, v any) error {
	return fmt.Errorf("must be %s, not %s", expected, kind(v))
}

// show returns a value as a fault repeats it: of lists and tables only the type.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case json.Number:
		return v.String()
	}
	return kind(v)
}

// set stores a value as it is checked, where the key is given.
func set[T any](into *T, check func(any) (T, error)) func(any) error {
	return func(v any) error {
		if v == nil {
			return nil
		}
		checked, err := check(v)
		if err == nil {
			*into = checked
		}
		return err
	}
}

// text takes a string that is not empty: "" is not a way to say "not set", so that a template which failed to fill in a
// value is noticed. The exceptions are token and token_file, see [textOrEmpty].
func text(check func(string) (string, error)) func(any) (string, error) {
	return func(v any) (string, error) {
		text, ok := v.(string)
		switch {
		case !ok:
			return "", wrongType("a string", v)
		case text == "":
			return "", errors.New("must not be empty")
		}
		return check(text)
	}
}

// list takes a list, or a single entry in its place, without duplicates.
func list(least int, check func(any) (string, error)) func(any) ([]string, error) {
	return func(v any) (checked []string, err error) {
		entries, ok := v.([]any)
		if !ok {
			one, err := check(v)
			return []string{one}, err
		}
		if len(entries) < least {
			return nil, errors.New("must name at least one")
		}
		var faults []error
		for i, entry := range entries {
			one, err := check(entry)
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
	}
}

func boolean(v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, wrongType("true or false", v)
	}
	return b, nil
}

func optionalBoolean(v any) (*bool, error) {
	b, err := boolean(v)
	return &b, err
}

// number takes a number for which parse returns true.
func number[T any](expected string, parse func(string) (T, bool)) func(any) (T, error) {
	return func(v any) (none T, err error) {
		n, ok := parse(fmt.Sprint(v))
		_, isNumber := v.(json.Number)
		switch {
		case ok && isNumber:
			return n, nil
		case ok:
			return none, withHint(fmt.Sprintf("did you mean %v, without quotes?", n), "%w", wrongType(expected, v))
		case isNumber:
			return none, fmt.Errorf("must be %s, not %s", expected, v)
		}
		return none, wrongType(expected, v)
	}
}

// id takes a whole number above 0, also in quotes.
func id(v any) (int64, bool) {
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	return n, err == nil && n > 0
}

// path takes the name of a file. Whether the file exists is not checked.
func path(path string) (string, error) {
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
		return "", errors.New("must be the path of a file, not its content")
	}
	if strings.HasPrefix(path, "~") {
		return "", errors.New("must be a whole path: ~ is expanded by shells only")
	}
	return path, nil
}

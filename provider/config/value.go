package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// kind is the type of a value, in the words of a fault and in TOML's terms, which are the user's.
type kind string

const (
	nothing  kind = "" // the key is not given
	aString  kind = "a string"
	aNumber  kind = "a number"
	aBoolean kind = "a boolean"
	aList    kind = "a list"
	aTable   kind = "a table"
	aNull    kind = "null"
)

// value is what a key was set to.
type value struct {
	kind kind
	text string // what a string holds; of anything else its JSON
}

// newValue takes valid JSON.
func newValue(valid json.RawMessage) value {
	v := value{aNumber, strings.TrimSpace(string(valid))}
	switch v.text[0] {
	case '"':
		v.kind = aString
		_ = json.Unmarshal(valid, &v.text) // cannot fail: it is a valid string
	case 't', 'f':
		v.kind = aBoolean
	case '[':
		v.kind = aList
	case '{':
		v.kind = aTable
	case 'n':
		v.kind = aNull
	}
	return v
}

// member is one entry of a JSON object.
type member struct {
	name  string
	value value
}

// members returns the entries of a JSON object in the order given, with those that a map would silently merge. Empty
// input and null have none.
func members(data []byte) (all []member, err error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, fmt.Errorf("is not valid JSON: %w", err)
	}
	switch kind := newValue(whole).kind; kind {
	case aNull:
		return nil, nil
	case aTable:
	default:
		return nil, fmt.Errorf("must be a table, not %s", kind)
	}
	// None of this can fail: the whole is valid.
	decoder := json.NewDecoder(bytes.NewReader(whole))
	_, _ = decoder.Token() // the opening brace
	for decoder.More() {
		name, _ := decoder.Token()
		var raw json.RawMessage
		_ = decoder.Decode(&raw)
		all = append(all, member{name.(string), newValue(raw)})
	}
	return all, nil
}

// not is the fault that the value is of the wrong type.
func (v value) not(expected string) error { return fmt.Errorf("must be %s, not %s", expected, v.kind) }

// shown is the value as a fault repeats it: of bounded length, and of lists and tables the type alone.
func (v value) shown() string {
	switch {
	case v.kind == aString:
		return quote(v.text)
	case v.kind != aNumber:
		return string(v.kind)
	case len(v.text) > shown:
		return fmt.Sprintf("%s... (%d characters)", v.text[:shown], len(v.text))
	}
	return v.text
}

// set is how a key is read whose value is stored as it is checked, where it is given.
func set[T any](into *T, check func(value) (T, error)) func(value) error {
	return func(v value) error {
		if v.kind == nothing {
			return nil
		}
		checked, err := check(v)
		if err == nil {
			*into = checked
		}
		return err
	}
}

var errEmpty = errors.New("must not be empty")

// text takes a string that is not empty: "" is not a way to say "not set", so that a template which failed to fill in a
// value is noticed. The exceptions are token and token_file, see [parser.token].
func text(check func(string) (string, error)) func(value) (string, error) {
	return func(v value) (string, error) {
		switch {
		case v.kind != aString:
			return "", v.not("a string")
		case v.text == "":
			return "", errEmpty
		}
		return check(v.text)
	}
}

// texts takes a string or a list of strings.
func texts(check func(string) (string, error)) func(value) ([]string, error) {
	return list("a string or a list of strings", text(check), aString)
}

// list takes a list, or a lone value of one of these kinds in its place, without duplicates in any case.
func list(expected string, check func(value) (string, error), lone ...kind) func(value) ([]string, error) {
	return func(v value) (checked []string, err error) {
		for _, kind := range lone {
			if v.kind == kind {
				one, err := check(v)
				return []string{one}, err
			}
		}
		if v.kind != aList {
			return nil, v.not(expected)
		}
		var entries []json.RawMessage
		_ = json.Unmarshal([]byte(v.text), &entries) // cannot fail: it is a valid list
		var faults []error
		seen := map[string]bool{}
		for i, entry := range entries {
			one, err := check(newValue(entry))
			folded := strings.ToLower(one)
			switch {
			case err != nil:
				faults = append(faults, fmt.Errorf("entry %d %w", i+1, err))
			case seen[folded]:
				faults = append(faults, fmt.Errorf("lists %s more than once", quote(one)))
			default:
				checked = append(checked, one)
			}
			seen[folded] = err == nil
		}
		return checked, errors.Join(faults...)
	}
}

func atLeastOne(check func(value) ([]string, error)) func(value) ([]string, error) {
	return func(v value) ([]string, error) {
		checked, err := check(v)
		if err == nil && len(checked) == 0 {
			err = errors.New("must name at least one")
		}
		return checked, err
	}
}

func boolean(v value) (bool, error) {
	const expected = "true or false"
	switch folded := strings.ToLower(v.text); {
	case v.kind == aBoolean:
		return v.text == "true", nil
	case v.kind == aString && (folded == "true" || folded == "false"):
		return false, withHint("did you mean "+folded+", without quotes?", "%w", v.not(expected))
	}
	return false, v.not(expected)
}

func optionalBoolean(v value) (*bool, error) {
	b, err := boolean(v)
	return &b, err
}

// number takes a number for which parse returns true.
func number[T any](expected string, parse func(string) (T, bool)) func(value) (T, error) {
	return func(v value) (none T, err error) {
		n, ok := parse(strings.TrimPrefix(strings.TrimSpace(v.text), "$"))
		switch {
		case v.kind == aNumber && ok:
			return n, nil
		case v.kind == aNumber:
			return none, fmt.Errorf("must be %s, not %s", expected, v.shown())
		case v.kind == aString && ok:
			return none, withHint(fmt.Sprintf("did you mean %v, without quotes?", n), "%w", v.not(expected))
		}
		return none, v.not(expected)
	}
}

// whole reads a number without a fraction, however it is written (5, 5.0, 5e0).
func whole(number string) (n int64, ok bool) {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return n, true
	}
	// Beyond 2^53 a float no longer distinguishes neighbours.
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
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

package config

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// kind is the type of a value, in the words of a fault and in TOML's terms, which are the user's.
type kind string

const (
	aString  kind = "a string"
	aNumber  kind = "a number"
	aBoolean kind = "a boolean"
	aList    kind = "a list"
	aTable   kind = "a table"
	aNull    kind = "null"
	nothing  kind = "nothing" // the key is not given
)

func kindOf(value json.RawMessage) kind {
	text := strings.TrimLeft(string(value), " \t\r\n")
	if text == "" {
		return nothing
	}
	switch text[0] {
	case '"':
		return aString
	case 't', 'f':
		return aBoolean
	case '[':
		return aList
	case '{':
		return aTable
	case 'n':
		return aNull
	default:
		return aNumber
	}
}

// The readers below return ok == false after they have reported a fault, and, silently, when the key is not given.

// mismatch reports a value of the wrong type, unless there is none.
func (p *parser) mismatch(expected string, value json.RawMessage) {
	if kind := kindOf(value); kind != nothing {
		p.fault("must be %s, not %s", expected, kind)
	}
}

// text reads a string that is not empty: "" is not a way to say "not set", so that a template which failed to fill in
// a value is noticed. The exceptions are token and token_file, which use [parser.textOrEmpty].
func (p *parser) text(value json.RawMessage) (text string, ok bool) {
	text, ok = p.textOrEmpty(value)
	if ok && text == "" {
		p.fault("must not be empty")
		return "", false
	}
	return text, ok
}

func (p *parser) textOrEmpty(value json.RawMessage) (text string, ok bool) {
	if kindOf(value) != aString {
		p.mismatch("a string", value)
		return "", false
	}
	return unquote(value), true
}

// texts reads a string or a list of strings, none of them empty and no two of them the same, in any case. check says
// what is wrong with one of them, or "", and what to write instead.
func (p *parser) texts(value json.RawMessage, check func(string) (wrong, hint string)) (texts []string, ok bool) {
	entries, ok := entriesOf(value, aString)
	if !ok {
		p.mismatch("a string or a list of strings", value)
		return nil, false
	}
	before := len(p.faults)
	seen := map[string]bool{}
	for _, e := range entries {
		if kind := kindOf(e.value); kind != aString {
			p.fault("%smust be a string, not %s", e.at, kind)
			continue
		}
		text := unquote(e.value)
		if text == "" {
			p.fault("%smust not be empty", e.at)
			continue
		}
		if wrong, hint := check(text); wrong != "" {
			p.faultHint(e.at+wrong, hint)
		} else if p.once(seen, text) {
			texts = append(texts, text)
		}
	}
	return texts, len(p.faults) == before
}

// once reports a fault when text is in seen, in any case, and puts it there.
func (p *parser) once(seen map[string]bool, text string) bool {
	folded := strings.ToLower(text)
	if seen[folded] {
		p.fault("lists %s more than once", quote(text))
		return false
	}
	seen[folded] = true
	return true
}

// entry is one value of a key that takes a list, or a lone value in its place.
type entry struct {
	at    string // "entry 2 ", the beginning of a fault; empty for a lone value
	value json.RawMessage
}

func entriesOf(value json.RawMessage, lone ...kind) (entries []entry, ok bool) {
	for _, kind := range lone {
		if kindOf(value) == kind {
			return []entry{{value: value}}, true
		}
	}
	if kindOf(value) != aList {
		return nil, false
	}
	var list []json.RawMessage
	_ = json.Unmarshal(value, &list) // cannot fail: the whole was valid, and this is a list
	for i, element := range list {
		entries = append(entries, entry{at: "entry " + strconv.Itoa(i+1) + " ", value: element})
	}
	return entries, true
}

// path reads the name of a file. Whether the file exists is not checked.
func (p *parser) path(value json.RawMessage) (path string, ok bool) {
	path, ok = p.text(value)
	return path, ok && p.checkPath(path)
}

func (p *parser) checkPath(path string) bool {
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
		p.fault("must be the path of a file, not its content")
		return false
	}
	if strings.HasPrefix(path, "~") {
		p.fault("must be a whole path: ~ is expanded by shells only")
		return false
	}
	return true
}

// boolean stores true or false.
func (p *parser) boolean(value json.RawMessage, into *bool) {
	switch kindOf(value) {
	case nothing:
	case aBoolean:
		*into = strings.TrimSpace(string(value)) == "true"
	case aString:
		hint := ""
		if text := strings.ToLower(unquote(value)); text == "true" || text == "false" {
			hint = "did you mean " + text + ", without quotes?"
		}
		p.faultHint("must be true or false, not a string", hint)
	default:
		p.mismatch("true or false", value)
	}
}

// whole reads a number without a fraction, however it is written (5, 5.0, 5e0).
func whole(value json.RawMessage) (number int, ok bool) {
	text := strings.TrimSpace(string(value))
	if n, err := strconv.ParseInt(text, 10, 0); err == nil {
		return int(n), true
	}
	// Beyond 2^53 a float no longer tells neighbours apart. NaN cannot be: JSON has none.
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 || math.Abs(f) > math.MaxInt {
		return 0, false
	}
	return int(f), true
}

// literal is a number as the user wrote it, of bounded length.
func literal(number json.RawMessage) string {
	text := strings.TrimSpace(string(number))
	if len(text) > shown {
		return text[:shown] + "... (" + strconv.Itoa(len(text)) + " characters)"
	}
	return text
}

func unquote(value json.RawMessage) string {
	var text string
	_ = json.Unmarshal(value, &text) // cannot fail: the whole was valid, and this is a string
	return text
}

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// uuid checks a UUID, of which at is the place in the key, and returns it in lower case.
func (p *parser) uuid(at, text string) (uuid string, ok bool) {
	if !uuidPattern.MatchString(text) {
		p.fault("%smust be a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4, not %s", at, quote(text))
		return "", false
	}
	return strings.ToLower(text), true
}

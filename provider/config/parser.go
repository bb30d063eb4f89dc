package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// parser carries one call of [Parse] from key to key.
type parser struct {
	host   Host
	config Config
	faults Faults
	key    string // the key being decoded: where faults are filed

	given   map[string]json.RawMessage // by lower-case name; nil when the name is given more than once
	spelled map[string][]string        // the names as the user wrote them, by lower-case name
}

// collect files what was given under lower-case names: the runner ignores the case of keys.
func (p *parser) collect(given []member) {
	p.given, p.spelled = map[string]json.RawMessage{}, map[string][]string{}
	for _, m := range given {
		name := strings.ToLower(m.name)
		p.given[name] = m.value
		p.spelled[name] = append(p.spelled[name], m.name)
	}
	for name, spellings := range p.spelled {
		if len(spellings) > 1 {
			p.given[name] = nil
		}
	}
}

// decode decodes one key, given or not.
func (p *parser) decode(k key) {
	p.key = k.name
	switch {
	case len(p.spelled[k.name]) > 1:
		p.fault("is given more than once, as %s", quoteAll(p.spelled[k.name], " and "))
	case k.example != "" && !p.has(k.name):
		p.faultHint("is required", "for example "+k.example)
	}
	k.decode(p, p.given[k.name])
}

// rejectUnknown reports what is left: the keys that are not in [keys].
func (p *parser) rejectUnknown() {
	for _, name := range slices.Sorted(maps.Keys(p.given)) {
		if slices.Contains(Keys(), name) {
			continue
		}
		hint := p.suggestKey(name)
		for _, spelling := range slices.Compact(slices.Sorted(slices.Values(p.spelled[name]))) {
			p.key = quoteKey(spelling)
			p.faultHint("unknown key", hint)
		}
	}
}

// has reports whether the user gave the key, whatever its value.
func (p *parser) has(name string) bool {
	_, ok := p.given[name]
	return ok
}

// faulty reports whether the key has a fault so far.
func (p *parser) faulty(name string) bool {
	return slices.ContainsFunc(p.faults, func(f Fault) bool { return f.Key == name })
}

func (p *parser) fault(format string, args ...any) {
	p.faultHint(fmt.Sprintf(format, args...), "")
}

func (p *parser) faultHint(text, hint string) {
	p.faults = append(p.faults, Fault{Key: p.key, Text: text, Hint: hint})
}

// exclude reports a fault when another key is given that the one being decoded cannot go with.
func (p *parser) exclude(other string) bool {
	if !p.has(other) {
		return false
	}
	p.fault("excludes %s: set one of the two", other)
	return true
}

// member is one entry of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// members returns the entries of a JSON object in the order given, with those that a map would silently merge. Empty
// input and null have none.
func members(data []byte) ([]member, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, fmt.Errorf("is not valid JSON: %w", err)
	}
	switch kind := kindOf(whole); kind {
	case aNull:
		return nil, nil
	case aTable:
	default:
		return nil, fmt.Errorf("must be a table, not %s", kind)
	}

	decoder := json.NewDecoder(bytes.NewReader(whole))
	_, err := decoder.Token() // the opening brace
	var all []member
	for err == nil && decoder.More() {
		var name json.Token
		if name, err = decoder.Token(); err != nil {
			break
		}
		m := member{name: name.(string)}
		err = decoder.Decode(&m.value)
		all = append(all, m)
	}
	if err != nil {
		return nil, fmt.Errorf("is not valid JSON: %w", err)
	}
	return all, nil
}

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// parser carries one call of [Parse] from key to key.
type parser struct {
	host    Host
	config  Config
	given   map[string]any      // by lower-case name: the runner ignores the case of keys
	spelled map[string][]string // the names as the user wrote them, by lower-case name

	key     string // the key that is being read: where faults are filed
	faults  Faults // of the keys that exist
	unknown Faults // of those that do not. That a key is misspelt is enough: it is not missing too
}

// newParser returns an error that follows "plugin_config: ".
func newParser(data []byte, host Host) (*parser, error) {
	var whole any
	if len(bytes.TrimSpace(data)) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber() // an id may be beyond what a float holds
		if err := decoder.Decode(&whole); err != nil {
			return nil, fmt.Errorf("is not valid JSON: %w", err)
		}
	}
	table, ok := whole.(map[string]any)
	if !ok && whole != nil {
		return nil, wrongType("a table", whole)
	}
	p := &parser{host: host, config: defaults(), given: map[string]any{}, spelled: map[string][]string{}}
	for _, spelling := range slices.Sorted(maps.Keys(table)) {
		name := strings.ToLower(spelling)
		p.given[name] = table[spelling]
		p.spelled[name] = append(p.spelled[name], spelling)
	}
	return p, nil
}

// read reads one key, given or not.
func (p *parser) read(k key) {
	p.key = k.name
	switch {
	case len(p.spelled[k.name]) > 1:
		p.fault(fmt.Errorf("is given more than once, as %s", strings.Join(p.spelled[k.name], " and ")))
	case p.has(k.name) && p.has(k.excludes):
		p.fault(fmt.Errorf("excludes %s: set one of the two", k.excludes))
	case k.example == "" || p.has(k.name) || p.has(k.unless) || p.unknown.Has(k.name, k.unless):
		p.fault(k.read(p.given[k.name]))
	case k.unless != "":
		p.fault(withHint("for example "+k.example, "is required, unless %s is set", k.unless))
	default:
		p.fault(withHint("for example "+k.example, "is required"))
	}
}

// fault files what is wrong with the key that is being read, if anything is: one error, or several that are joined.
func (p *parser) fault(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // what a reader itself has joined
		for _, one := range joined.Unwrap() {
			p.fault(one)
		}
		return
	}
	if err != nil {
		h, _ := errors.AsType[hinted](err)
		p.faults = append(p.faults, Fault{Key: p.key, Text: err.Error(), Hint: h.hint})
	}
}

// findUnknown files a fault for each key that does not exist, sorted. It never proposes a key that is given already.
func (p *parser) findUnknown() {
	known := Keys()
	free := slices.DeleteFunc(slices.Clone(known), p.has)
	for _, name := range slices.Sorted(maps.Keys(p.given)) {
		if slices.Contains(known, name) {
			continue
		}
		for _, spelling := range p.spelled[name] {
			p.unknown = append(p.unknown, Fault{quoteKey(spelling), "unknown key", DidYouMean(name, free), near(name, free)})
		}
	}
}

// has reports whether the user gave the key, whatever its value. No key is the empty one.
func (p *parser) has(name string) bool { return name != "" && p.given[name] != nil }

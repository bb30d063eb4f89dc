package config

import (
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
	given   map[string]value    // by lower-case name: the runner ignores the case of keys
	spelled map[string][]string // the names as the user wrote them, by lower-case name

	key     string // the key that is being read: where faults are filed
	faults  Faults // of the keys that there are
	unknown Faults // of those that there are not. That a key is misspelt is enough: it is not missing too
}

// newParser returns an error that follows "plugin_config: ".
func newParser(data []byte, host Host) (*parser, error) {
	given, err := members(data)
	if err != nil {
		return nil, err
	}
	p := &parser{host: host, config: defaults(), given: map[string]value{}, spelled: map[string][]string{}}
	for _, m := range given {
		name := strings.ToLower(m.name)
		p.given[name] = m.value
		p.spelled[name] = append(p.spelled[name], m.name)
	}
	return p, nil
}

// read reads one key, given or not.
func (p *parser) read(k key) {
	p.key = k.name
	switch {
	case len(p.spelled[k.name]) > 1:
		p.fault(fmt.Errorf("is given more than once, as %s", quoteAll(p.spelled[k.name], " and ")))
		return
	case p.has(k.name) && p.has(k.excludes):
		p.fault(fmt.Errorf("excludes %s: set one of the two", k.excludes))
		return
	case k.example == "" || p.has(k.name) || p.has(k.unless) || p.unknown.Has(k.name, k.unless):
	case k.unless != "":
		p.fault(withHint("for example "+k.example, "is required, unless %s is set", k.unless))
	default:
		p.fault(withHint("for example "+k.example, "is required"))
	}
	p.fault(k.read(p.given[k.name]))
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

// unknownKeys returns a fault for each key that there is not, sorted.
func (p *parser) unknownKeys() (faults Faults) {
	known := Keys()
	for _, name := range slices.Sorted(maps.Keys(p.given)) {
		if slices.Contains(known, name) {
			continue
		}
		means, hint := p.suggestKey(name)
		for _, spelling := range slices.Compact(slices.Sorted(slices.Values(p.spelled[name]))) {
			faults = append(faults, Fault{Key: quoteKey(spelling), Text: "unknown key", Hint: hint, Means: means})
		}
	}
	return faults
}

// has reports whether the user gave the key, whatever its value. No key is the empty one.
func (p *parser) has(name string) bool {
	_, ok := p.given[name]
	return ok && name != ""
}

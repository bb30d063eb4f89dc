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
	host   Host
	config Config
	given  map[string]any // by the name of the key

	key     string // the key that is being read: where faults are filed
	faults  Faults // of the keys that exist
	unknown Faults // of those that do not. That a key is misspelt is enough: it is not missing too
}

// newParser sorts the keys into those that exist and the others. The error follows "plugin_config: ".
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
		return nil, errors.New("must be a table")
	}
	p := &parser{host: host, config: defaults(), given: map[string]any{}}
	known, free := Keys(), Keys()
	var strange []string
	for _, spelling := range slices.Sorted(maps.Keys(table)) {
		name := strings.ToLower(spelling) // the runner ignores the case of keys
		switch {
		case !slices.Contains(known, name):
			strange = append(strange, spelling)
		case p.has(name):
			const text = "is given more than once: upper and lower case are one key"
			p.unknown = append(p.unknown, Fault{Key: spelling, Text: text, Means: []string{name}})
			delete(p.given, name)
		default:
			p.given[name] = table[spelling]
			free = slices.DeleteFunc(free, func(key string) bool { return key == name })
		}
	}
	for _, spelling := range strange {
		name := strings.ToLower(spelling)
		p.unknown = append(p.unknown, Fault{quoteKey(spelling), "unknown key", DidYouMean(name, free), near(name, free)})
	}
	return p, nil
}

// read reads one key, given or not.
func (p *parser) read(k key) {
	p.key = k.name
	switch {
	case p.has(k.name) && p.has(k.excludes):
		p.fault(fmt.Errorf("excludes %s: set one of the two", k.excludes))
	case p.has(k.name) || k.example == "" && !p.unknown.Has(k.name):
		p.fault(k.read(p.given[k.name]))
	case p.has(k.unless) || p.unknown.Has(k.name, k.unless):
	case k.unless != "":
		p.fault(hinted{fmt.Errorf("is required, unless %s is set", k.unless), "for example " + k.example})
	default:
		p.fault(hinted{errors.New(missing), "for example " + k.example})
	}
}

const missing = "is required"

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

// has reports whether the user gave the key. No key is the empty one.
func (p *parser) has(name string) bool { return p.given[name] != nil }

func (p *parser) isFaulty(name string) bool { return p.faults.Has(name) || p.unknown.Has(name) }

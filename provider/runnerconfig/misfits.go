package runnerconfig

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Misfits are values that do not have the type that the runner wants, or are no durations, by line. Each begins with
// path:line, and does not repeat the value, which may be a secret in the wrong place.
type Misfits []error

func (m Misfits) Error() string { return errors.Join(m...).Error() }

// misfits finds them all: the decoder stops at the first. nil = there are none, or the text is no TOML.
func misfits(path, text string) error {
	var table map[string]any
	if _, err := toml.Decode(text, &table); err != nil {
		return nil
	}
	f := File{Path: path}
	var err error
	if f.lines, err = readLines(text); err != nil {
		return nil
	}
	type misfit struct {
		line int
		error
	}
	var found []misfit
	fit(reflect.TypeFor[File](), table, "", func(key, wanted string) {
		found = append(found, misfit{f.line(key), fmt.Errorf("%s: %s: must be %s", f.At(key), index.ReplaceAllString(key, ""), wanted)})
	})
	slices.SortStableFunc(found, func(a, b misfit) int { return cmp.Compare(a.line, b.line) })
	var all Misfits
	for _, m := range found {
		all = append(all, m.error)
	}
	if all == nil {
		return nil
	}
	return all
}

// fit notes what in v, a value as TOML has it, does not go into a t.
func fit(t reflect.Type, v any, key string, note func(key, wanted string)) {
	var ok bool
	var wanted string
	switch t.Kind() {
	case reflect.Pointer:
		fit(t.Elem(), v, key, note)
		return
	case reflect.Struct:
		var table map[string]any
		wanted = "a table"
		table, ok = v.(map[string]any)
		for f := range t.Fields() {
			for name, value := range table {
				if tag := f.Tag.Get("toml"); tag != "" && tag != "-" && strings.EqualFold(name, tag) {
					fit(f.Type, value, strings.TrimPrefix(key+"."+strings.ToLower(name), "."), note)
				}
			}
		}
	case reflect.Map:
		wanted = "a table"
		_, ok = v.(map[string]any)
	case reflect.Slice:
		list := reflect.ValueOf(v)
		wanted, ok = "a list", list.Kind() == reflect.Slice
		for i := 0; ok && i < list.Len(); i++ {
			fit(t.Elem(), list.Index(i).Interface(), fmt.Sprintf("%s.%d", key, i), note)
		}
	case reflect.String:
		wanted = "a string"
		_, ok = v.(string)
	case reflect.Bool:
		wanted = "true or false"
		_, ok = v.(bool)
	case reflect.Float64:
		wanted = "a number"
		switch v.(type) {
		case float64, int64:
			ok = true
		}
	default: // whole numbers
		wanted = "a whole number"
		_, ok = v.(int64)
		if t == reflect.TypeFor[time.Duration]() {
			text, _ := v.(string)
			_, err := time.ParseDuration(text)
			wanted, ok = `a duration, such as "30s", "10m" or "1h30m"`, ok || err == nil
		}
	}
	if !ok {
		note(key, wanted)
	}
}

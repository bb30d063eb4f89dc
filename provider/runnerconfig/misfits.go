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

// Misfits are values that do not have the type that the runner wants, or are no
// durations, in the order of the file. Each begins with path:line.
type Misfits []error

func (m Misfits) Error() string { return errors.Join(m...).Error() }

// misfits finds them all: the decoder stops at the first. nil = there are none, or the
// text is no TOML.
func misfits(path, text string) error {
	var file map[string]any
	if _, err := toml.Decode(text, &file); err != nil {
		return nil
	}
	f := File{Path: path}
	var err error
	if f.lines, _, err = readLines(text); err != nil {
		return nil
	}
	var found []misfit
	fit(reflect.TypeFor[File](), file, "", func(key, wanted string) {
		found = append(found, misfit{f.At(key), f.line(key), index.ReplaceAllString(key, ""), wanted})
	})
	slices.SortStableFunc(found, func(a, b misfit) int { return cmp.Compare(a.line, b.line) })
	if len(found) == 0 {
		return nil
	}
	var all Misfits
	for _, m := range found {
		all = append(all, m)
	}
	return all
}

// misfit is one of them. It does not repeat the value, which may be a secret in the
// wrong place.
type misfit struct {
	at     string
	line   int
	key    string
	wanted string
}

func (m misfit) Error() string { return fmt.Sprintf("%s: %s: %s", m.at, m.key, m.wanted) }

// fit tells note of what in v, a value as TOML has it, does not go into a t.
func fit(t reflect.Type, v any, key string, note func(key, wanted string)) {
	var ok bool
	wanted := ""
	switch t.Kind() {
	case reflect.Pointer:
		fit(t.Elem(), v, key, note)
		return
	case reflect.Struct:
		table, isTable := v.(map[string]any)
		ok, wanted = isTable, "must be a table"
		for f := range t.Fields() {
			for name, value := range table {
				if tag := f.Tag.Get("toml"); tag != "" && tag != "-" && strings.EqualFold(name, tag) {
					fit(f.Type, value, strings.TrimPrefix(key+"."+strings.ToLower(name), "."), note)
				}
			}
		}
	case reflect.Map:
		_, ok = v.(map[string]any)
		wanted = "must be a table"
	case reflect.Slice:
		list := reflect.ValueOf(v)
		ok, wanted = list.Kind() == reflect.Slice, "must be a list"
		for i := 0; ok && i < list.Len(); i++ {
			fit(t.Elem(), list.Index(i).Interface(), fmt.Sprintf("%s.%d", key, i), note)
		}
	case reflect.String:
		_, ok = v.(string)
		wanted = "must be a string"
	case reflect.Bool:
		_, ok = v.(bool)
		wanted = "must be true or false"
	case reflect.Float64:
		_, whole := v.(int64)
		_, ok = v.(float64)
		ok, wanted = ok || whole, "must be a number"
	default: // whole numbers
		_, ok = v.(int64)
		wanted = "must be a whole number"
		if t == reflect.TypeFor[time.Duration]() {
			text, isText := v.(string)
			_, err := time.ParseDuration(text)
			ok, wanted = ok || isText && err == nil, `must be a duration, such as "30s", "10m" or "1h30m"`
		}
	}
	if !ok {
		note(key, wanted)
	}
}

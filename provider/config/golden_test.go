package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// TestGoldenConfigs: what users of a version have in config.toml is accepted for ever, and means what it meant.
// testdata/config has a directory a minor version, in which each NAME.toml has a NAME.golden: the fields of the Config that
// comes of it. A field that a later version adds may be missing there. Change none of a version that is released; a new key
// goes into the next version's directory, which the test asks for.
func TestGoldenConfigs(t *testing.T) {
	host := hostWith(map[string]string{"DIGITALOCEAN_TOKEN": "dop_v1_environment"}, map[string]string{
		"/etc/gitlab-runner/digitalocean-token": "dop_v1_file\n",
		"/etc/gitlab-runner/cloud-init.yaml":    "#cloud-config\npackages: [git]\n",
	})
	files, err := filepath.Glob("../../testdata/config/*/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v %v", files, err)
	}
	unused := Keys()
	for _, path := range files {
		var table map[string]any
		if _, err := toml.DecodeFile(path, &table); err != nil {
			t.Fatal(err)
		}
		unused = slices.DeleteFunc(unused, func(key string) bool { return table[key] != nil })
		data, err := json.Marshal(table) // as the runner does
		if err != nil {
			t.Fatal(err)
		}
		config, err := Parse(data, host)
		if err != nil {
			t.Errorf("%s was accepted once:\n%v", path, err)
		}
		for _, schema := range pluginSchemas() {
			if err := schema.Validate(tableOf(t, data)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		fields := dump(config)
		golden, err := os.ReadFile(strings.TrimSuffix(path, ".toml") + ".golden")
		if err != nil {
			t.Errorf("%v; it would be\n%s", err, strings.Join(fields, "\n"))
		}
		for line := range strings.Lines(string(golden)) {
			if line = strings.TrimSuffix(line, "\n"); !slices.Contains(fields, line) {
				t.Errorf("%s was\n%s\nand is\n%s", path, line, strings.Join(fields, "\n"))
			}
		}
	}
	if len(unused) > 0 {
		t.Errorf("no golden config has %q: add it to one of the version that brings it", unused)
	}
}

// dump prints the fields of a Config, a line each.
func dump(c Config) (lines []string) {
	v := reflect.ValueOf(c)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Anonymous {
			continue // its fields are visible too
		}
		field := v.FieldByIndex(f.Index)
		value := fmt.Sprintf("%q", fmt.Sprintf("%+v", field.Interface()))
		if p, ok := field.Interface().(*bool); ok && p != nil {
			value = fmt.Sprintf("%q", fmt.Sprint(*p))
		}
		lines = append(lines, f.Name+" = "+value)
	}
	return lines
}

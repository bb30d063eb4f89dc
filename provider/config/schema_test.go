package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// compile returns a part of the schema as a validator of a draft knows it.
func compile(draft, part string) *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		panic(err)
	}
	document.(map[string]any)["$schema"] = "http://json-schema.org/" + draft + "/schema#"
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", document); err != nil {
		panic(err)
	}
	return c.MustCompile("config.json" + part)
}

// pluginSchemas are those of plugin_config: TOML editors validate by either draft.
var pluginSchemas = sync.OnceValue(func() (all []*jsonschema.Schema) {
	for _, draft := range []string{"draft-04", "draft-07"} {
		all = append(all, compile(draft, "#/definitions/plugin_config"))
	}
	return all
})

// beyondSchema matches the faults that no schema can know.
var beyondSchema = regexp.MustCompile(`https|environment|"/\w+" |path|ASCII|-doctor|"fleeting"|\[secret\]|among|not "[0-9.]+[hs]|/v2|user name`)

// TestSchemaRefuses: each value of testdata/faults.txt that is refused for its type, its form or its range is refused by the
// schema too, and so are keys that are missing, misspelt or exclude each other.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	changes := []string{
		`{"name": null}`, `{"region": null}`, `{"size": null}`, `{"image": null}`, `{"user_data": "x", "user_data_file": "/etc/cloud.yaml"}`,
		`{"region": ["nyc3", "fra1"], "vpc_uuid": {"nyc3": "5a4981aa"}}`, `{"max_creating": 1.5}`, `{"size": ["a", "a"]}`, `{"backups": "x"}`,
	}
	for _, c := range faultCases(t) {
		var given map[string]json.RawMessage
		_ = json.Unmarshal(c.data, &given) // what is no table is beyond a schema too
		for key, v := range given {
			changes = append(changes, fmt.Sprintf(`{%q: %s}`, key, v))
		}
	}
	var refused Faults
	for _, change := range changes {
		data := minimalAnd(t, change)
		_, err := Parse(data, emptyHost)
		if err == nil || beyondSchema.MatchString(err.Error()) {
			continue
		}
		refused = append(refused, faultsOf(err)...)
		for _, schema := range pluginSchemas() {
			if schema.Validate(decode(t, data)) == nil {
				t.Errorf("%s: the schema of draft %d accepts it, and Parse says\n%v", change, schema.DraftVersion, err)
			}
		}
	}
	for _, key := range append(Keys(), "Colour") {
		if !refused.Has(key) {
			t.Errorf("no value of %s was tried that is refused", key)
		}
	}
}

// TestSchemaAccepts: a whole config.toml is described, and of it the runners of this plugin alone.
func TestSchemaAccepts(t *testing.T) {
	t.Parallel()
	schema := compile("draft-07", "")
	timeout := pluginSchemas()[0].Properties["create_timeout"]
	if *timeout.Default != "10m" || !strings.HasPrefix(timeout.Description, "A Droplet that") {
		t.Errorf("create_timeout has the default %v, and is described as %s", *timeout.Default, timeout.Description)
	}
	validate := func(file map[string]any) error {
		data, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(decode(t, data))
	}
	const runner = "[[runners]]\nname = 'do'\n[runners.autoscaler]\nplugin = '%s'\n[runners.autoscaler.plugin_config]\n%s"
	everything, err := os.ReadFile("../../testdata/config/0.1/everything.toml")
	if err != nil {
		t.Fatal(err)
	}
	everything = regexp.MustCompile(`(?m)^\[`).ReplaceAll(everything, []byte("[runners.autoscaler.plugin_config."))
	type file struct {
		text   string
		faulty bool
	}
	files := []file{
		{fmt.Sprintf(runner, "/usr/bin/fleeting-plugin-digitalocean", everything), false},
		{fmt.Sprintf(runner, "fleeting-plugin-digitalocean", "name = 1"), true},
		{fmt.Sprintf(runner, "registry.example.com/x/fleeting-plugin-digitalocean:1.2.3", "name = 1"), true},
		{fmt.Sprintf(runner, `C:\fleeting-plugin-digitalocean.exe`, "name = 1"), true},
		{fmt.Sprintf(runner, "fleeting-plugin-aws", "name = 1"), false},
		{"concurrent = 1\n[[runners]]\nname = 'shell'\n[runners.autoscaler.plugin_config]\nname = 1", false},
	}
	for _, text := range exampleConfigs(t) {
		files = append(files, file{text, false})
	}
	for _, c := range files {
		var file map[string]any
		if _, err := toml.Decode(c.text, &file); err != nil {
			t.Fatal(err)
		}
		if err := validate(file); (err != nil) != c.faulty {
			t.Errorf("%s\nis faulty by the schema: %v", c.text, err)
		}
	}
}

// exampleConfigs returns the config.toml of each example, also those within YAML.
func exampleConfigs(t *testing.T) (configs []string) {
	t.Helper()
	var find func(any)
	find = func(v any) {
		switch v := v.(type) {
		case string:
			if strings.Contains(v, "[runners.autoscaler.plugin_config]") {
				configs = append(configs, v)
			}
		case []any:
			for _, one := range v {
				find(one)
			}
		case map[string]any:
			for _, one := range v {
				find(one)
			}
		}
	}
	for _, file := range []string{"config.toml", "demo/config.toml", "kubernetes/values.yaml", "manager/cloud-init.yaml"} {
		text, err := os.ReadFile("../../examples/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var content any = string(text)
		if strings.HasSuffix(file, ".yaml") {
			if err := yaml.Unmarshal(text, &content); err != nil {
				t.Fatal(err)
			}
		}
		before := len(configs)
		if find(content); len(configs) != before+1 {
			t.Errorf("%s has %d configurations", file, len(configs)-before)
		}
	}
	return configs
}

// decode makes a table of JSON as a validator takes it, without what is null: TOML has no such thing.
func decode(t testing.TB, data []byte) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	table := v.(map[string]any)
	maps.DeleteFunc(table, func(_ string, value any) bool { return value == nil })
	return table
}

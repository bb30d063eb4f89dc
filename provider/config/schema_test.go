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
var beyondSchema = regexp.MustCompile(`https|"/\w+" |environment|token_file is|path|ASCII|-doctor|"fleeting"|\[secret\]|among|not "[0-9.]+[hs]|/v2|user name|empty|bytes|needs`)

// TestSchemaRefuses: each value of testdata/faults.txt that is refused for its type, its form or its range is refused by the
// schema too, and so are keys that are missing, misspelt or exclude each other.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	changes := []string{
		`{"name": null}`, `{"region": null}`, `{"size": null}`, `{"image": null}`, `{"user_data": "x", "user_data_file": "/etc/cloud.yaml"}`,
		`{"region": ["nyc3", "fra1"], "vpc_uuid": {"nyc3": "5a4981aa"}}`, `{"max_creating": 1.5}`, `{"backups": "x"}`,
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
		if err == nil || beyondSchema.MatchString(faultsOf(err)[0].Text) {
			continue
		}
		refused = append(refused, faultsOf(err)...)
		for _, schema := range pluginSchemas() {
			if schema.Validate(tableOf(t, data)) == nil {
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
	const runner = "[[runners]]\nname = 'do'\n[runners.autoscaler]\nplugin = '%s'\n[runners.autoscaler.plugin_config]\n%s"
	everything, err := os.ReadFile("../../testdata/config/0.1/everything.toml")
	if err != nil {
		t.Fatal(err)
	}
	everything = regexp.MustCompile(`(?m)^\[`).ReplaceAll(everything, []byte("[runners.autoscaler.plugin_config."))
	for _, c := range []struct {
		text   string
		faulty bool
	}{
		{fmt.Sprintf(runner, "/usr/bin/fleeting-plugin-digitalocean", everything), false},
		{fmt.Sprintf(runner, "fleeting-plugin-digitalocean", "name = 1"), true},
		{fmt.Sprintf(runner, "registry.example.com/x/fleeting-plugin-digitalocean:1.2.3", "name = 1"), true},
		{fmt.Sprintf(runner, `C:\fleeting-plugin-digitalocean.exe`, "name = 1"), true},
		{fmt.Sprintf(runner, "fleeting-plugin-aws", "name = 1"), false},
		{"concurrent = 1\n[[runners]]\nname = 'shell'\n[runners.autoscaler.plugin_config]\nname = 1", false},
	} {
		var file map[string]any
		if _, err := toml.Decode(c.text, &file); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(tableOf(t, data)); (err != nil) != c.faulty {
			t.Errorf("%s\nis faulty by the schema: %v", c.text, err)
		}
	}
}

// tableOf makes a table of JSON as a validator takes it, without what is null: TOML has no such thing.
func tableOf(t testing.TB, data []byte) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	table := v.(map[string]any)
	maps.DeleteFunc(table, func(_ string, value any) bool { return value == nil })
	return table
}

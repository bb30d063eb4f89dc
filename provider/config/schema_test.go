package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"

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
var beyondSchema = regexp.MustCompile(`https|"/\w+" |token: is required|environment variable|path|ASCII|"fleeting"|-doctor|\[secret\]|not in|not "[0-9.]+[hs]|a text, not ""`)

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
		if err == nil || beyondSchema.MatchString(faultsOf(err)[0].Error()) {
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

// TestSchemaAccepts: a whole config.toml is described, and of it the runners of this plugin alone. TestGoldenConfigs has what the
// schema accepts.
func TestSchemaAccepts(t *testing.T) {
	t.Parallel()
	schema := compile("draft-07", "")
	timeout := pluginSchemas()[0].Properties["create_timeout"]
	if *timeout.Default != "10m" || !strings.HasPrefix(timeout.Description, "A Droplet that") {
		t.Errorf("create_timeout has the default %v, and is described as %s", *timeout.Default, timeout.Description)
	}
	for plugin, faulty := range map[string]bool{
		"fleeting-plugin-digitalocean": true, "registry.example.com/x/fleeting-plugin-digitalocean:1.2.3": true, "fleeting-plugin-aws": false,
	} {
		file := fmt.Sprintf(`{"concurrent": 1, "runners": [{"autoscaler": {"plugin": %q, "plugin_config": {"name": 1}}}]}`, plugin)
		if err := schema.Validate(tableOf(t, []byte(file))); (err != nil) != faulty {
			t.Errorf("a config.toml with %s is faulty by the schema: %v", plugin, err)
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

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
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

// TestSchemaRefuses: what is refused for its type, for one of few values or for its range is refused by the schema too.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	unseen := map[string]bool{"token": true, "token_file": true}
	for _, key := range Keys() {
		unseen[key] = true
	}
	for _, c := range []struct{ key, change string }{
		{"colour", `{"colour": "red"}`},
		{"name", `{"name": "-ci"}`},
		{"name", `{"name": null}`},
		{"token", `{"token": 1}`},
		{"token_file", `{"token_file": 1}`},
		{"api_url", `{"api_url": "api.digitalocean.com"}`},
		{"region", `{"region": []}`},
		{"region", `{"region": null}`},
		{"size", `{"size": ["a", "a"]}`},
		{"size", `{"size": ["a", 1]}`},
		{"image", `{"image": 0}`},
		{"image", `{"image": null}`},
		{"image_tag", `{"image": null, "image_tag": "a b"}`},
		{"image_tag", `{"image_tag": "golden"}`},
		{"ssh_keys", `{"ssh_keys": "SHA256:abc"}`},
		{"ssh_key_file", `{"ssh_key_file": ""}`},
		{"vpc_uuid", `{"vpc_uuid": "default"}`},
		{"vpc_uuid", `{"vpc_uuid": {"nyc3": "default"}}`},
		{"subnet_uuid", `{"vpc_uuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4", "subnet_uuid": true}`},
		{"subnet_uuid", `{"subnet_uuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"}`},
		{"public_networking", `{"public_networking": "true"}`},
		{"ipv6", `{"ipv6": 1}`},
		{"monitoring", `{"monitoring": "yes"}`},
		{"backups", `{"backups": []}`},
		{"with_droplet_agent", `{"with_droplet_agent": "x"}`},
		{"user_data", `{"user_data": "` + strings.Repeat("x", 65537) + `"}`},
		{"user_data_file", `{"user_data_file": 1}`},
		{"user_data_file", `{"user_data": "x", "user_data_file": "/etc/cloud.yaml"}`},
		{"tags", `{"tags": ["a b"]}`},
		{"project_id", `{"project_id": "my project"}`},
		{"max_instances", `{"max_instances": 0}`},
		{"max_creating", `{"max_creating": 100001}`},
		{"max_creating", `{"max_creating": 1.5}`},
		{"max_hourly_cost", `{"max_hourly_cost": 0}`},
		{"create_timeout", `{"create_timeout": "600"}`},
	} {
		delete(unseen, c.key)
		data := minimalAnd(t, c.change)
		if _, err := Parse(data, emptyHost); !strings.Contains(fmt.Sprint(err), "plugin_config."+c.key+": ") {
			t.Errorf("%s: Parse returns %v", c.change, err)
		}
		for _, schema := range pluginSchemas() {
			if err := schema.Validate(decode(t, data)); err == nil {
				t.Errorf("%s: the schema of draft %d accepts it", c.change, schema.DraftVersion)
			}
		}
	}
	if len(unseen) > 0 {
		t.Errorf("no value that is refused was tried for %v", unseen)
	}
}

// TestSchemaAccepts: a whole config.toml is described, and of it the runners of this plugin alone.
func TestSchemaAccepts(t *testing.T) {
	t.Parallel()
	schema := compile("draft-07", "")
	files, _ := filepath.Glob("../../testdata/config/*/*.toml")
	for _, path := range append(files, "../../examples/config.toml") {
		var file map[string]any
		if _, err := toml.DecodeFile(path, &file); err != nil {
			t.Fatal(err)
		}
		if file["runners"] == nil { // a plugin_config alone, which may have keys in capitals
			lower := map[string]any{}
			for key, value := range file {
				lower[strings.ToLower(key)] = value
			}
			file = configWith("/usr/bin/fleeting-plugin-digitalocean", lower)
		}
		if err := schema.Validate(roundTrip(t, file)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for plugin, ours := range map[string]bool{
		"fleeting-plugin-digitalocean":                              true,
		"registry.example.com/x/fleeting-plugin-digitalocean:1.2.3": true,
		`C:\fleeting-plugin-digitalocean.exe`:                       true,
		"fleeting-plugin-aws":                                       false,
		"":                                                          false,
	} {
		err := schema.Validate(roundTrip(t, configWith(plugin, map[string]any{"name": 1})))
		if (err != nil) != ours {
			t.Errorf("a faulty plugin_config of %q: %v", plugin, err)
		}
	}
}

func configWith(plugin string, pluginConfig map[string]any) map[string]any {
	return map[string]any{"concurrent": 1, "runners": []any{map[string]any{
		"name": "ci", "autoscaler": map[string]any{"plugin": plugin, "plugin_config": pluginConfig},
	}}}
}

// roundTrip makes of a value what a validator takes.
func roundTrip(t testing.TB, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, data)
}

// decode leaves out what is null, which TOML has not.
func decode(t testing.TB, data []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if table, ok := v.(map[string]any); ok {
		for key, value := range table {
			if value == nil {
				delete(table, key)
			}
		}
	}
	return v
}

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
	example, err := os.ReadFile("../../examples/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	everything = regexp.MustCompile(`(?m)^\[`).ReplaceAll(everything, []byte("[runners.autoscaler.plugin_config."))
	for _, c := range []struct {
		text   string
		faulty bool
	}{
		{string(example), false},
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
		if err := validate(file); (err != nil) != c.faulty {
			t.Errorf("%s\nis faulty by the schema: %v", c.text, err)
		}
	}
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

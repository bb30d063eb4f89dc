package config

import (
	"encoding/json"
	"maps"
	"regexp"
)

const pluginName = `(^|[/\\])fleeting-plugin-digitalocean(\.exe)?([:@].*)?$`

// IsPlugin reports whether the plugin of [runners.autoscaler] is this one: a path, a name in PATH, or an OCI reference with or
// without a version.
func IsPlugin(name string) bool { return regexp.MustCompile(pluginName).MatchString(name) }

// Schema returns a JSON Schema of a config.toml, for editors. Of the file it describes the plugin_config of runners that use
// this plugin. What it refuses [Parse] refuses too. It is draft-07, and means the same in draft-04 apart from if and then:
// TOML editors know no later one.
func Schema() []byte {
	properties, dependencies, required := object{}, object{}, []string{}
	table := object{"type": "object", "additionalProperties": false, "properties": properties, "dependencies": dependencies}
	for _, k := range new(parser).keys() {
		property := maps.Clone(k.takes.schema)
		property["description"] = k.help
		if json.Valid([]byte(k.fallback)) {
			property["default"] = json.RawMessage(k.fallback)
		}
		properties[k.name] = property
		switch {
		case k.environment != nil: // of which a schema knows nothing
		case k.instead != "":
			table["anyOf"] = []object{{"required": []string{k.name}}, {"required": []string{k.instead}}}
		case k.required:
			required = append(required, k.name)
		case k.excludes != "":
			dependencies[k.name] = object{"not": object{"required": []string{k.excludes}}}
		case k.needs != "":
			dependencies[k.name] = []string{k.needs}
		}
	}
	table["required"] = required
	reference := object{"$ref": "#/definitions/plugin_config"}
	autoscaler := object{
		// Any plugin_config is fine here: it is where editors, which do not look into if and then, find what to propose.
		"properties": object{"plugin_config": anyOf(reference, object{})},
		"if":         object{"properties": object{"plugin": object{"pattern": pluginName}}, "required": []string{"plugin"}},
		"then":       object{"properties": object{"plugin_config": reference}},
	}
	runner := object{"properties": object{"autoscaler": autoscaler}}
	schema, err := json.MarshalIndent(object{
		"$schema":     "http://json-schema.org/draft-07/schema#",
		"title":       "config.toml of GitLab Runner with fleeting-plugin-digitalocean",
		"type":        "object",
		"properties":  object{"runners": object{"items": runner}},
		"definitions": object{"plugin_config": table},
	}, "", "  ")
	if err != nil {
		panic(err) // it is made of constants
	}
	return append(schema, '\n')
}

package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/configuration.md")

// values are where the values of a key come from: what the documentation has beside the key, and editors do not need.
var values = map[string]string{
	"token":              "[How to create one](https://docs.digitalocean.com/reference/api/create-personal-access-token/), with [these scopes](security.md#the-token)",
	"region":             "`doctl compute region list`",
	"size":               "`doctl compute size list`",
	"image":              "`doctl compute image list-application --public`; your own: `doctl compute image list`",
	"image_tag":          "[Golden images](golden-image.md)",
	"ssh_keys":           "`doctl compute ssh-key list`",
	"vpc_uuid":           "`doctl vpcs list`, [network](network.md)",
	"public_networking":  "[Network](network.md#one-egress-address)",
	"with_droplet_agent": "[The agent](https://docs.digitalocean.com/products/droplets/how-to/manage-agent/)",
	"user_data":          "[User data](https://docs.digitalocean.com/products/droplets/how-to/provide-user-data/)",
	"tags":               "[A firewall](security.md#a-firewall)",
	"project_id":         "`doctl projects list`",
	"max_instances":      "`doctl account get`",
}

// reference is the table of keys as Markdown.
func reference() string {
	var s strings.Builder
	s.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range new(parser).keys() {
		fallback := k.fallback
		if k.required {
			fallback = strings.TrimSuffix("required, or "+k.instead, ", or ")
			if k.environment != nil {
				fallback += ", or the environment"
			}
		}
		fallback = regexp.MustCompile(`\b\w+_\w+\b`).ReplaceAllString(fallback, "`$0`") // a key
		if json.Valid([]byte(k.fallback)) {
			fallback = "`" + k.fallback + "`"
		}
		help := strings.ReplaceAll(k.help, "|", `\|`)
		if where := values[k.name]; where != "" {
			help += " " + where + "."
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", k.name, strings.Join(typesOf(k.takes.schema), " or "), fallback, help)
	}
	return s.String()
}

// typesOf returns what a schema takes, as TOML calls it.
func typesOf(schema object) []string {
	if name, ok := schema["type"].(string); ok {
		return []string{strings.NewReplacer("integer", "number", "array", "list", "object", "table").Replace(name)}
	}
	var types []string
	for _, one := range schema["anyOf"].([]object) {
		for _, name := range typesOf(one) {
			if !slices.Contains(types, name) {
				types = append(types, name)
			}
		}
	}
	return types
}

// TestReference pins that the table in docs/configuration.md is that of the code.
func TestReference(t *testing.T) {
	for key := range values {
		if !slices.Contains(Keys(), key) {
			t.Errorf("there is no key %s", key)
		}
	}
	const path = "../../docs/configuration.md"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- generated from provider/config/keys.go by make docs -->\n\n", "\n<!-- end of what is generated -->"
	before, rest, ok := strings.Cut(string(content), begin)
	old, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table, between %q and %q", path, begin, end)
	}
	if old == reference() {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: run make docs", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+reference()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestReferenceIsTrue: what the reference calls required is a fault when it is missing, and a default that it gives may as
// well be written.
func TestReferenceIsTrue(t *testing.T) {
	t.Parallel()
	_, err := Parse(nil, emptyHost)
	missing := faultsOf(err)
	byDefault := dump(accept(t, `{}`, emptyHost))
	for _, k := range new(parser).keys() {
		if want := k.required; missing.Has(k.name) != want || !strings.HasSuffix(k.help, ".") {
			t.Errorf("%s: the reference says %q, without it the faults are\n%v", k.name, k.fallback, missing)
		}
		if json.Valid([]byte(k.fallback)) {
			if written := dump(accept(t, fmt.Sprintf(`{%q: %s}`, k.name, k.fallback), emptyHost)); !slices.Equal(written, byDefault) {
				t.Errorf("%s: the reference says the default is %s, which makes %v of %v", k.name, k.fallback, written, byDefault)
			}
		}
	}
}

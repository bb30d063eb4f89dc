package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// check reads the result as the runner and the plugin will. What they would refuse is
// an error, so that it is never written.
func (m *migration) check(path, before, after string) {
	file, err := runnerconfig.Parse(path, after)
	if err != nil {
		m.bug("the result cannot be read: " + err.Error())
		return
	}
	for _, c := range m.migrated {
		key := fmt.Sprintf("runners.%d.autoscaler.", c.index)
		for _, ignored := range file.Ignored {
			if strings.HasPrefix(ignored, key) {
				m.bug("the runner would ignore " + ignored)
			}
		}
		r := file.Runners[c.index]
		if !r.OurPlugin() || r.Executor != "docker-autoscaler" {
			m.bug(key + "plugin is not this one")
			continue
		}
		c.checkPlugin(r.Autoscaler.PluginConfig)
	}
	if what := m.changedElse(before, after); what != "" {
		m.bug("the result differs in " + what)
	}
}

// bug files what cannot be. It stops the migration: rather nothing than a file that
// is not what it should be.
func (m *migration) bug(text string) {
	m.notes = append(m.notes, Note{Severity: Error, Text: "a fault of this command: " + redacted(text, m.redact), Hint: "please report it, with the file but without its secrets"})
}

// checkPlugin is what Init does with plugin_config before it asks DigitalOcean.
func (c *conversion) checkPlugin(table map[string]any) {
	text, err := json.Marshal(table)
	if err != nil {
		c.bug("plugin_config as JSON: " + err.Error())
		return
	}
	host := c.options.Host
	read := host.ReadFile
	host.ReadFile = func(path string, limit int64) ([]byte, error) {
		// It is written after this, or by the user.
		if path == table["token_file"] {
			return []byte("dop_v1_not_written_yet"), nil
		}
		return read(path, limit)
	}
	_, err = config.Parse(text, host)
	faults, _ := errors.AsType[config.Faults](err)
	for _, f := range faults {
		n := Note{Severity: Error, Line: c.line(), Text: "plugin_config." + f.Key + " " + f.Text, Hint: f.Hint}
		if line := c.plugin.at[f.Key]; line > 0 {
			n.Line = line
		}
		if f.Key == "user_data_file" {
			n.Severity, n.Hint = Warning, "the plugin does not start without it: put it there, on the runner's host"
		}
		c.note(n)
	}
}

// changedElse compares what the file means before and after, but for what is to
// differ, and returns where it does.
func (m *migration) changedElse(before, after string) string {
	old, new := meaning(before), meaning(after)
	delete(old, "machine")
	delete(new, "machine")
	for i, c := range m.runners {
		migrated := slices.ContainsFunc(m.migrated, func(one *conversion) bool { return one.runner == c })
		a, b := nth(old, i), nth(new, i)
		if migrated {
			for _, key := range []string{"executor", "machine", "autoscaler", "cache"} {
				delete(a, key)
				delete(b, key)
			}
			for _, one := range []map[string]any{a, b} {
				docker, _ := one["docker"].(map[string]any)
				for _, key := range []string{"host", "tls_verify", "tls_cert_path"} {
					delete(docker, key)
				}
				if len(docker) == 0 {
					delete(one, "docker")
				}
			}
		}
		if !reflect.DeepEqual(a, b) {
			return fmt.Sprintf("runners.%d", i)
		}
	}
	delete(old, "runners")
	delete(new, "runners")
	if !reflect.DeepEqual(old, new) {
		return "its global keys"
	}
	return ""
}

// meaning decodes a text, with the names of tables and keys in lower case.
func meaning(text string) map[string]any {
	var all map[string]any
	_, _ = toml.Decode(text, &all) // both texts have been decoded before
	lower, _ := lowered(all).(map[string]any)
	return lower
}

func lowered(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) { // of two spellings always the same one
			name, value := strings.ToLower(key), lowered(v[key])
			one, both := out[name].(map[string]any)
			if other, is := value.(map[string]any); both && is {
				maps.Copy(one, other) // two spellings of a table, of which the migration may empty one
				continue
			}
			out[name] = value
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = lowered(v[i])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = lowered(v[i])
		}
		return out
	}
	return v
}

func nth(file map[string]any, i int) map[string]any {
	runners, _ := file["runners"].([]any)
	if i >= len(runners) {
		return nil
	}
	r, _ := runners[i].(map[string]any)
	return r
}

package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// simulated is where plugin_config is pointed at instead of DigitalOcean.
type simulated struct {
	apiURL string // of the simulator
	token  string // that the simulator accepts
	keyDir string // a directory that goes away with the run
}

// pluginConfig returns plugin_config as the JSON that the runner would hand to
// the plugin, with the few keys replaced that would otherwise reach the real
// account or write outside of the run: api_url, token, token_file, and
// ssh_key_file unless that key exists. overrides says what was replaced, one
// entry a key.
func pluginConfig(config map[string]any, s simulated) (text []byte, overrides []string, err error) {
	replaced := maps.Clone(config)
	// As encoding/json in the plugin matches them: whatever their case.
	take := func(key string) (value any) {
		maps.DeleteFunc(replaced, func(k string, v any) bool {
			if strings.EqualFold(k, key) {
				value = v
			}
			return strings.EqualFold(k, key)
		})
		return value
	}
	take("api_url")
	take("token")
	overrides = []string{"api_url = " + s.apiURL, "token = the simulator's"}
	if take("token_file") != nil {
		overrides[1] += ", in place of token_file"
	}
	replaced["api_url"], replaced["token"] = s.apiURL, s.token
	if path, ok := take("ssh_key_file").(string); ok {
		replaced["ssh_key_file"] = path
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			replaced["ssh_key_file"] = filepath.Join(s.keyDir, "ssh_key")
			overrides = append(overrides, "ssh_key_file = a temporary one, "+path+" does not exist")
		}
	}
	if text, err = json.Marshal(replaced); err != nil {
		return nil, nil, fmt.Errorf("plugin_config as JSON: %w", err)
	}
	return text, overrides, nil
}

package harness

import (
	"encoding/json"
	"errors"
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
// ssh_key_file unless that key exists.
func pluginConfig(config map[string]any, s simulated) ([]byte, error) {
	replaced := map[string]any{}
	maps.Copy(replaced, config)
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
	for _, key := range []string{"api_url", "token", "token_file"} {
		take(key)
	}
	replaced["api_url"], replaced["token"] = s.apiURL, s.token
	if path, ok := take("ssh_key_file").(string); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			path = filepath.Join(s.keyDir, "ssh_key")
		}
		replaced["ssh_key_file"] = path
	}
	return json.Marshal(replaced)
}

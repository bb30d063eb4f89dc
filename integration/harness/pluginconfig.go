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

	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
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
	set := func(key string, value any) {
		remove(replaced, key)
		replaced[key] = value
	}

	set("api_url", s.apiURL)
	overrides = append(overrides, "api_url = "+s.apiURL)

	set("token", s.token)
	if remove(replaced, "token_file") {
		overrides = append(overrides, "token = the simulator's, in place of token_file")
	} else {
		overrides = append(overrides, "token = the simulator's")
	}

	if path, ok := lookup(config, "ssh_key_file").(string); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			set("ssh_key_file", filepath.Join(s.keyDir, "ssh_key"))
			overrides = append(overrides, "ssh_key_file = a temporary one, "+path+" does not exist")
		}
	}

	text, err = json.Marshal(replaced)
	if err != nil {
		return nil, nil, fmt.Errorf("plugin_config as JSON: %w", err)
	}
	return text, overrides, nil
}

// standingKeys are the public halves, as lines of authorized_keys, of the
// private keys that the configuration names: they outlive a run, and so do
// their entries on the account.
func standingKeys(pluginConfig []byte, c runnerconfig.Connector) ([]string, error) {
	var config map[string]any
	if err := json.Unmarshal(pluginConfig, &config); err != nil {
		return nil, err
	}
	var keys []string
	for _, path := range []any{lookup(config, "ssh_key_file"), c.KeyPath} {
		path, _ := path.(string)
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // one that was never made stands for nothing
		}
		if err != nil {
			return nil, err
		}
		key, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))))
	}
	return keys, nil
}

// lookup and remove match keys as encoding/json does in the plugin: whatever
// their case.
func lookup(config map[string]any, key string) any {
	for k, v := range config {
		if strings.EqualFold(k, key) {
			return v
		}
	}
	return nil
}

func remove(config map[string]any, key string) (found bool) {
	for k := range config {
		if strings.EqualFold(k, key) {
			delete(config, k)
			found = true
		}
	}
	return found
}

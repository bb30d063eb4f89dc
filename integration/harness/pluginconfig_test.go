package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPluginConfigReplacesOnlyWhatLeadsToARealAccount(t *testing.T) {
	dir := t.TempDir()
	standing := filepath.Join(dir, "key")
	if err := os.WriteFile(standing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "none", "key")
	s := simulated{apiURL: "http://127.0.0.1:1", token: "T", keyDir: "/run/keys"}

	for _, tt := range []struct {
		name      string
		config    map[string]any
		want      map[string]any
		overrides []string
	}{
		{
			name:   "everything else stays as it is",
			config: map[string]any{"name": "ci", "region": []any{"fra1"}, "vpc_uuid": map[string]any{"fra1": "u"}, "max_instances": int64(5)},
			want: map[string]any{
				"name": "ci", "region": []any{"fra1"}, "vpc_uuid": map[string]any{"fra1": "u"}, "max_instances": 5.0,
				"api_url": "http://127.0.0.1:1", "token": "T",
			},
			overrides: []string{"api_url = http://127.0.0.1:1", "token = the simulator's"},
		},
		{
			name:      "token_file",
			config:    map[string]any{"name": "ci", "token_file": "/etc/token"},
			want:      map[string]any{"name": "ci", "api_url": "http://127.0.0.1:1", "token": "T"},
			overrides: []string{"api_url = http://127.0.0.1:1", "token = the simulator's, in place of token_file"},
		},
		{
			name:      "keys in any case",
			config:    map[string]any{"API_URL": "https://api.digitalocean.com", "Token": "real", "Token_File": "/etc/token"},
			want:      map[string]any{"api_url": "http://127.0.0.1:1", "token": "T"},
			overrides: []string{"api_url = http://127.0.0.1:1", "token = the simulator's, in place of token_file"},
		},
		{
			name:      "an SSH key that is there",
			config:    map[string]any{"ssh_key_file": standing},
			want:      map[string]any{"ssh_key_file": standing, "api_url": "http://127.0.0.1:1", "token": "T"},
			overrides: []string{"api_url = http://127.0.0.1:1", "token = the simulator's"},
		},
		{
			name:   "an SSH key that the plugin would make",
			config: map[string]any{"ssh_key_file": missing},
			want:   map[string]any{"ssh_key_file": filepath.Join("/run/keys", "ssh_key"), "api_url": "http://127.0.0.1:1", "token": "T"},
			overrides: []string{
				"api_url = http://127.0.0.1:1", "token = the simulator's",
				"ssh_key_file = a temporary one, " + missing + " does not exist",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, overrides, err := pluginConfig(tt.config, s)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("config, -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.overrides, overrides); diff != "" {
				t.Errorf("overrides, -want +got:\n%s", diff)
			}
		})
	}
}

func TestPluginConfigLeavesTheCallersMapAlone(t *testing.T) {
	config := map[string]any{"name": "ci", "token_file": "/etc/token"}
	if _, _, err := pluginConfig(config, simulated{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"name": "ci", "token_file": "/etc/token"}, config); diff != "" {
		t.Error(diff)
	}
}

package harness

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPluginConfigReplacesOnlyWhatLeadsToARealAccount(t *testing.T) {
	s := simulated{apiURL: "http://127.0.0.1:1", token: "T", keyDir: "/run/keys"}
	there, missing := t.TempDir(), filepath.Join(t.TempDir(), "none")
	for name, tt := range map[string]struct {
		config map[string]any
		want   string
	}{
		"everything else stays as it is": {
			map[string]any{"name": "ci", "vpc_uuid": map[string]any{"fra1": "u"}},
			`{"api_url":"http://127.0.0.1:1","name":"ci","token":"T","vpc_uuid":{"fra1":"u"}}`,
		},
		"keys in any case": {
			map[string]any{"API_URL": "https://api.digitalocean.com", "Token": "real", "Token_File": "/etc/token"},
			`{"api_url":"http://127.0.0.1:1","token":"T"}`,
		},
		"an SSH key that is there": {
			map[string]any{"ssh_key_file": there},
			`{"api_url":"http://127.0.0.1:1","ssh_key_file":"` + there + `","token":"T"}`,
		},
		"an SSH key that the plugin would make": {
			map[string]any{"ssh_key_file": missing},
			`{"api_url":"http://127.0.0.1:1","ssh_key_file":"/run/keys/ssh_key","token":"T"}`,
		},
	} {
		before := len(tt.config)
		text, err := pluginConfig(tt.config, s)
		if err != nil || len(tt.config) != before {
			t.Errorf("%s: %v, %v", name, err, tt.config)
		}
		if diff := cmp.Diff(tt.want, string(text)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

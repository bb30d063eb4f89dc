package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

const hidden = "dop_v1_b7d03a6947b217efb6f3ec3bd3504582"

// TestSecretCannotBePrinted prints a Secret in every way that Go has, alone and inside what holds one in the plugin.
func TestSecretCannotBePrinted(t *testing.T) {
	t.Parallel()
	secret := NewSecret(hidden)
	if none := NewSecret(""); none != (Secret{}) || fmt.Sprint(none) != "" || !secret.Equal(NewSecret(hidden)) || secret.Equal(none) {
		t.Error("an empty Secret is not as if there were none")
	}
	config := Config{Account: Account{Name: "ci", Token: Token{Value: secret}}}
	for _, holder := range []any{
		secret, &secret, &config, []Secret{secret}, map[string]Secret{"k": secret}, struct{ config Config }{config}, fmt.Errorf("refused %v", secret),
	} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%t", "%10.3s", "%w"} {
			fmt.Fprintf(&out, verb+"\n", holder)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "k", holder)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "k", holder)
		hclog.New(&hclog.LoggerOptions{Output: &out}).Info("m", "k", holder)
		hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true}).Info("m", "k", holder)
		if err := json.NewEncoder(&out).Encode(holder); err != nil {
			t.Errorf("%T as JSON: %v", holder, err)
		}
		if err := xml.NewEncoder(&out).Encode(secret); err != nil {
			t.Error(err)
		}
		// as it is, in hexadecimal, and as a list of bytes
		for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%d", []byte(hidden))} {
			if strings.Contains(strings.ToLower(out.String()), form) {
				t.Errorf("%T is shown:\n%s", holder, &out)
			}
		}
	}
}

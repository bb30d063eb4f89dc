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
	config := Config{Name: "ci", Token: Token{Value: secret}}
	for name, holder := range map[string]any{
		"alone":               secret,
		"pointer":             &secret,
		"pointer to a config": &config,
		"list":                []Secret{secret},
		"map":                 map[string]Secret{"k": secret},
		"unexported field":    struct{ config Config }{config},
		"error":               fmt.Errorf("refused %v", secret),
	} {
		printed := map[string]string{"Sprint": fmt.Sprint(holder)}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%t", "%10.3s", "%w"} {
			printed[verb] = fmt.Sprintf(verb, holder)
		}
		var text, js, hc bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", holder)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "k", holder)
		hclog.New(&hclog.LoggerOptions{Output: &hc}).Info("m", "k", holder)
		hclog.New(&hclog.LoggerOptions{Output: &hc, JSONFormat: true}).Info("m", "k", holder)
		printed["slog's text"], printed["slog's JSON"], printed["hclog"] = text.String(), js.String(), hc.String()
		if out, err := json.Marshal(holder); err != nil {
			t.Errorf("%s as JSON: %v", name, err)
		} else {
			printed["JSON"] = string(out)
		}
		if out, err := xml.Marshal(secret); err != nil {
			t.Error(err)
		} else {
			printed["XML"] = string(out)
		}

		for how, printed := range printed {
			// as it is, in hexadecimal, and as a list of bytes
			for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%d", []byte(hidden))} {
				if strings.Contains(strings.ToLower(printed), form) || printed == "" {
					t.Errorf("%s by %s shows %q", name, how, printed)
				}
			}
		}
	}
}

func TestSecretShowsWhetherItIsThere(t *testing.T) {
	t.Parallel()
	for held, want := range map[string]string{hidden: "[secret]", "": ""} {
		secret := NewSecret(held)
		if secret.Reveal() != held || secret.IsZero() != (held == "") || !secret.Equal(NewSecret(held)) || secret.Equal(NewSecret("y")) ||
			fmt.Sprint(secret) != want {
			t.Errorf("a Secret of %q does not behave as one: %v", held, secret)
		}
	}
}

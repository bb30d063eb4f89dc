package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
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
	holders := map[string]any{
		"alone":               secret,
		"pointer":             &secret,
		"config":              config,
		"pointer to a config": &config,
		"list":                []Secret{secret},
		"map":                 map[string]Secret{"k": secret},
		"unexported field":    struct{ config Config }{config},
		"error":               fmt.Errorf("refused %v: %w", secret, errors.New("401")),
	}
	for name, holder := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%t", "%10.3s", "%w"} {
			check(t, name+" as "+verb, fmt.Sprintf(verb, holder))
		}
		check(t, name+" by Sprint", fmt.Sprint(holder))

		out, err := json.Marshal(holder)
		if err != nil {
			t.Errorf("%s as JSON: %v", name, err)
		}
		check(t, name+" as JSON", string(out))

		var text, js, hc bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", holder)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "k", holder)
		hclog.New(&hclog.LoggerOptions{Output: &hc}).Info("m", "k", holder)
		hclog.New(&hclog.LoggerOptions{Output: &hc, JSONFormat: true}).Info("m", "k", holder)
		check(t, name+" through slog's text", text.String())
		check(t, name+" through slog's JSON", js.String())
		check(t, name+" through hclog", hc.String())
	}

	out, err := xml.Marshal(secret)
	if err != nil {
		t.Error(err)
	}
	check(t, "XML", string(out))
}

// check looks for the secret as it is, as a list of bytes, and in hexadecimal.
func check(t *testing.T, how, printed string) {
	t.Helper()
	lower := strings.ToLower(printed)
	for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%d", []byte(hidden))} {
		if strings.Contains(lower, form) {
			t.Errorf("%s shows the secret: %s", how, printed)
		}
	}
	if printed == "" {
		t.Errorf("%s shows nothing at all: this test cannot fail", how)
	}
}

func TestSecretShowsWhetherItIsThere(t *testing.T) {
	t.Parallel()
	for held, want := range map[string]string{hidden: "[secret]", "": ""} {
		secret := NewSecret(held)
		if secret.Reveal() != held || secret.IsZero() != (held == "") || !secret.Equal(NewSecret(held)) || secret.Equal(NewSecret("y")) {
			t.Errorf("a Secret of %q does not behave as one", held)
		}
		js, err := json.Marshal(secret)
		if got := fmt.Sprintf("%v %#v %d %s", secret, secret, secret, js); got != fmt.Sprintf(`%s %[1]s %[1]s "%[1]s"`, want) || err != nil {
			t.Errorf("it is shown as %s, %v, want %q", got, err, want)
		}
	}
}

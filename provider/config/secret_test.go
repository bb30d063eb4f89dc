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

func TestSecretShowsThatItIsThere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		secret Secret
		want   string
	}{
		{NewSecret(hidden), "[secret]"},
		{NewSecret(""), ""},
		{Secret{}, ""},
	} {
		text, _ := test.secret.MarshalText()
		js, _ := test.secret.MarshalJSON()
		for how, got := range map[string]string{
			"String":      test.secret.String(),
			"GoString":    test.secret.GoString(),
			"Format":      fmt.Sprintf("%v%#v%s", test.secret, test.secret, test.secret),
			"MarshalText": string(text),
			"MarshalJSON": string(js),
			"LogValue":    test.secret.LogValue().String(),
		} {
			want := test.want
			switch how {
			case "Format":
				want = strings.Repeat(test.want, 3)
			case "MarshalJSON":
				want = `"` + test.want + `"`
			}
			if got != want {
				t.Errorf("%s of %q = %q, want %q", how, test.secret.Reveal(), got, want)
			}
		}
	}
}

func TestSecretRevealsWhatItHolds(t *testing.T) {
	t.Parallel()
	a, b := NewSecret("x"), NewSecret("x")
	if a.Reveal() != "x" || a.IsZero() || !a.Equal(b) || a.Equal(NewSecret("y")) {
		t.Error("a Secret of x does not behave as one")
	}
	if !NewSecret("").IsZero() || (Secret{}).Reveal() != "" || !NewSecret("").Equal(Secret{}) {
		t.Error("an empty Secret does not behave as one")
	}
}

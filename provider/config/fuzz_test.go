package config

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzParse holds Parse to what its comments promise, whatever the input: no panic, either what the schema
// accepts too or faults of one line each, and no token in a fault. TOKEN in the input stands for a token.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	for _, c := range faultCases(f) {
		f.Add(c.data)
	}
	for _, key := range Keys() {
		f.Add(minimalAnd(f, `{"token": "", "`+key+`": "/token"}`))
		f.Add([]byte(`{"` + key + `": "TOKEN", "TOKEN": ["TOKEN", {"TOKEN": 1}]}`))
	}
	for _, path := range []string{"/not-a-token", "/latin-1", "/missing"} {
		f.Add(minimalAnd(f, `{"token": "", "token_file": "`+path+`", "user_data_file": "`+path+`"}`))
	}
	f.Add([]byte(`{"tags": ["` + strings.Repeat("x", 70) + `TOKEN"], "user_data": "TOKEN \u00e9", "api_url": "https://TOKEN@x/TOKEN?TOKEN/v2"}`))

	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.ReplaceAll(data, []byte("TOKEN"), []byte(hidden))
		host := hostWith(nil, map[string]string{"/token": hidden, "/not-a-token": hidden + " " + hidden, "/latin-1": hidden + "\xe9"})

		_, err := Parse(data, host)
		if err == nil {
			for _, schema := range pluginSchemas() {
				if err := schema.Validate(tableOf(t, data)); err != nil {
					t.Errorf("accepted, but not by the schema: %s\n%v", data, err)
				}
			}
			return
		}
		for _, fault := range faultsOf(err) {
			line := fault.Error()
			if strings.ContainsAny(line, "\n\r") || !strings.HasPrefix(line, "plugin_config") {
				t.Errorf("not one line: %q", line)
			}
			if strings.Contains(strings.ReplaceAll(strings.ToLower(line), "-", "_"), hidden) { // also as a proposed name
				t.Errorf("a fault holds the token: %s", line)
			}
		}
		again, errAgain := Parse(data, host)
		if errAgain == nil || errAgain.Error() != err.Error() {
			t.Errorf("a second time it is %+v, %v, was %v", again, errAgain, err)
		}
	})
}

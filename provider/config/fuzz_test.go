package config

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzParse holds Parse to what its comments promise, whatever the input: no panic, either a Config within all bounds
// or faults of one line each, and no token in a fault. TOKEN in the input stands for a token.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	for _, c := range faultCases(f) {
		f.Add(c.data(f))
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

		config, err := Parse(data, host)
		if err == nil {
			checkBounds(t, config)
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

// checkBounds holds a Config that was accepted to the comments of its fields.
func checkBounds(t *testing.T, c Config) {
	t.Helper()
	must := func(ok bool, what string) {
		t.Helper()
		if !ok {
			js, _ := json.Marshal(c)
			t.Errorf("accepted, but not %s: %s", what, js)
		}
	}
	must(namePattern.MatchString(c.Name) && len(c.Name) <= 52 && !strings.HasSuffix(c.Name, "-doctor"), "a name")
	must(c.Token.Value.IsZero() != (c.Token.File == "") && c.Token.Source != "", "a token from one place")
	must(strings.HasPrefix(c.APIURL, "https://") || strings.HasPrefix(c.APIURL, "http://"), "an API URL")
	must(!strings.HasSuffix(c.APIURL, "/"), "an API URL without a slash at the end")
	normal, err := normalURL(c.APIURL)
	must(err == nil && normal == c.APIURL, "an API URL in one spelling")
	for _, list := range [][]string{c.Regions, c.Sizes} {
		must(len(list) > 0, "a region or a size")
		must(!slices.ContainsFunc(list, func(s string) bool { return !slugPattern.MatchString(s) }), "slugs")
		must(len(slices.Compact(slices.Sorted(slices.Values(list)))) == len(list), "without duplicates")
	}
	must(c.Image.ID >= 0, "an image")
	switch {
	case c.ImageTag != "":
		must(c.Image == Image{}, "an image or an image tag")
	default:
		must((c.Image.Slug == "") != (c.Image.ID == 0), "one image")
	}
	for _, key := range c.SSHKeys {
		must(fingerprintPattern.MatchString(key) || strings.Trim(key, "0123456789") == "" && key != "" && key != "0", "an SSH key")
	}
	for region, id := range c.VPC {
		must(slices.Contains(c.Regions, region) && uuidPattern.MatchString(id), "a VPC of a region")
	}
	must(c.PublicNetworking || !c.IPv6, "IPv6 with public networking")
	must(len(c.UserData) <= 64<<10, "short user data")
	must(!strings.ContainsFunc(c.UserData, func(r rune) bool { return r > 0x7f }), "ASCII user data")
	for _, tag := range c.Tags {
		folded := strings.ToLower(tag)
		must(tagPattern.MatchString(tag) && folded != "fleeting" && !strings.HasPrefix(folded, "fleeting-"), "a free tag")
	}
	must(c.ProjectID == "" || uuidPattern.MatchString(c.ProjectID), "a project")
	must(c.MaxInstances >= 0 && c.MaxInstances <= 100_000, "a limit")
	must(c.MaxCreating >= 0 && c.MaxCreating <= 100_000, "a limit")
	must(c.CreateTimeout >= 30*time.Second && c.CreateTimeout <= 24*time.Hour, "a timeout")
}

package config

import (
	"bytes"
	"maps"
	"regexp"
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

		config, err := Parse(data, host)
		if err == nil {
			checkBounds(t, config)
			checkSchema(t, data)
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

// checkBounds holds a Config that was accepted to what the comments of its fields say beyond what the schema says of the keys.
func checkBounds(t *testing.T, c Config) {
	t.Helper()
	known := func(uuids map[string]string, regions []string) bool {
		return !slices.ContainsFunc(slices.Collect(maps.Keys(uuids)), func(r string) bool { return !slices.Contains(regions, r) })
	}
	once := func(all []string) bool {
		return len(all) > 0 && len(slices.Compact(slices.Sorted(slices.Values(all)))) == len(all)
	}
	ours := regexp.MustCompile(`(?i)^fleeting(-|$)`).MatchString
	normal, err := normalURL(c.APIURL)
	for what, ok := range map[string]bool{
		"a name":                    c.Name != "" && !strings.HasSuffix(c.Name, "-doctor"),
		"a token from one place":    c.Token.Value.IsZero() != (c.Token.File == "") && c.Token.Source != "",
		"an API URL in one form":    err == nil && normal == c.APIURL,
		"slugs, each once":          once(c.Regions) && once(c.Sizes),
		"an image or an image tag":  (c.Image == Image{}) == (c.ImageTag != "") && c.Image.ID >= 0 && (c.Image.Slug == "" || c.Image.ID == 0),
		"subnets of VPCs":           known(c.VPC, c.Regions) && known(c.Subnet, slices.Collect(maps.Keys(c.VPC))),
		"IPv6 with public networks": c.PublicNetworking || !c.IPv6,
		"user data":                 len(c.UserData) <= 64<<10 && !strings.ContainsFunc(c.UserData, func(r rune) bool { return r > 0x7f }),
		"tags":                      !slices.ContainsFunc(c.Tags, ours),
		"a timeout":                 c.CreateTimeout >= 30*time.Second && c.CreateTimeout <= 24*time.Hour,
	} {
		if !ok {
			t.Errorf("accepted, but not %s: %+v", what, c)
		}
	}
}

// checkSchema: the schema refuses nothing that Parse accepts.
func checkSchema(t *testing.T, data []byte) {
	t.Helper()
	table := tableOf(t, data)
	for _, schema := range pluginSchemas() {
		if err := schema.Validate(table); err != nil {
			t.Errorf("accepted, but not by the schema: %s\n%v", data, err)
		}
	}
}

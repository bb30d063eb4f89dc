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

// checkBounds holds a Config that was accepted to the comments of its fields.
func checkBounds(t *testing.T, c Config) {
	t.Helper()
	matches := func(pattern string, all ...string) bool {
		expression := regexp.MustCompile("^(" + pattern + ")$")
		return !slices.ContainsFunc(all, func(one string) bool { return !expression.MatchString(one) })
	}
	once := func(all []string) bool {
		return len(all) > 0 && len(slices.Compact(slices.Sorted(slices.Values(all)))) == len(all)
	}
	within := func(uuids, regions map[string]string) bool {
		for region := range uuids {
			if regions[region] == "" {
				return false
			}
		}
		return matches(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`, slices.Collect(maps.Values(uuids))...)
	}
	regions := map[string]string{}
	for _, region := range c.Regions {
		regions[region] = region
	}
	ours := regexp.MustCompile(`(?i)^fleeting(-|$)`).MatchString
	normal, err := normalURL(c.APIURL)
	for what, ok := range map[string]bool{
		"a name":                    matches(`[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?`, c.Name) && !strings.HasSuffix(c.Name, "-doctor"),
		"a token from one place":    c.Token.Value.IsZero() != (c.Token.File == "") && c.Token.Source != "",
		"an API URL in one form":    err == nil && normal == c.APIURL && matches(`https?://.*[^/]`, c.APIURL),
		"slugs, each once":          matches(`[a-z0-9][a-z0-9._-]{0,254}`, append(c.Regions, c.Sizes...)...) && once(c.Regions) && once(c.Sizes),
		"an image or an image tag":  (c.Image == Image{}) == (c.ImageTag != "") && c.Image.ID >= 0 && (c.Image.Slug == "" || c.Image.ID == 0),
		"SSH keys":                  matches(`[1-9][0-9]*|[0-9a-f]{2}(:[0-9a-f]{2}){15}`, c.SSHKeys...),
		"subnets of VPCs":           within(c.VPC, regions) && within(c.Subnet, c.VPC),
		"IPv6 with public networks": c.PublicNetworking || !c.IPv6,
		"user data":                 len(c.UserData) <= 64<<10 && matches(`[\x00-\x7f]*`, c.UserData),
		"tags":                      matches(`[a-zA-Z0-9_:-]{1,255}`, c.Tags...) && !slices.ContainsFunc(c.Tags, ours),
		"limits":                    min(c.MaxInstances, c.MaxCreating) >= 0 && max(c.MaxInstances, c.MaxCreating) <= 100_000 && c.MaxHourlyCost >= 0,
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

package config

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// faultCase is one of testdata/faults.txt.
type faultCase struct {
	about, want string
	data        []byte
	env         map[string]string
}

var repeated = regexp.MustCompile(`\{(.)\*(\d+)\}`)

func faultCases(t testing.TB) (cases []faultCase) {
	t.Helper()
	content, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		t.Fatal(err)
	}
	long := repeated.ReplaceAllStringFunc(string(content), func(short string) string {
		m := repeated.FindStringSubmatch(short)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
	for _, block := range strings.Split(strings.TrimSpace(long), "\n\n")[1:] { // the head of the file is no case
		lines := strings.Split(block, "\n")
		c := faultCase{about: lines[0], env: map[string]string{}}
		for lines = lines[1:]; strings.HasPrefix(lines[0], "$"); lines = lines[1:] {
			name, value, _ := strings.Cut(lines[0][1:], "=")
			c.env[name] = value
		}
		if whole, ok := strings.CutPrefix(lines[0], "="); ok {
			c.data = []byte(whole)
		} else {
			c.data = minimalAnd(t, lines[0])
		}
		c.want = strings.Join(lines[1:], "\n")
		cases = append(cases, c)
	}
	return cases
}

var faultFiles = map[string]string{
	"/blank": " \n",
	"/words": "token = dop_v1_0123",
	"/empty": "",
	"/long":  strings.Repeat("x", 64<<10+1),
	"/gzip":  "\x1f\x8b\x08",
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range faultCases(t) {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			config, err := Parse(c.data, hostWith(c.env, faultFiles))
			if err == nil {
				t.Fatalf("accepted as %+v", config)
			}
			if diff := cmp.Diff(strings.Split(c.want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatIsValidIsReturned pins what a caller may still check after a fault: what is valid is there, what is not is as if
// it were not given, and nothing that has a fault passes for valid.
func TestWhatIsValidIsReturned(t *testing.T) {
	t.Parallel()
	byDefault := accept(t, `{}`, emptyHost)
	for _, c := range []struct {
		change string
		faulty string // keys
		edit   func(*Config)
	}{
		{`{"colour": 1}`, "colour", func(*Config) {}},
		{`{"name": "x-doctor", "max_instances": 0, "public_networking": 1, "create_timeout": "1s"}`,
			"name public_networking max_instances create_timeout", func(c *Config) { c.Name = "" }},
		{`{"region": ["nyc3", "NYC1"], "vpc_uuid": {"nyc3": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"}}`, "region",
			func(c *Config) { c.Regions = nil }},
		{`{"size": ["a", "A"], "image": 0, "tags": ["a", "fleeting"]}`, "size image tags", func(c *Config) { c.Sizes, c.Image = nil, Image{} }},
		{`{"api_url": "http://example.com"}`, "api_url", func(*Config) {}},
		{`{"token": "two words", "token_file": "/etc/do-token"}`, "token", func(c *Config) { c.Token = Token{} }},
	} {
		want := byDefault
		c.edit(&want)
		got, err := Parse(minimalAnd(t, c.change), emptyHost)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.change, diff)
		}
		for _, key := range append(Keys(), "colour") {
			if want := slices.Contains(strings.Fields(c.faulty), key); faultsOf(err).Has(key) != want || faultsOf(err).Has("x", key) != want {
				t.Errorf("%s: whether %s is faulty is %t", c.change, key, !want)
			}
		}
	}
	if got, err := Parse([]byte(`[]`), emptyHost); !cmp.Equal(got, Config{}) || !faultsOf(err).Has("token") {
		t.Errorf("of what is no table there is %+v, %v", got, err)
	}
}

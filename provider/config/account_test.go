package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTokenSources takes the sources away one by one: each time the next one counts.
func TestTokenSources(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DIGITALOCEAN_TOKEN": " dop_v1_env\n", "DIGITALOCEAN_ACCESS_TOKEN": "dop_v1_access",
		"DIGITALOCEAN_API_URL": " https://ENV.example.com/ "}
	host := hostWith(env, map[string]string{"/etc/do-token": "dop_v1_file\n"})
	for _, step := range []struct {
		change, url string
		want        Token
	}{
		{`{"token": " dop_v1_key ", "token_file": "/etc/do-token", "api_url": "https://key.example.com"}`, "https://key.example.com",
			Token{Value: NewSecret("dop_v1_key"), Source: "plugin_config.token"}},
		{`{"token": "", "token_file": "/etc/do-token"}`, "https://env.example.com",
			Token{File: "/etc/do-token", Source: "plugin_config.token_file /etc/do-token"}},
		{`{"token": "", "token_file": ""}`, "https://env.example.com",
			Token{Value: NewSecret("dop_v1_env"), Source: "the environment variable DIGITALOCEAN_TOKEN"}},
		{`{"token": null}`, "https://env.example.com",
			Token{Value: NewSecret("dop_v1_access"), Source: "the environment variable DIGITALOCEAN_ACCESS_TOKEN"}},
	} {
		if step.change == `{"token": null}` {
			delete(env, "DIGITALOCEAN_TOKEN")
		}
		got := accept(t, step.change, host)
		if diff := cmp.Diff(step.want, got.Token); diff != "" || got.APIURL != step.url {
			t.Errorf("%s: the API is %s, the token (-want +got):\n%s", step.change, got.APIURL, diff)
		}
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	token := Token{File: path, Source: "the file"}
	for content, want := range map[string]string{
		"dop_v1_first\n":              "dop_v1_first",
		"\n dop_v1_second \r\n":       "dop_v1_second",
		strings.Repeat("x", 64<<10):   strings.Repeat("x", 64<<10),
		" \n":                         "the file holds something other than a token, which is printable ASCII without spaces",
		"dop_v1_0123 and so on":       "the file holds something other than a token, which is printable ASCII without spaces",
		strings.Repeat("x", 64<<10+1): "the file cannot be read: it is larger than 65536 bytes",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := token.Read()
		if err == nil && got.Reveal() != want || err != nil && (err.Error() != want || got != (Secret{})) {
			t.Errorf("Read() = %q, %v, want %s", got.Reveal(), err, want)
		}
	}
	for file, want := range map[string]string{path + "2": "no such file or directory", os.DevNull: "it is not a regular file"} {
		if _, err := (Token{File: file, Source: "the file"}).Read(); err == nil || err.Error() != "the file cannot be read: "+want {
			t.Errorf("Read() of %s: %v", file, err)
		}
	}
}

// TestAccount: the keys of an account are read, and held to the same rules, whatever the others are.
func TestAccount(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"name": "ci", "token": "t", "colour": 1, "max_instances": 0, "user_data_file": "/missing"}`: "ci https://api.digitalocean.com",
		`{"token": "t", "api_url": "https://EXAMPLE.com:443/"}`:                                       " https://example.com",
		`{"name": "ci-doctor", "tokn": "t", "api_url": 5, "size": 5}`:                                 "name token api_url tokn",
		`[]`: "",
	} {
		a, err := ParseAccount([]byte(data), emptyHost)
		got := a.Name + " " + a.APIURL
		if err != nil {
			var keys []string
			for _, f := range faultsOf(err) {
				keys = append(keys, f.Key)
			}
			got = strings.Join(keys, " ")
		}
		if got != want || (err != nil) != (a == Account{}) || err == nil && a.Token.Source != "plugin_config.token" {
			t.Errorf("%s is %q with the token %+v, want %q", data, got, a.Token, want)
		}
	}
}

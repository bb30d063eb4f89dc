package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTokenSources takes the sources away one by one: each time the next one counts.
func TestTokenSources(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DIGITALOCEAN_TOKEN": " dop_v1_env\n", "DIGITALOCEAN_ACCESS_TOKEN": "dop_v1_access"}
	host := hostWith(env, map[string]string{"/etc/do-token": "dop_v1_file\n"})

	for _, step := range []struct {
		change string
		want   Token
	}{
		{`{"token": " dop_v1_key ", "token_file": "/etc/do-token"}`, Token{Value: NewSecret("dop_v1_key"), Source: "plugin_config.token"}},
		{`{"token": "", "token_file": "/etc/do-token"}`, Token{File: "/etc/do-token", Source: "plugin_config.token_file /etc/do-token"}},
		{`{"token": "", "token_file": ""}`, Token{Value: NewSecret("dop_v1_env"), Source: "the environment variable DIGITALOCEAN_TOKEN"}},
		{`{"token": null}`, Token{Value: NewSecret("dop_v1_access"), Source: "the environment variable DIGITALOCEAN_ACCESS_TOKEN"}},
	} {
		if step.change == `{"token": null}` {
			delete(env, "DIGITALOCEAN_TOKEN")
		}
		if diff := cmp.Diff(step.want, accept(t, step.change, host).Token); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.change, diff)
		}
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("dop_v1_first\n")
	token := accept(t, fmt.Sprintf(`{"token": "", "token_file": %q}`, path), ThisHost()).Token

	for _, want := range []string{"dop_v1_first", "dop_v1_second"} {
		write("\n " + want + " \r\n")
		if got, err := token.Read(); err != nil || got.Reveal() != want {
			t.Errorf("Read() = %q, %v, want %s", got.Reveal(), err, want)
		}
	}

	source := "plugin_config.token_file " + path
	for content, want := range map[string]string{
		" \n":                         " is empty: put the token into it",
		"dop_v1_0123 and so on":       " holds something other than a token, which is printable ASCII without spaces",
		strings.Repeat("x", 64<<10+1): " cannot be read: it is larger than 65536 bytes",
	} {
		write(content)
		if got, err := token.Read(); err == nil || err.Error() != source+want || !got.IsZero() {
			t.Errorf("Read() = %q, %v, want the error %s", got.Reveal(), err, want)
		}
	}
	write(strings.Repeat("x", 64<<10))
	if got, err := token.Read(); err != nil || len(got.Reveal()) != 64<<10 {
		t.Errorf("Read() of a file as long as the limit: %v", err)
	}
	for file, want := range map[string]string{
		path + "2":         "no such file or directory",
		filepath.Dir(path): "it is not a regular file",
		os.DevNull:         "it is not a regular file",
	} {
		if _, err := (Token{File: file, Source: "the file"}).Read(); err == nil || err.Error() != "the file cannot be read: "+want {
			t.Errorf("Read() of %s: %v", file, err)
		}
	}
}

func TestAPIURLFromTheEnvironment(t *testing.T) {
	t.Parallel()
	host := hostWith(map[string]string{"DIGITALOCEAN_API_URL": " https://ENV.example.com/ "}, nil)
	if got := accept(t, `{}`, host).APIURL; got != "https://env.example.com" {
		t.Errorf("without api_url it is %s", got)
	}
	if got := accept(t, `{"api_url": "https://key.example.com"}`, host).APIURL; got != "https://key.example.com" {
		t.Errorf("with api_url it is %s", got)
	}
}

// TestAccount: the keys of an account are read, and held to the same rules, whatever the others are.
func TestAccount(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"name": "ci", "token": "t", "colour": 1, "max_instances": 0, "user_data_file": "/missing"}`: "ci https://api.digitalocean.com",
		`{"token": "t", "api_url": "https://EXAMPLE.com:443/"}`:                                       " https://example.com",
		`{"name": "ci-doctor", "tokn": "t", "api_url": 5, "size": 5}`: `plugin_config.name: must not end in -doctor, as the groups do that doctor --boot makes and deletes; for example name = "ci"
plugin_config.token: is required, unless token_file is set; for example token_file = "/etc/gitlab-runner/digitalocean-token", or DIGITALOCEAN_TOKEN in the environment
plugin_config.api_url: must be a string, not 5
plugin_config.tokn: unknown key; did you mean "token"?`,
		`[]`: "plugin_config: must be a table",
	} {
		a, err := ParseAccount([]byte(data), emptyHost)
		got := a.Name + " " + a.APIURL
		if err != nil {
			if got = err.Error(); a != (Account{}) {
				t.Errorf("%s: with faults there is %+v", data, a)
			}
		} else if a.Token.Source != "plugin_config.token" {
			t.Errorf("%s: the token is %+v", data, a.Token)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", data, diff)
		}
	}
}

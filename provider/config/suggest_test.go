package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestKeySuggestions(t *testing.T) {
	t.Parallel()
	for unknown, want := range map[string]string{
		"regoin":                           `did you mean "region"?`,
		"sizee":                            `did you mean "size"?`,
		"with-droplet-agent":               `did you mean "with_droplet_agent"?`,
		"digitalocean-region":              `did you mean "region"?`,
		"digitalocean_access_token":        `did you mean "token"?`,
		"access-token":                     `did you mean "token"?`,
		"location":                         `did you mean "region"?`,
		"server_type":                      `did you mean "size"?`,
		"digitalocean-ssh-key-fingerprint": `did you mean "ssh_keys"?`,
		"ssh_user":                         `set username in connector_config`,

		"time":                           "", // as near to name as to size
		"date":                           "", // two edits from name, but another word
		"ipv4":                           "", // not ipv6
		"x":                              "",
		"":                               "",
		"tokn_fil":                       `did you mean "token_file"?`,
		strings.Repeat("token_file", 10): "",
	} {
		if _, got := (&parser{}).suggestKey(unknown); got != want {
			t.Errorf("for %q the hint is %q, want %q", unknown, got, want)
		}
	}
}

// TestNoSuggestionOfWhatIsThere pins that following a hint never gives a key twice.
func TestNoSuggestionOfWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, unknown := range []string{"regions", "regionn", "digitalocean-region"} {
		_, err := Parse(minimalAnd(t, fmt.Sprintf(`{%q: "x"}`, unknown)), emptyHost)
		if want := "plugin_config." + unknown + ": unknown key"; err == nil || err.Error() != want {
			t.Errorf("%s beside region: %v, want %s", unknown, err, want)
		}
	}
}

func TestNearestWantsOne(t *testing.T) {
	t.Parallel()
	candidates := []string{"nyc3", "fra1", "ams3"}
	for word, want := range map[string]string{"NYC3": "nyc3", "nyc": "", "nyc1": "", "ncy3": "nyc3", "sfo3": "", "fran1": "fra1"} {
		if got := nearest(word, candidates); got != want {
			t.Errorf("nearest(%s) = %q, want %q", word, got, want)
		}
	}
	if got := nearest("tase", []string{"base", "case", "tas"}); got != "" {
		t.Errorf("of three as near, nearest chose %s", got)
	}
}

func TestForeignKeysAreForeign(t *testing.T) {
	t.Parallel()
	taken := append(Keys(), slices.Collect(maps.Keys(elsewhere))...)
	for key, names := range foreign {
		if !slices.Contains(Keys(), key) {
			t.Errorf("%s leads to %s, which is no key", names, key)
		}
		taken = append(taken, strings.Fields(names)...)
	}
	slices.Sort(taken)
	if once := slices.Compact(slices.Clone(taken)); len(once) < len(taken) {
		t.Errorf("a key stands twice among %v", taken)
	}
}

package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Faults is everything that is wrong with one plugin_config: the keys in the order of the documentation, then the
// unknown keys, sorted. It holds neither tokens nor user data.
type Faults []Fault

func (f Faults) Error() string {
	var lines []string
	for _, fault := range f {
		lines = append(lines, fault.Error())
	}
	return strings.Join(lines, "\n")
}

// Has reports whether one of these keys has a fault, be it that nothing could be read.
func (f Faults) Has(keys ...string) bool {
	return slices.ContainsFunc(f, func(fault Fault) bool { return fault.Key == "" || slices.Contains(keys, fault.Key) })
}

// Fault is one thing that is wrong.
type Fault struct {
	Key  string // as the user spells it; empty when plugin_config as a whole is at fault
	Text string // what is wrong, following "plugin_config.<key>: "
	Hint string // what to write instead, safe to paste; empty when there is no telling
}

// Error returns the fault as one line.
func (f Fault) Error() string {
	line := "plugin_config"
	if f.Key != "" {
		line += "." + f.Key
	}
	line += ": " + f.Text
	if f.Hint != "" {
		line += "; " + f.Hint
	}
	return line
}

// mustBe is what is wrong with a value. Of a list or a table it shows only what it is.
func mustBe(what string, v any) error {
	shown := fmt.Sprint(v)
	switch v := v.(type) {
	case string:
		shown = quote(v)
	case []any:
		shown = "a list"
	case map[string]any:
		shown = "a table"
	}
	return fmt.Errorf("must be %s, not %s", what, shown)
}

// tokenLike matches DigitalOcean's tokens: personal (dop), OAuth (doo) and refresh (dor) ones, also as part of a name that is
// made of one, and the 64 hexadecimal digits of those made before 2021. It matches private keys too.
var tokenLike = regexp.MustCompile(`(?is)do[opr][_-]v1[_-][0-9a-z]{8,}|\b[0-9a-f]{64}\b|` +
	`-----BEGIN [a-z ]*PRIVATE KEY.*?(-----END [a-z ]*KEY-----|$)`)

// Redact returns text with "[secret]" in the place of whatever looks like a token of DigitalOcean, or a private key.
func Redact(text string) string { return tokenLike.ReplaceAllString(text, "[secret]") }

// quote makes a value from the config fit to be shown in a fault: on one line, of bounded length, and without anything
// that looks like a token or a private key, since people paste those into the wrong key.
func quote(value string) string {
	if value = Redact(value); len(value) > 80 {
		value = strings.ToValidUTF8(value[:80], "") + "..."
	}
	return strconv.Quote(value)
}

// DidYouMean proposes up to three candidates, the nearest first, that word is a typo of, or that word is a part of, as old
// slugs are of new ones. It returns "" when there is none.
func DidYouMean(word string, candidates []string) string {
	folded := strings.ToLower(word)
	distance := func(candidate string) int { return levenshtein.ComputeDistance(folded, candidate) }
	near := slices.DeleteFunc(slices.Sorted(slices.Values(candidates)), func(c string) bool {
		isPart := len(word) > 2 && strings.Contains(c, folded)
		return c == word || !isPart && distance(c) > max(2, len(word)/4)
	})
	if len(near) == 0 {
		return ""
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(distance(a), distance(b)) })
	return `did you mean "` + strings.Join(near[:min(3, len(near))], `" or "`) + `"?`
}

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
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
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

func mustBe(what string, v any) error { return fmt.Errorf("must be %s, not %s", what, show(v)) }

// show returns a value as a fault repeats it: of lists and tables only what they are.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprint(v)
}

// tokenLike matches DigitalOcean's tokens: personal (dop), OAuth (doo) and refresh (dor) ones, also as [SafeName] spells
// them, and the 64 hexadecimal digits of those made before 2021.
var tokenLike = regexp.MustCompile(`(?i)do[opr][_-]v1[_-][0-9a-z]{8,}|\b[0-9a-f]{64}\b`)

// Redact returns text with "[secret]" in the place of whatever looks like a token of DigitalOcean.
func Redact(text string) string { return tokenLike.ReplaceAllString(text, "[secret]") }

// shown is the most bytes of a value that a fault repeats.
const shown = 80

// quote makes a value from the config fit to be shown in a fault: on one line, of bounded length, and without anything
// that looks like a token or a private key, since people paste those into the wrong key.
func quote(value string) string {
	if strings.Contains(value, "PRIVATE KEY") {
		return `"[secret]"`
	}
	value = Redact(value)
	if len(value) > shown {
		value = strings.ToValidUTF8(value[:shown], "") + "..."
	}
	return strconv.Quote(value)
}

// DidYouMean proposes up to three candidates, the nearest first, that word is a typo of, or that word is a part of, as old
// slugs are of new ones. It returns "" when there is none.
func DidYouMean(word string, candidates []string) string {
	const longest = 100 // a bound on the work
	folded := strings.ToLower(word)
	distance := func(candidate string) int { return levenshtein.ComputeDistance(folded, candidate) }
	var near []string
	for _, c := range candidates {
		isTypo := len(word) <= longest && distance(c) <= max(2, len(word)/4)
		isPart := len(word) > 2 && strings.Contains(c, folded)
		if c != word && (isTypo || isPart) {
			near = append(near, c)
		}
	}
	if near == nil {
		return ""
	}
	slices.SortFunc(near, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(a), distance(b)), cmp.Compare(a, b))
	})
	return `did you mean "` + strings.Join(near[:min(3, len(near))], `" or "`) + `"?`
}

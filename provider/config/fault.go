package config

import (
	"cmp"
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

// Has reports whether one of these keys has a fault, be it that its name is misspelt or that nothing could be read.
func (f Faults) Has(keys ...string) bool {
	return slices.ContainsFunc(f, func(fault Fault) bool {
		return fault.Key == "" || slices.ContainsFunc(keys, func(key string) bool {
			return key == fault.Key || slices.Contains(fault.Means, key)
		})
	})
}

// Fault is one thing that is wrong.
type Fault struct {
	Key   string   // as the user spells it; empty when plugin_config as a whole is at fault
	Text  string   // what is wrong, following "plugin_config.<key>: "
	Hint  string   // what to write instead, safe to paste; empty when there is no telling
	Means []string // of an unknown key: the keys that it may mean
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

// hinted is an error with the Hint of the Fault that it becomes.
type hinted struct {
	error
	hint string
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
		return strconv.Quote(strings.ToValidUTF8(value[:shown], "")) + "..."
	}
	return strconv.Quote(value)
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// quoteKey is [quote] for a key, which needs no quotes unless it would need them in TOML.
func quoteKey(name string) string {
	if plainKey.MatchString(name) {
		return Redact(name)
	}
	return quote(name)
}

// DidYouMean proposes up to three candidates that word may have been meant to be, or returns "" when there is none.
func DidYouMean(word string, candidates []string) string {
	similar := near(word, candidates)
	if len(similar) == 0 {
		return ""
	}
	return `did you mean "` + strings.Join(similar, `" or "`) + `"?`
}

// near returns the candidates, at most three and the nearest first, that word is a typo of, or that word is a part of, as
// old slugs are of new ones.
func near(word string, candidates []string) (found []string) {
	const longest = 100 // a bound on the work
	if len(word) > longest {
		return nil
	}
	distance := func(candidate string) int { return levenshtein.ComputeDistance(word, candidate) }
	for _, c := range candidates {
		isTypo := distance(c) <= max(2, len(word)/4)
		isPart := len(word) > 2 && strings.Contains(c, word)
		if c != word && (isTypo || isPart) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(a), distance(b)), cmp.Compare(a, b))
	})
	return found[:min(3, len(found))]
}

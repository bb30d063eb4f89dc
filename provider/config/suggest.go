package config

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

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

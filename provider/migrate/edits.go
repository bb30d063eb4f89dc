package migrate

import (
	"cmp"
	"slices"
	"strings"
)

// edits are replacements of bytes. No two overlap: apply would panic.
type edits struct{ all []edit }

type edit struct {
	span
	text string
}

// replace puts text in the place of a span, which may be empty.
func (e *edits) replace(s span, text string) { e.all = append(e.all, edit{s, text}) }

// apply returns the text with all replacements. Those of one place come in the
// order in which they were made.
func (e *edits) apply(text string) string {
	slices.SortStableFunc(e.all, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	var out strings.Builder
	at := 0
	for _, one := range e.all {
		out.WriteString(text[at:one.start])
		out.WriteString(one.text)
		at = one.end
	}
	out.WriteString(text[at:])
	return out.String()
}

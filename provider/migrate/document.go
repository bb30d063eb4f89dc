package migrate

import (
	"cmp"
	"strconv"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// document is a config.toml in which the keys of runners are known by their bytes.
type document struct {
	text     string
	sections []*section // in the order of the file
	secrets  []config.Secret
	masks    []edit // puts [secret] in the place of each secret value
}

// section is one [[runners]], with the tables below it.
type section struct {
	span           // whole lines, from its header to its last key
	array   string // that it is in, as it is spelled: runners
	entries []entry
}

// span is a range of bytes of the text.
type span struct{ start, end int }

// entry is a header, or a key with its value and the comments directly above it: whole lines.
type entry struct {
	span
	path   string // below the runner, in lower case: "", "docker", "machine.idlecount"
	header bool
	name   span // of a key
}

// scan takes apart a text that the runner's decoder has accepted.
func scan(text string) (*document, error) {
	d := &document{text: text}
	var s *section // that keys belong to; nil = none
	var apart error
	end := 0 // of the last entry
	err := runnerconfig.Walk(text, func(i runnerconfig.Item) {
		d.findSecret(i)
		if i.Inner {
			return
		}
		e := entry{header: i.Value == nil, name: span{i.Start, i.Start + len(i.Name)}, span: d.wholeLines(span{i.Start, i.End})}
		end, e.start = e.end, d.withComments(e, end)
		switch {
		case e.header && !below(i.Key, "runners"):
			s = nil
		case e.header && i.Key == runnerKey(len(d.sections)):
			s = &section{span: e.span, array: i.Name}
			d.sections = append(d.sections, s)
		case e.header && s == nil:
			apart = runnerconfig.Fault{Line: 1 + strings.Count(text[:i.Start], "\n"),
				Text: "[" + i.Name + "] is apart from its [[runners]]: move it to the runner's other tables"}
		}
		if s != nil {
			e.path = strings.TrimPrefix(strings.TrimPrefix(i.Key, runnerKey(len(d.sections)-1)), ".")
			s.entries, s.end = append(s.entries, e), end
		}
	})
	return d, cmp.Or(err, apart)
}

func runnerKey(index int) string { return "runners." + strconv.Itoa(index) }

// below reports whether a path is a table, or in it.
func below(path, table string) bool {
	return path == table || strings.HasPrefix(path, table+".")
}

// wholeLines widens a span to whole lines, with the last line's end.
func (d *document) wholeLines(s span) span {
	s.start = lineStart(d.text, s.start)
	if i := strings.IndexByte(d.text[s.end:], '\n'); i >= 0 {
		return span{s.start, s.end + i + 1}
	}
	return span{s.start, len(d.text)}
}

// withComments returns where the comments on the lines directly above a key begin, but not before from.
func (d *document) withComments(e entry, from int) (start int) {
	for start = e.start; start > from && !e.header; {
		above := lineStart(d.text, start-1)
		if !strings.HasPrefix(strings.TrimSpace(d.text[above:start]), "#") {
			break
		}
		start = above
	}
	return start
}

func lineStart(text string, offset int) int { return strings.LastIndexByte(text[:offset], '\n') + 1 }

// edit is text in the place of a span.
type edit struct {
	span
	text string
}

// edited returns a part of the text with those edits that are in it. They are in order, and no two overlap.
func edited(text string, s span, edits []edit) string {
	var out strings.Builder
	for _, e := range edits {
		if e.start >= s.start && e.end <= s.end {
			out.WriteString(text[s.start:e.start] + e.text)
			s.start = e.end
		}
	}
	return out.String() + text[s.start:s.end]
}

package migrate

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// bom is the byte order mark that some Windows editors put first.
const bom = "\ufeff"

// document is a config.toml in which each key is known by its bytes.
type document struct {
	text     string
	eol      string         // the line end of the first line
	sections []*section     // in the order of the file
	lines    map[string]int // by path from the root, in lower case: runners.0.machine.idlecount
	secrets  []config.Secret
	masks    edits // puts [secret] in the place of each secret value

	counted, before int // lines are counted up to here, and there are so many
}

// section is one [[runners]], with the tables below it.
type section struct {
	span          // whole lines, from its header to its last key
	name   string // of the array, as it is spelled
	unit   string // that each level is indented by
	index  int
	tables []*table // the first is [[runners]] itself; in the order of the file
}

// span is a range of bytes of the text.
type span struct{ start, end int }

// table is a table of a runner that has a header.
type table struct {
	path    string   // below the runner, in lower case, with the number of each element: "", "docker", "docker.services.0"
	header  string   // as it is written, with its brackets
	above   []string // the comments on the lines directly above
	after   string   // the comment on the same line
	entries []*entry
}

// entry is a key and its value, as they are written.
type entry struct {
	key, value string
	path       string // below the runner, in lower case; that of a dotted key is deeper than its table
	above      []string
	after      string
	line       int
	elements   []int // of a list: their lines
}

// fault is why a text cannot be migrated that is TOML.
type fault struct {
	line       int
	text, hint string
}

func (f fault) Error() string { return f.text }

// scan takes apart a text that the runner's decoder has accepted.
func scan(text string) (*document, error) {
	d := &document{text: text, eol: "\n", lines: map[string]int{}}
	if i := strings.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		d.eol = "\r\n"
	}
	var p unstable.Parser
	p.Reset([]byte(text))
	elements := map[string]int{} // of each array of tables, so far
	var s *section               // that keys belong to; nil = none
	root, end := "", 0           // the table that keys belong to, and where the last expression's line ended
	for p.NextExpression() {
		e := p.Expression()
		array := e.Kind == unstable.ArrayTable
		var path string
		var keys, at span
		if e.Kind == unstable.KeyValue {
			path, keys = pathOf(root, e.Key(), false, nil)
			at = span{int(e.Raw.Offset), int(e.Raw.Offset + e.Raw.Length)}
		} else {
			path, keys = pathOf("", e.Key(), array, elements)
			at, root = d.headerAt(keys, array), path
		}
		line := d.lineAt(at.start)
		_, twice := d.lines[path]
		d.lines[path] = line
		above, after := d.comments(at, end)
		end = d.lineEnd(at.end)

		if e.Kind == unstable.KeyValue {
			d.findSecrets(e.Value(), path[strings.LastIndexByte(path, '.')+1:])
			switch {
			case s == nil:
				continue
			case twice:
				return nil, fault{line, text[keys.start:keys.end] + " is given twice, in different case: which one counts is chance", "remove one of them"}
			}
			t := s.tables[len(s.tables)-1]
			if t.path == "" && t.entries == nil {
				s.unit = text[d.lineStart(at.start):at.start]
			}
			value := strings.TrimPrefix(strings.TrimSpace(text[keys.end:at.end]), "=")
			new := &entry{key: text[keys.start:keys.end], value: strings.TrimSpace(value), path: s.below(path), above: above, after: after, line: line}
			for it := e.Value().Children(); e.Value().Kind == unstable.Array && it.Next(); {
				new.elements = append(new.elements, d.lineAt(int(it.Node().Raw.Offset)))
			}
			t.entries = append(t.entries, new)
			s.end = end
			continue
		}
		if !below(path, "runners") {
			s = nil
			continue
		}
		name, _, _ := strings.Cut(text[keys.start:keys.end], ".")
		name = strings.TrimSpace(name)
		switch {
		case path == "runners."+strconv.Itoa(len(d.sections)):
			s = &section{span: span{d.lineStart(at.start), 0}, name: name, unit: "  ", index: len(d.sections)}
			d.sections = append(d.sections, s)
		case s == nil:
			return nil, fault{line, "[" + text[keys.start:keys.end] + "] is apart from its [[runners]]: something else is between them",
				"move it to the other tables of its [[runners]]"}
		}
		s.end = end
		s.tables = append(s.tables, &table{path: s.below(path), header: text[at.start:at.end], above: above, after: after})
	}
	return d, p.Error()
}

// below returns a path of the section without its beginning.
func (s *section) below(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, "runners."+strconv.Itoa(s.index)), ".")
}

// table returns a table of the runner that has a header, or nil.
func (s *section) table(path string) *table {
	for _, t := range s.tables {
		if t.path == path {
			return t
		}
	}
	return nil
}

// get returns a key of the runner, or nil.
func (s *section) get(path string) *entry {
	for _, t := range s.tables {
		for _, e := range t.entries {
			if e.path == path {
				return e
			}
		}
	}
	return nil
}

// pathOf returns the path of a key below a table, with the number of the element that each array of tables is at, and
// where the key stands.
func pathOf(table string, it unstable.Iterator, array bool, elements map[string]int) (path string, at span) {
	path = table
	for first := true; it.Next(); first = false {
		n := it.Node()
		if first {
			at.start = int(n.Raw.Offset)
		}
		at.end = int(n.Raw.Offset + n.Raw.Length)
		// A dot inside of a name must not look like one between two.
		path = strings.TrimPrefix(path+"."+strings.ReplaceAll(strings.ToLower(string(n.Data)), ".", "\x1f"), ".")
		if array && it.IsLast() {
			elements[path]++
		}
		if n := elements[path]; n > 0 {
			path += "." + strconv.Itoa(n-1)
		}
	}
	return path, at
}

// headerAt is where a header stands, with its brackets.
func (d *document) headerAt(keys span, array bool) span {
	at := keys
	at.start = d.lineStart(at.start)
	at.start += strings.IndexByte(d.text[at.start:], '[')
	at.end += strings.IndexByte(d.text[at.end:], ']') + 1
	if array {
		at.end += strings.IndexByte(d.text[at.end:], ']') + 1
	}
	return at
}

// comments returns those of an expression: on the lines directly above it, but not before from, and on its own.
func (d *document) comments(at span, from int) (above []string, after string) {
	for start := d.lineStart(at.start); start > from; {
		previous := d.lineStart(start - 1)
		line := strings.TrimSpace(d.text[previous:start])
		if !strings.HasPrefix(line, "#") || previous < from {
			break
		}
		above = append(above, line)
		start = previous
	}
	slices.Reverse(above)
	return above, strings.TrimSpace(d.text[at.end:d.lineEnd(at.end)])
}

func (d *document) lineStart(offset int) int { return strings.LastIndexByte(d.text[:offset], '\n') + 1 }

// lineEnd is behind the line end.
func (d *document) lineEnd(offset int) int {
	if i := strings.IndexByte(d.text[offset:], '\n'); i >= 0 {
		return offset + i + 1
	}
	return len(d.text)
}

// lineAt returns the number of the line at an offset. It is quick where offsets grow.
func (d *document) lineAt(offset int) int {
	if offset < d.counted {
		d.counted, d.before = 0, 0
	}
	d.before += strings.Count(d.text[d.counted:offset], "\n")
	d.counted = offset
	return 1 + d.before
}

// line returns the number of the line of a path, or of what is closest around it; 0 = there is none.
func (d *document) line(path string) int {
	for ; path != ""; path = path[:max(0, strings.LastIndexByte(path, '.'))] {
		if line, ok := d.lines[path]; ok {
			return line
		}
	}
	return 0
}

// below reports whether a path is a table, or in it.
func below(path, table string) bool {
	return path == table || strings.HasPrefix(path, table+".")
}

// edits are replacements of bytes. No two overlap.
type edits []edit

type edit struct {
	span
	text string
}

// replace puts text in the place of a span.
func (e *edits) replace(s span, text string) { *e = append(*e, edit{s, text}) }

// apply returns the text with all replacements, which are in its order.
func (e edits) apply(text string) string { return e.within(text, span{0, len(text)}) }

// within is apply for a part of the text.
func (e edits) within(text string, s span) string {
	var out strings.Builder
	for _, one := range e {
		if one.start >= s.start && one.end <= s.end {
			out.WriteString(text[s.start:one.start])
			out.WriteString(one.text)
			s.start = one.end
		}
	}
	return out.String() + text[s.start:s.end]
}

package migrate

import (
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
	masks    []edit // puts [secret] in the place of each secret value

	counted, before int // lines are counted up to here, and there are so many
}

// section is one [[runners]], with the tables below it.
type section struct {
	span           // whole lines, from its header to its last key
	name    string // of the array, as it is spelled
	index   int
	entries []*entry // the first is the header [[runners]]; in the order of the file
}

// span is a range of bytes of the text.
type span struct{ start, end int }

// entry is a header, or a key with its value and the comments directly above it: whole lines.
type entry struct {
	span
	path     string // below the runner, in lower case, with the number of each element: "", "docker", "docker.services.0"
	name     string // of a key, as it is written; "" = a header
	nameAt   span
	line     int
	elements []int // of a list: their lines
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
	arrays := map[string]int{} // elements of each array of tables, so far
	var s *section             // that keys belong to; nil = none
	root, end := "", 0         // the table that keys belong to, and where the last expression's line ended
	for p.NextExpression() {
		e := p.Expression()
		array := e.Kind == unstable.ArrayTable
		if e.Kind != unstable.KeyValue {
			root = ""
		}
		path, name := pathOf(root, e.Key(), array, arrays)
		word := text[name.start:name.end]
		one := &entry{path: path, nameAt: name, line: d.lineAt(name.start)}
		_, twice := d.lines[path]
		d.lines[path] = one.line
		if e.Kind == unstable.KeyValue {
			d.findSecrets(e.Value(), path[strings.LastIndexByte(path, '.')+1:])
			one.name, one.span = word, d.wholeLines(span{name.start, int(e.Raw.Offset + e.Raw.Length)}, end)
			for it := e.Value().Children(); e.Value().Kind == unstable.Array && it.Next(); {
				one.elements = append(one.elements, d.lineAt(int(it.Node().Raw.Offset)))
			}
		} else {
			root, one.span = path, span{d.lineStart(name.start), d.lineEnd(name.end)}
		}
		end = one.end
		switch header := one.name == ""; {
		case header && !below(path, "runners"):
			s = nil
		case header && path == "runners."+strconv.Itoa(len(d.sections)):
			s = &section{span: one.span, name: word, index: len(d.sections)}
			d.sections = append(d.sections, s)
		case header && s == nil:
			return nil, fault{one.line, "[" + word + "] is apart from its [[runners]]: something else is between them",
				"move it to the other tables of its [[runners]]"}
		case s != nil && !header && twice:
			return nil, fault{one.line, word + " is given twice, in different case: which one counts is chance", "remove one of them"}
		}
		if s != nil {
			one.path = strings.TrimPrefix(strings.TrimPrefix(path, "runners."+strconv.Itoa(s.index)), ".")
			s.entries, s.end = append(s.entries, one), end
		}
	}
	return d, p.Error()
}

// get returns a key of the runner, or nil.
func (s *section) get(path string) *entry {
	for _, e := range s.entries {
		if e.path == path && e.name != "" {
			return e
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

// wholeLines widens a span to whole lines, with the comments on the lines directly above, but not before from.
func (d *document) wholeLines(at span, from int) span {
	at.start, at.end = d.lineStart(at.start), d.lineEnd(at.end)
	for at.start > from {
		above := d.lineStart(at.start - 1)
		if !strings.HasPrefix(strings.TrimSpace(d.text[above:at.start]), "#") {
			break
		}
		at.start = above
	}
	return at
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

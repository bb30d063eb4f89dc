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
	masks    edits // puts [secret] in the place of each secret value

	counted, before int // lines are counted up to here, and there are so many
}

// section is one [[runners]], with the tables below it.
type section struct {
	span          // whole lines, from its header to its last key
	name   string // of the array, as it is spelled
	unit   string // that each level is indented by
	index  int
	blocks []*block // the first is [[runners]] itself; in the order of the file
}

// span is a range of bytes of the text.
type span struct{ start, end int }

// block is a header with the keys below it: whole lines, from the comments directly above it to the last key.
type block struct {
	span
	path string // below the runner, in lower case, with the number of each element: "", "docker", "docker.services.0"
	keys []*key
}

// key is a key and its value: whole lines, with the comments directly above it.
type key struct {
	span
	path     string // below the runner, in lower case; that of a dotted key is deeper than its block's
	name     string // as it is written
	nameAt   span
	value    string // likewise
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
	elements := map[string]int{} // of each array of tables, so far
	var s *section               // that keys belong to; nil = none
	root, end := "", 0           // the table that keys belong to, and where the last expression's line ended
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.KeyValue {
			at := span{int(e.Raw.Offset), int(e.Raw.Offset + e.Raw.Length)}
			path, name := pathOf(root, e.Key(), false, nil)
			d.findSecrets(e.Value(), path[strings.LastIndexByte(path, '.')+1:])
			k := &key{span: d.wholeLines(at, end), name: text[name.start:name.end], nameAt: name, line: d.lineAt(at.start)}
			_, twice := d.lines[path]
			d.lines[path], end = k.line, k.end
			if s == nil {
				continue
			}
			if twice {
				return nil, fault{k.line, k.name + " is given twice, in different case: which one counts is chance", "remove one of them"}
			}
			k.path = s.below(path)
			k.value = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text[name.end:at.end]), "="))
			for it := e.Value().Children(); e.Value().Kind == unstable.Array && it.Next(); {
				k.elements = append(k.elements, d.lineAt(int(it.Node().Raw.Offset)))
			}
			s.add(k, text[d.lineStart(at.start):at.start])
			continue
		}
		array := e.Kind == unstable.ArrayTable
		path, name := pathOf("", e.Key(), array, elements)
		at := d.headerAt(name, array)
		line := d.lineAt(at.start)
		lines := d.wholeLines(at, end)
		root, end, d.lines[path] = path, lines.end, line
		switch {
		case !below(path, "runners"):
			s = nil
			continue
		case path == "runners."+strconv.Itoa(len(d.sections)):
			lines.start = d.lineStart(at.start) // what is above it stays there
			s = &section{span: lines, name: text[name.start:name.end], unit: "  ", index: len(d.sections)}
			d.sections = append(d.sections, s)
		case s == nil:
			return nil, fault{line, text[at.start:at.end] + " is apart from its [[runners]]: something else is between them",
				"move it to the other tables of its [[runners]]"}
		}
		s.end = end
		s.blocks = append(s.blocks, &block{span: lines, path: s.below(path)})
	}
	return d, p.Error()
}

// add adds a key to the last block.
func (s *section) add(k *key, indent string) {
	b := s.blocks[len(s.blocks)-1]
	if len(s.blocks) == 1 && b.keys == nil {
		s.unit = indent
	}
	b.keys = append(b.keys, k)
	b.end, s.end = k.end, k.end
}

// below returns a path of the section without its beginning.
func (s *section) below(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, "runners."+strconv.Itoa(s.index)), ".")
}

// get returns a key of the runner, or nil.
func (s *section) get(path string) *key {
	for _, b := range s.blocks {
		for _, k := range b.keys {
			if k.path == path {
				return k
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

// edits are replacements of bytes, in their order. No two overlap.
type edits []edit

type edit struct {
	span
	text string
}

func (e *edits) replace(s span, text string) { *e = append(*e, edit{s, text}) }

// within returns a part of the text with its replacements.
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

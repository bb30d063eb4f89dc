package migrate

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a config.toml in which everything is known by its bytes, so that
// what is not to be changed is never written anew.
type document struct {
	text   string
	eol    string  // the line end of the first line
	blocks []block // in the order of the file; the first has no header
	starts []int   // of lines, as offsets
}

// block is a table's header with the keys below it, up to the next header.
type block struct {
	path   string // lower case, with the number of each element: runners.0.machine
	name   string // the header's own spelling, without brackets
	header span   // of [...]; empty for the keys above the first header
	array  bool   // [[...]]
	after  string // the comment on the header's line
	items  []item // keys and comments on lines of their own
}

// span is a range of bytes of the text.
type span struct{ start, end int }

// item is a key with its value, or a comment on a line of its own (key == nil).
type item struct {
	span
	key     []string // as spelled
	path    string   // of the key: lower case, from the root
	value   value
	comment string // on the same line, with its #; of a comment, the comment
}

// value is a value of TOML.
type value struct {
	span
	kind     unstable.Kind
	text     string    // a string's content; a number or boolean as written
	elements []element // of an array
	pairs    []item    // of an inline table
	comments []string  // that are inside of it and belong to nothing
}

// element is one value of an array, with the comments that belong to it.
type element struct {
	value
	before []string
	after  string
}

// parse takes a text apart that the decoder has accepted.
func parse(text string) (*document, error) {
	d := &document{text: text, eol: "\n", starts: []int{0}, blocks: []block{{}}}
	if i := strings.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		d.eol = "\r\n"
	}
	for i := range len(text) {
		if text[i] == '\n' {
			d.starts = append(d.starts, i+1)
		}
	}

	p := unstable.Parser{KeepComments: true}
	// A byte order mark is nothing to the decoder, and an error to this parser.
	// Spaces in its place keep all offsets.
	if strings.HasPrefix(text, bom) {
		text = strings.Repeat(" ", len(bom)) + text[len(bom):]
	}
	p.Reset([]byte(text))
	elements := map[string]int{} // of each array of tables, so far
	for p.NextExpression() {
		e := p.Expression()
		at := &d.blocks[len(d.blocks)-1]
		switch e.Kind {
		case unstable.Comment:
			at.items = append(at.items, item{span: spanOf(e.Raw), comment: string(e.Data)})
		case unstable.Table, unstable.ArrayTable:
			path, _, keys := pathOf("", e.Key(), e.Kind == unstable.ArrayTable, elements)
			start := strings.LastIndexByte(text[:keys.start], '\n') + 1
			start += strings.IndexByte(text[start:keys.start], '[')
			brackets := keys.start - start - strings.Count(text[start:keys.start], " ") - strings.Count(text[start:keys.start], "\t")
			end := keys.end
			for ; brackets > 0; end++ {
				if text[end] == ']' {
					brackets--
				}
			}
			b := block{path: path, name: text[keys.start:keys.end], header: span{start, end}, array: e.Kind == unstable.ArrayTable}
			if c := e.Next(); c.Valid() {
				b.after = string(c.Data)
			}
			d.blocks = append(d.blocks, b)
		case unstable.KeyValue:
			i := keyValue(text, e, at.path, elements)
			if c := e.Next(); c.Valid() {
				i.comment = string(c.Data)
			}
			at.items = append(at.items, i)
		}
	}
	return d, p.Error()
}

// bom is the byte order mark that some Windows editors put first.
const bom = "\ufeff"

func spanOf(r unstable.Range) span { return span{int(r.Offset), int(r.Offset + r.Length)} }

// pathOf returns the path of a key below table, with the number of the element that
// each array of tables is at, the key as it is spelled, and where it stands.
func pathOf(table string, it unstable.Iterator, array bool, elements map[string]int) (path string, spelled []string, at span) {
	var names []string
	for it.Next() {
		n := it.Node()
		if len(names) == 0 {
			at.start = int(n.Raw.Offset)
		}
		at.end = int(n.Raw.Offset + n.Raw.Length)
		spelled = append(spelled, string(n.Data))
		// A dot inside of a name must not look like one between two.
		names = append(names, strings.ReplaceAll(strings.ToLower(string(n.Data)), ".", "\x1f"))
	}
	path = table
	for i, name := range names {
		path = strings.TrimPrefix(path+"."+name, ".")
		if array && i == len(names)-1 {
			elements[path]++
		}
		if n := elements[path]; n > 0 {
			path += "." + strconv.Itoa(n-1)
		}
	}
	return path, spelled, at
}

func keyValue(text string, n *unstable.Node, table string, elements map[string]int) item {
	path, spelled, _ := pathOf(table, n.Key(), false, elements)
	i := item{span: spanOf(n.Raw), key: spelled, path: path}
	i.value = valueOf(text, n.Value(), path)
	if i.value.kind == unstable.Array || i.value.kind == unstable.InlineTable {
		i.value.end = i.end
		keyEnd := i.start
		for it := n.Key(); it.Next(); {
			keyEnd = int(it.Node().Raw.Offset + it.Node().Raw.Length)
		}
		i.value.start = keyEnd + strings.IndexAny(text[keyEnd:], "[{")
	}
	return i
}

func valueOf(text string, n *unstable.Node, path string) value {
	v := value{span: spanOf(n.Raw), kind: n.Kind, text: string(n.Data)}
	switch n.Kind {
	case unstable.Array:
		var before []string
		for it := n.Children(); it.Next(); {
			c := it.Node()
			if c.Kind != unstable.Comment {
				e := element{value: valueOf(text, c, path+"."+strconv.Itoa(len(v.elements))), before: before}
				before = nil
				v.elements = append(v.elements, e)
				continue
			}
			for _, one := range commentRun(c) {
				at := int(one.Raw.Offset)
				line := text[strings.LastIndexByte(text[:at], '\n')+1 : at]
				if last := len(v.elements) - 1; last >= 0 && before == nil && strings.TrimSpace(line) != "" {
					v.elements[last].after = string(one.Data)
				} else {
					before = append(before, string(one.Data))
				}
			}
		}
		v.comments = before
	case unstable.InlineTable:
		for it := n.Children(); it.Next(); {
			c := it.Node()
			if c.Kind != unstable.Comment {
				v.pairs = append(v.pairs, keyValue(text, c, path, nil))
				continue
			}
			for _, one := range commentRun(c) {
				v.comments = append(v.comments, string(one.Data))
			}
		}
	}
	return v
}

// commentRun returns a comment and those that follow it without a value between.
func commentRun(first *unstable.Node) []*unstable.Node {
	run := []*unstable.Node{first}
	for it := first.Children(); it.Next(); {
		run = append(run, it.Node())
	}
	return run
}

// line returns the line of an offset, from 1.
func (d *document) line(offset int) int {
	i, exact := slices.BinarySearch(d.starts, offset)
	if exact {
		return i + 1
	}
	return i
}

// lines widens a span to whole lines, the last one's end included.
func (d *document) lines(s span) span {
	s.start = d.starts[d.line(s.start)-1]
	if i := strings.IndexByte(d.text[s.end:], '\n'); i >= 0 {
		s.end += i + 1
	} else {
		s.end = len(d.text)
	}
	return s
}

// indent returns the white space in front of an offset on its line.
func (d *document) indent(offset int) string {
	line := d.text[d.starts[d.line(offset)-1]:offset]
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

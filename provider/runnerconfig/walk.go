package runnerconfig

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Item is a header, a key, or an element of a list.
type Item struct {
	Key   string         // in lower case, with the number of each element: runners.0.autoscaler.policy.1.idle_count
	Name  string         // of a header or a key, as it is written
	Start int            // the byte at which the name or the element begins
	End   int            // the byte behind the header's name, or behind the value
	Value *unstable.Node // nil = it is a header
	Inner bool           // it is a part of another's value
}

// Walk visits all that is in a text, in its order, with positions, which the decoder lacks.
func Walk(text string, visit func(Item)) error {
	w := walker{text: text, visit: visit, elements: map[string]int{}}
	// A byte order mark is nothing to the decoder, and an error to this parser.
	if rest, ok := strings.CutPrefix(text, "\ufeff"); ok {
		text = "   " + rest
	}
	var p unstable.Parser
	p.Reset([]byte(text))
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.KeyValue {
			w.pair(table, e, false)
			continue
		}
		header := w.item("", e.Key(), e.Kind == unstable.ArrayTable)
		table = header.Key
		visit(header)
	}
	return p.Error()
}

type walker struct {
	text     string
	visit    func(Item)
	elements map[string]int // of each array of tables, so far
}

// item is what a key below a table names, with the number of the element that each array of tables is at.
func (w *walker) item(table string, it unstable.Iterator, array bool) Item {
	i := Item{Key: table, Start: -1}
	for it.Next() {
		n := it.Node()
		i.End = int(n.Raw.Offset + n.Raw.Length)
		if i.Start < 0 {
			i.Start = int(n.Raw.Offset)
		}
		// A dot inside of a name must not look like one between two.
		i.Key = strings.TrimPrefix(i.Key+"."+strings.ReplaceAll(strings.ToLower(string(n.Data)), ".", "\x1f"), ".")
		if array && it.IsLast() {
			w.elements[i.Key]++
		}
		if n := w.elements[i.Key]; n > 0 {
			i.Key += "." + strconv.Itoa(n-1)
		}
	}
	i.Name = w.text[i.Start:i.End]
	return i
}

func (w *walker) pair(table string, n *unstable.Node, inner bool) {
	i := w.item(table, n.Key(), false)
	i.Value, i.Inner = n.Value(), inner
	if !inner {
		i.End = int(n.Raw.Offset + n.Raw.Length)
	}
	w.visit(i)
	w.inside(i)
}

// inside visits the parts of a value.
func (w *walker) inside(i Item) {
	for n, it := 0, i.Value.Children(); it.Next(); n++ {
		switch i.Value.Kind {
		case unstable.InlineTable:
			w.pair(i.Key, it.Node(), true)
		case unstable.Array:
			element := Item{Key: i.Key + "." + strconv.Itoa(n), Start: max(i.Start, int(it.Node().Raw.Offset)), Value: it.Node(), Inner: true}
			w.visit(element)
			w.inside(element)
		}
	}
}

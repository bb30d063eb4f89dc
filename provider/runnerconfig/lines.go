package runnerconfig

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// readLines returns the line of every key. The decoder does not know it: another library's parser does.
func readLines(text string) (map[string]int, error) {
	lines := map[string]int{}
	elements := map[string]int{} // of each array of tables, so far
	var p unstable.Parser
	// A byte order mark is nothing to the decoder, and an error to this parser.
	text = strings.TrimPrefix(text, "\ufeff")
	p.Reset([]byte(text))

	// Keys come in the order of the file, so that lines are counted once.
	at, line := 0, 1
	note := func(key string, n *unstable.Node) {
		if _, ok := lines[key]; !ok {
			line += strings.Count(text[at:n.Raw.Offset], "\n")
			at = int(n.Raw.Offset)
			lines[key] = line
		}
	}
	// within returns key below table, with the number of the element that an array of tables is at.
	within := func(table string, it unstable.Iterator, array bool) (key string, first *unstable.Node) {
		var names []string
		for it.Next() {
			if first == nil {
				first = it.Node()
			}
			names = append(names, strings.ToLower(string(it.Node().Data)))
		}
		key = table
		for i, name := range names {
			key = strings.TrimPrefix(key+"."+name, ".")
			if array && i == len(names)-1 {
				elements[key]++
			}
			if n := elements[key]; n > 0 {
				key += "." + strconv.Itoa(n-1)
			}
		}
		return key, first
	}

	table := ""
	var inline func(table string, n *unstable.Node)
	inline = func(table string, n *unstable.Node) {
		switch n.Kind {
		case unstable.InlineTable:
			for it := n.Children(); it.Next(); {
				key, first := within(table, it.Node().Key(), false)
				note(key, first)
				inline(key, it.Node().Value())
			}
		case unstable.Array:
			i := 0
			for it := n.Children(); it.Next(); i++ {
				inline(table+"."+strconv.Itoa(i), it.Node())
			}
		}
	}
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			key, first := within("", e.Key(), e.Kind == unstable.ArrayTable)
			table = key
			note(key, first)
		case unstable.KeyValue:
			key, first := within(table, e.Key(), false)
			note(key, first)
			inline(key, e.Value())
		}
	}
	return lines, p.Error()
}

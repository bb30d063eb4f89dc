package migrate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// setting is one key of a runner with its value, however it is written: below a
// header, dotted, or in an inline table.
type setting struct {
	path   string // below the runner, lower case: machine.autoscaling.0.idlecount
	name   string // the key alone, as spelled
	value  value
	line   int
	item   *item // the whole line, or lines, that it is part of
	inline bool  // in an inline table, so that it is not the only one of its item
	block  int   // that the item is in
	pairs  []item
	pair   int // of an inline table's pairs, the one that it is
}

// runner is one [[runners]].
type runner struct {
	doc      *document
	index    int
	name     string // of the array, as spelled: runners
	blocks   []int  // its own, in the order of the file
	settings []setting
	twice    []setting // whose path is there already: the runner takes either
}

// runners finds the [[runners]] of the file. wrong says why they cannot be told
// apart, and where.
func (d *document) runners() (all []*runner, wrong string, line int) {
	for i := range d.blocks {
		b := &d.blocks[i]
		rest, ok := strings.CutPrefix(b.path, "runners.")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, ".")
		index, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		if index > len(all) || index == len(all) && !b.array {
			return nil, fmt.Sprintf("[%s] comes before any [[runners]]", b.name), d.line(b.header.start)
		}
		if index == len(all) {
			all = append(all, &runner{doc: d, index: index, name: b.name})
		}
		all[index].blocks = append(all[index].blocks, i)
		if first, _, _ := strings.Cut(b.name, "."); bare(first) != bare(all[0].name) {
			return nil, fmt.Sprintf("[[%s]] and [%s] begin differently, so that they are two tables, of which the runner reads only one",
				all[0].name, b.name), d.line(b.header.start)
		}
	}
	for i := range d.blocks[0].items {
		if it := &d.blocks[0].items[i]; it.path == "runners" && it.value.kind == unstable.Array && len(all) == 0 {
			return nil, "runners is written as one inline array, which migrate does not take apart", d.line(it.start)
		}
	}
	for _, r := range all {
		r.read()
	}
	return all, "", 0
}

// bare is a key without the quotes that it may be written with.
func bare(key string) string { return strings.Trim(key, " \t\"'") }

// read flattens what the runner has.
func (r *runner) read() {
	r.settings, r.twice = r.doc.settings("runners."+strconv.Itoa(r.index), r.blocks)
}

// settings flattens what some blocks say about a table. twice are those whose path is
// there already.
func (d *document) settings(root string, blocks []int) (all, twice []setting) {
	seen := map[string]bool{}
	add := func(s setting) {
		if seen[s.path] {
			twice = append(twice, s)
			return
		}
		seen[s.path] = true
		all = append(all, s)
	}
	for _, b := range blocks {
		block := &d.blocks[b]
		for i := range block.items {
			it := &block.items[i]
			if it.key == nil || !below(it.path, root) {
				continue
			}
			path := strings.TrimPrefix(strings.TrimPrefix(it.path, root), ".")
			s := setting{path: path, name: it.key[len(it.key)-1], value: it.value, line: d.line(it.start), item: it, block: b}
			flatten(d, s, root, add)
		}
	}
	return all, twice
}

// flatten adds s, and what is in it when it is an inline table or an array of them.
func flatten(d *document, s setting, root string, add func(setting)) {
	inner := func(v value) {
		for i := range v.pairs {
			p := &v.pairs[i]
			in := s
			in.inline, in.pairs, in.pair = true, v.pairs, i
			in.path = strings.TrimPrefix(p.path, root+".")
			in.name, in.value, in.line = p.key[len(p.key)-1], p.value, d.line(p.start)
			flatten(d, in, root, add)
		}
	}
	switch {
	case s.value.kind == unstable.InlineTable:
		inner(s.value)
	case s.value.kind == unstable.Array && len(s.value.elements) > 0 && s.value.elements[0].kind == unstable.InlineTable:
		for i := range s.value.elements {
			inner(s.value.elements[i].value)
		}
	default:
		add(s)
	}
}

// at is the path of something of the runner, from the root of the file.
func (r *runner) at(path string) string { return "runners." + strconv.Itoa(r.index) + "." + path }

// get returns a setting, or nil.
func (r *runner) get(path string) *setting {
	for i := range r.settings {
		if r.settings[i].path == path {
			return &r.settings[i]
		}
	}
	return nil
}

// text returns a string, or "" when there is none.
func (r *runner) text(path string) string {
	if s := r.get(path); s != nil && s.value.kind == unstable.String {
		return s.value.text
	}
	return ""
}

// line is where the runner begins.
func (r *runner) line() int { return r.doc.line(r.doc.blocks[r.blocks[0]].header.start) }

// title is what messages call the runner.
func (r *runner) title() string {
	if name := r.text("name"); name != "" {
		return name
	}
	return "runner " + strconv.Itoa(r.index+1)
}

// below reports whether a path is a table, or in it.
func below(path, table string) bool {
	return path == table || strings.HasPrefix(path, table+".")
}

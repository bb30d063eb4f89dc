package migrate

import (
	"fmt"
	"slices"
	"strings"
)

// docker takes the keys out of [runners.docker] that name another daemon: it is on the
// Droplet.
func (c *conversion) docker() {
	if !c.has("docker") {
		c.note(Note{Severity: Warning, Line: c.line(), Text: "has no [runners.docker], which docker-autoscaler needs as docker+machine did",
			Hint: `add [runners.docker] with image = "alpine:latest"`})
	}
	var inline []setting
	for _, key := range []string{"host", "tls_verify", "tls_cert_path"} {
		s := c.get("docker." + key)
		if s == nil {
			continue
		}
		why := "SSH takes the place of TLS"
		if key == "host" {
			why = "Docker is reached over SSH, on the Droplet"
		}
		c.say(Dropped, s.line, key, why)
		if s.inline {
			inline = append(inline, *s)
			continue
		}
		c.commentOut(s.item)
	}
	if len(inline) > 0 {
		c.rewrite(inline[0].item, inline, nil)
	}
}

// commentOut makes a comment of a key, in its place.
func (m *migration) commentOut(it *item) {
	m.edits.replace(it.span, m.comment(m.doc.text[it.start:it.end], m.doc.indent(it.start)))
}

// comment makes a comment of a text, of one line or more, without secrets.
func (m *migration) comment(text, indent string) string {
	return "# " + strings.ReplaceAll(redacted(text, m.redact), "\n", "\n"+indent+"# ")
}

// rewrite writes an inline table anew, without some of its pairs, which become
// comments above it, and with others added.
func (c *conversion) rewrite(it *item, without []setting, added []string) {
	c.rewriteMoved(it, without, nil, added)
}

// rewriteMoved is rewrite with pairs that are among those added, and so become no
// comments.
func (c *conversion) rewriteMoved(it *item, without, moved []setting, added []string) {
	doc := c.runner.doc
	is := func(all []setting, n int) bool {
		return slices.ContainsFunc(all, func(s setting) bool { return s.pair == n })
	}
	var kept, lost []string
	for n, pair := range it.value.pairs {
		text := doc.text[pair.start:pair.end]
		switch {
		case is(without, n):
			lost = append(lost, c.redactPair(pair))
		case !is(moved, n):
			kept = append(kept, text)
		}
	}
	value := "{ " + strings.Join(append(kept, added...), ", ") + " }"
	if value == "{  }" {
		value = "{}"
	}
	c.edits.replace(it.value.span, value)
	line := doc.lines(it.span)
	indent := doc.indent(it.start)
	var above strings.Builder
	for _, comment := range comments(it.value) {
		above.WriteString(indent + c.redact(comment) + doc.eol)
	}
	for _, text := range lost {
		above.WriteString(indent + c.comment(text, indent) + doc.eol)
	}
	c.edits.replace(span{line.start, line.start}, above.String())
}

// redactPair is a pair as it was written, without its value if that is a secret.
func (c *conversion) redactPair(pair item) string {
	if sounds(pair.path) {
		return strings.Join(pair.key, ".") + ` = "[secret]"`
	}
	return c.runner.doc.text[pair.start:pair.end]
}

// comments are all comments inside of a value.
func comments(v value) []string {
	all := slices.Clone(v.comments)
	for _, e := range v.elements {
		all = append(all, e.before...)
		all = append(all, comments(e.value)...)
		if e.after != "" {
			all = append(all, e.after)
		}
	}
	for _, p := range v.pairs {
		all = append(all, comments(p.value)...)
	}
	return all
}

// place takes [runners.machine] out and puts the new sections in.
func (c *conversion) place() {
	doc := c.runner.doc
	at, like := c.cut()
	unit := c.unit(like)
	base := doc.indent(like.header.start)
	if like == &doc.blocks[c.blocks[0]] {
		base += unit // below [[runners]] itself, one level in
	}
	var out strings.Builder
	if at > 0 && doc.text[at-1] != '\n' {
		out.WriteString(doc.eol)
	}
	sections := append([]section{c.autoscaler, c.storage, c.plugin, c.connector}, c.policies...)
	for i, s := range sections {
		if i > 0 {
			out.WriteString(doc.eol)
		}
		out.WriteString(s.render(base, unit, doc.eol))
	}
	rest := strings.TrimLeft(doc.text[c.cutEnd(at):], " \t\r")
	if rest != "" && rest[0] != '\n' {
		out.WriteString(doc.eol)
	}
	text := out.String()
	if rest == "" && !strings.HasSuffix(doc.text, "\n") {
		text = strings.TrimSuffix(text, doc.eol)
	}
	c.edits.replace(span{at, at}, text)
}

// cut takes [runners.machine] out, however it is written. It returns where the new
// sections go, and the table whose place they take: that of the first header; without
// one, the end of the table that had the keys, since headers end it.
func (c *conversion) cut() (at int, like *block) {
	doc := c.runner.doc
	root := c.at("machine")
	at = -1
	for n, b := range c.blocks {
		block := &doc.blocks[b]
		if !below(block.path, root) {
			continue
		}
		cut := doc.lines(block.header)
		for _, it := range block.items {
			if it.key != nil {
				cut.end = doc.lines(it.span).end
			}
		}
		if n+1 < len(c.blocks) && c.blocks[n+1] == b+1 && below(doc.blocks[b+1].path, root) {
			cut.end = doc.lines(doc.blocks[b+1].header).start
		}
		c.edits.replace(cut, "")
		if at < 0 {
			at, like = cut.start, block
		}
	}
	for _, b := range c.blocks {
		block := &doc.blocks[b]
		end, found := 0, false // of the keys that stay
		for _, it := range block.items {
			if it.key == nil || below(block.path, root) {
				continue
			}
			line := doc.lines(it.span)
			if !below(it.path, root) {
				end = line.end
				continue
			}
			if !found {
				found, end = true, line.start
			}
			c.edits.replace(line, "")
		}
		if found && at < 0 {
			at, like = end, block
		}
	}
	return at, like
}

// cutEnd is where the text goes on after what is cut at an offset.
func (c *conversion) cutEnd(at int) int {
	for _, e := range c.edits.all { // in the order of the file
		if e.start == at && e.text == "" {
			at = e.end
		}
	}
	return at
}

// unit is how much deeper the keys of a block are than its header.
func (c *conversion) unit(b *block) string {
	doc := c.runner.doc
	for _, it := range b.items {
		if it.key == nil {
			continue
		}
		if deeper, ok := strings.CutPrefix(doc.indent(it.start), doc.indent(b.header.start)); ok {
			return deeper
		}
	}
	return "  "
}

// leftovers keeps what has no rule.
func (c *conversion) leftovers() {
	root := c.at("machine")
	foreign := func(b int) bool { // a section that the runner does not know
		path := c.runner.doc.blocks[b].path
		return below(path, root) && path != root && !isSection(strings.TrimPrefix(path, root))
	}
	kept := map[*item]bool{}
	keep := func(in func(block int) bool) {
		for _, s := range c.settings {
			o := c.olds[s.path]
			known := s.path == "machine.machineoptions" || s.path == "machine.machineoptionswithname" || s.path == "machine.machinedriver"
			if o == nil || o.used || known || !in(s.block) {
				continue
			}
			if !kept[s.item] || !o.whole {
				c.autoscaler.keep(o)
			}
			o.used, kept[s.item] = true, true
			if s.path == "machine.maxremovalattempts" {
				c.say(Dropped, s.line, "MaxRemovalAttempts", "the plugin destroys until a list shows the Droplet gone")
				continue
			}
			c.note(Note{Kind: Decision, Line: s.line, Text: fmt.Sprintf("[runners.machine] has %q, which the runner does not know", c.redact(s.name)),
				Hint: "it is a comment now"})
		}
	}
	keep(func(b int) bool { return !foreign(b) })
	for _, b := range c.blocks {
		if !foreign(b) {
			continue
		}
		block := &c.runner.doc.blocks[b]
		c.autoscaler.lines = append(c.autoscaler.lines, c.heads[b]...)
		c.autoscaler.say(c.redact(c.runner.doc.text[block.header.start:block.header.end] + " " + block.after))
		keep(func(in int) bool { return in == b })
	}
}

// isSection tells that a path is that of one [[runners.machine.autoscaling]].
func isSection(path string) bool {
	number, ok := strings.CutPrefix(path, ".autoscaling.")
	return ok && strings.Trim(number, "0123456789") == ""
}

package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// cacheKeys were directly below [runners.cache] until Runner 12.0, and are in its s3
// now.
var cacheKeys = []string{"ServerAddress", "AccessKey", "SecretKey", "BucketName", "BucketLocation", "Insecure"}

// cacheNames are the keys that got another name in 12.0.
var cacheNames = map[string]string{"s3cachepath": "Path", "cacheshared": "Shared"}

// spacesHost matches what people write as the address of a Space.
var spacesHost = regexp.MustCompile(`(?i)^(?:https?://)?(?:([a-z0-9][a-z0-9.-]*)\.)?([a-z]{3}\d)(?:\.spaces|\.cdn)?\.digitaloceanspaces\.com(?::\d+)?(?:/([a-z0-9.-]*))?/?$`)

// cacheRepair is what is done to one cache.
type cacheRepair struct {
	host, region, bucket string // of Spaces; empty = another server
	values               map[string]string
	missing              []string // keys that are added
}

// cache repairs [runners.cache] where it cannot work: the keys of before 12.0, and
// what Spaces does not take.
func (c *conversion) cache() {
	if kind := c.text("cache.type"); kind != "" && !strings.EqualFold(kind, "s3") {
		return
	}
	var flat []setting
	for _, s := range c.settings {
		key, ok := strings.CutPrefix(s.path, "cache.")
		if ok && (cacheNames[key] != "" || slices.ContainsFunc(cacheKeys, func(k string) bool { return strings.EqualFold(k, key) })) {
			flat = append(flat, s)
		}
	}
	r := c.cacheRepair()
	if len(flat) > 0 {
		c.moveCache(flat, r)
		return
	}
	c.repairCache(r)
}

// effective is a key of the cache, where it counts or should.
func (c *conversion) effective(key string) *setting {
	if s := c.get("cache.s3." + strings.ToLower(key)); s != nil {
		return s
	}
	return c.get("cache." + strings.ToLower(key))
}

// cacheRepair finds out what Spaces needs.
func (c *conversion) cacheRepair() cacheRepair {
	r := cacheRepair{values: map[string]string{}}
	s := c.effective("ServerAddress")
	if s == nil {
		return r
	}
	m := spacesHost.FindStringSubmatch(strings.TrimSpace(s.value.text))
	if m == nil {
		if strings.Contains(s.value.text, "digitaloceanspaces") {
			c.note(Note{Kind: Decision, Line: s.line, Key: "ServerAddress", Text: "is no host of Spaces", Hint: "it is the region's, such as nyc3.digitaloceanspaces.com"})
		}
		return r
	}
	r.region, r.bucket = strings.ToLower(m[2]), m[1]
	if r.bucket == "" {
		r.bucket = m[3]
	}
	r.host = r.region + ".digitaloceanspaces.com"
	if s.value.text != r.host {
		r.values["ServerAddress"] = quote(r.host)
		c.note(Note{Kind: Approximated, Line: s.line, Key: "ServerAddress", Text: fmt.Sprintf("%q is no host of Spaces: %s", s.value.text, r.host)})
	}
	name := c.effective("BucketName")
	switch {
	case r.bucket == "":
	case name == nil || name.value.text == "":
		if name == nil {
			r.missing = append(r.missing, "BucketName")
		}
		r.values["BucketName"] = quote(r.bucket)
		c.say(Converted, s.line, "BucketName", fmt.Sprintf("%q, which was part of ServerAddress", r.bucket))
	case name.value.text != r.bucket:
		c.note(Note{Kind: Decision, Line: name.line, Key: "BucketName", Text: fmt.Sprintf("is %q, and ServerAddress had %q in front", name.value.text, r.bucket),
			Hint: "one of them is the Space's name: put it into BucketName"})
	}
	if location := c.effective("BucketLocation"); location == nil || location.value.text == "" {
		if location == nil {
			r.missing = append(r.missing, "BucketLocation")
		}
		r.values["BucketLocation"] = quote(r.region)
		c.say(Converted, s.line, "BucketLocation", fmt.Sprintf("is missing: %q, the region", r.region))
	}
	if insecure := c.effective("Insecure"); insecure != nil && insecure.value.text == "true" {
		r.values["Insecure"] = "false"
		c.note(Note{Severity: Warning, Kind: Dropped, Line: insecure.line, Key: "Insecure", Text: "made http URLs, and Spaces speaks https: it is off"})
	}
	return r
}

// repairCache edits a cache of today's form.
func (c *conversion) repairCache(r cacheRepair) {
	doc := c.runner.doc
	for _, key := range cacheKeys {
		if s := c.get("cache.s3." + strings.ToLower(key)); s != nil && r.values[key] != "" {
			c.edits.replace(valueSpan(doc, *s), r.values[key])
		}
	}
	address := c.get("cache.s3.serveraddress")
	for _, key := range r.missing {
		line := sibling(*address, key) + " = " + r.values[key]
		if address.inline {
			end := address.pairs[address.pair].end
			c.edits.replace(span{end, end}, ", "+line)
			continue
		}
		at := doc.lines(address.item.span)
		text := doc.indent(address.item.start) + line + doc.eol
		if at.end == len(doc.text) && !strings.HasSuffix(doc.text, "\n") {
			text = doc.eol + strings.TrimSuffix(text, doc.eol)
		}
		c.edits.replace(span{at.end, at.end}, text)
	}
}

// valueSpan is where a setting's value stands.
func valueSpan(doc *document, s setting) span {
	whole := s.item.span
	if s.inline {
		whole = s.pairs[s.pair].span
	}
	if s.value.start < whole.start { // of a number or boolean whose place the parser does not tell
		text := doc.text[whole.start:whole.end]
		return span{whole.end - len(strings.TrimLeft(text[strings.LastIndexByte(text, '=')+1:], " \t")), whole.end}
	}
	return s.value.span
}

// sibling is the name of another key of the same table, dotted as its neighbour is.
func sibling(s setting, key string) string {
	names := s.item.key
	if s.inline {
		names = s.pairs[s.pair].key
	}
	return strings.Join(append(slices.Clone(names[:len(names)-1]), key), ".")
}

// moveCache moves the keys of before 12.0 to s3.
func (c *conversion) moveCache(flat []setting, r cacheRepair) {
	for _, s := range flat {
		name := canonical(s.name)
		switch to := cacheNames[strings.ToLower(s.name)]; {
		case to != "":
			c.say(Converted, s.line, name, "cache."+to)
		case c.get("cache.s3."+strings.ToLower(s.name)) != nil:
			c.say(Dropped, s.line, name, "is ignored by the runner since 12.0, and [runners.cache.s3] has its own")
		case c.s3Elsewhere():
			c.note(Note{Kind: Decision, Line: s.line, Key: name, Text: "is ignored by the runner since 12.0, and [runners.cache.s3] has none", Hint: "add it there"})
		case name == "Insecure" && r.values[name] != "": // told already
		default:
			c.say(Converted, s.line, name, "moved to [runners.cache.s3]: the runner ignores it here since 12.0")
		}
	}
	switch {
	case flat[0].inline && c.s3Elsewhere():
		// Both in one inline table, which is not worth taking apart: what the runner
		// ignores stays.
		if c.get("cache.s3.serveraddress") != nil {
			c.repairCache(r)
		}
	case flat[0].inline:
		c.moveInline(flat, r)
	case len(flat[0].item.key) > 1 || c.s3Elsewhere():
		c.moveDotted(flat, r)
	default:
		c.moveBlock(flat, r)
	}
}

// canonical is a key of the cache as the documentation spells it.
func canonical(name string) string {
	for _, key := range append([]string{"S3CachePath", "CacheShared"}, cacheKeys...) {
		if strings.EqualFold(key, name) {
			return key
		}
	}
	return name
}

// s3Elsewhere tells that the cache has an s3 table already.
func (c *conversion) s3Elsewhere() bool { return c.has("cache.s3") }

// newPair is a flat key as it stands in s3: its value as it was written, or repaired.
func (c *conversion) newPair(s setting, r cacheRepair) string {
	name := canonical(s.name)
	at := valueSpan(c.runner.doc, s)
	value := c.runner.doc.text[at.start:at.end]
	if r.values[name] != "" {
		value = r.values[name]
	}
	return name + " = " + value
}

// moveBlock puts the header of s3 in front of the first flat key of [runners.cache].
// What of the cache comes after them moves up, so that all others stay where they are.
func (c *conversion) moveBlock(flat []setting, r cacheRepair) {
	doc := c.runner.doc
	block := &doc.blocks[flat[0].block]
	indent, unit := doc.indent(flat[0].item.start), c.unit(block)
	isFlat := func(it *item) bool {
		return slices.ContainsFunc(flat, func(s setting) bool { return s.item == it && cacheNames[strings.ToLower(s.name)] == "" })
	}
	var head strings.Builder
	last, seen := span{}, false
	for i := range block.items {
		it := &block.items[i]
		switch {
		case it.key == nil:
			if seen && i+1 < len(block.items) && c.flatFollows(block.items[i:], isFlat) {
				c.edits.replace(span{it.start, it.start}, unit)
			}
		case isFlat(it):
			if !seen {
				seen = true
				last = doc.lines(it.span)
				last.end = last.start // where the header goes
			}
		case seen: // Type, Path or Shared, after a flat key
			line := doc.lines(it.span)
			text := doc.text[line.start:line.end]
			if !strings.HasSuffix(text, "\n") {
				text += doc.eol
			}
			head.WriteString(c.renameCache(it, text))
			c.edits.replace(line, "")
		default:
			c.edits.replace(it.span, c.renameCache(it, doc.text[it.start:it.end]))
		}
	}
	if c.text("cache.type") == "" {
		head.WriteString(indent + `Type = "s3"` + doc.eol)
		c.note(Note{Severity: Warning, Kind: Converted, Line: flat[0].line, Text: `[runners.cache] has no Type, without which there is no cache: Type = "s3"`})
	}
	if seen {
		head.WriteString(indent + "[" + c.runner.name + "." + c.tableName("cache") + ".s3]" + doc.eol)
		for _, key := range r.missing {
			head.WriteString(indent + unit + key + " = " + r.values[key] + doc.eol)
		}
		c.edits.replace(last, head.String())
	}
	for _, s := range flat {
		switch {
		case cacheNames[strings.ToLower(s.name)] != "":
		case canonical(s.name) == "Insecure" && r.values["Insecure"] != "":
			c.edits.replace(span{s.item.start, s.item.start}, unit+"# ")
		default:
			c.edits.replace(s.item.span, unit+c.newPair(s, r))
		}
	}
}

// flatFollows tells that a flat key comes after a comment.
func (c *conversion) flatFollows(items []item, isFlat func(*item) bool) bool {
	for i := range items {
		if items[i].key != nil && isFlat(&items[i]) {
			return true
		}
	}
	return false
}

// renameCache gives a line of [runners.cache] the key's name of today.
func (c *conversion) renameCache(it *item, line string) string {
	if to := cacheNames[strings.ToLower(it.key[0])]; to != "" {
		return strings.Replace(line, it.key[0], to, 1)
	}
	return line
}

// tableName is the name of a table of the runner as its header spells it.
func (c *conversion) tableName(table string) string {
	for _, b := range c.blocks {
		if name := c.runner.doc.blocks[b].name; strings.EqualFold(name, c.runner.name+"."+table) {
			return name[len(c.runner.name)+1:]
		}
	}
	return table
}

// moveDotted renames keys in their place. Where there is an s3 already, what it has
// counts, and the flat key becomes a comment.
func (c *conversion) moveDotted(flat []setting, r cacheRepair) {
	for _, s := range flat {
		names := s.item.key
		switch to := cacheNames[strings.ToLower(s.name)]; {
		case to != "":
			at := valueSpan(c.runner.doc, s)
			c.edits.replace(s.item.span, sibling(s, to)+" = "+c.runner.doc.text[at.start:at.end])
		case c.s3Elsewhere():
			text := c.redactPair(*s.item)
			c.edits.replace(s.item.span, c.comment(text, c.runner.doc.indent(s.item.start)))
		case canonical(s.name) == "Insecure" && r.values["Insecure"] != "":
			c.commentOut(s.item)
		default:
			prefix := strings.Join(names[:len(names)-1], ".")
			c.edits.replace(s.item.span, prefix+".s3."+c.newPair(s, r))
		}
	}
	if c.s3Elsewhere() {
		r.missing = slices.DeleteFunc(r.missing, func(string) bool { return c.get("cache.s3.serveraddress") == nil })
		if c.get("cache.s3.serveraddress") != nil {
			c.repairCache(r)
		}
		return
	}
	doc := c.runner.doc
	for _, key := range r.missing {
		it := flat[0].item
		at := doc.lines(it.span)
		names := it.key[:len(it.key)-1]
		c.edits.replace(span{at.start, at.start}, doc.indent(it.start)+strings.Join(names, ".")+".s3."+key+" = "+r.values[key]+doc.eol)
	}
}

// moveInline writes an inline cache anew.
func (c *conversion) moveInline(flat []setting, r cacheRepair) {
	var pairs, s3 []string
	var lost, moved []setting
	for _, s := range flat {
		moved = append(moved, s)
		switch to := cacheNames[strings.ToLower(s.name)]; {
		case to != "":
			at := valueSpan(c.runner.doc, s)
			pairs = append(pairs, to+" = "+c.runner.doc.text[at.start:at.end])
		case canonical(s.name) == "Insecure" && r.values["Insecure"] != "":
			lost = append(lost, s)
		default:
			s3 = append(s3, c.newPair(s, r))
		}
	}
	for _, key := range r.missing {
		s3 = append(s3, key+" = "+r.values[key])
	}
	if c.text("cache.type") == "" {
		pairs = append(pairs, `Type = "s3"`)
	}
	if len(s3) > 0 {
		pairs = append(pairs, "s3 = { "+strings.Join(s3, ", ")+" }")
	}
	c.rewriteMoved(flat[0].item, lost, moved, pairs)
}

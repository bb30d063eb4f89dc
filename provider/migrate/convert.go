package migrate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// conversion is the migration of one runner.
type conversion struct {
	*migration
	*runner
	olds  map[string]*old  // of [runners.machine], by path
	heads map[int][]string // the comments that belong to the header of a block that is cut

	group       string // plugin_config.name
	most        int    // machines at once
	highestIdle int    // of all policies

	autoscaler, storage, plugin, connector section
	policies                               []section
}

func newConversion(m *migration, r *runner) *conversion {
	c := &conversion{migration: m, runner: r, olds: map[string]*old{}}
	head := func(s *section, depth int, name string) {
		s.depth, s.header = depth, "["+r.name+".autoscaler"+name+"]"
	}
	head(&c.autoscaler, 0, "")
	head(&c.storage, 1, ".state_storage")
	head(&c.plugin, 1, ".plugin_config")
	head(&c.connector, 1, ".connector_config")
	return c
}

// convert makes the new sections and the edits that put them in.
func (c *conversion) convert() {
	for _, twice := range c.twice {
		c.fail(twice.line, twice.name, "is given twice, in different case: which one counts is chance", "remove one of them")
	}
	switch {
	case c.get("machine.machinename") == nil && c.get("machine.machineoptions") == nil && c.get("machine.idlecount") == nil:
		c.fail(c.line(), "executor", "is "+c.text("executor")+", and the runner has no [runners.machine]", "the runner cannot run as it is: remove it, or give it the section")
		return
	case c.has("autoscaler"):
		c.fail(c.line(), "executor", "is "+c.text("executor")+", and the runner has [runners.autoscaler] already", "remove the one that you do not use")
		return
	}
	c.collect()
	c.executor()
	c.name()
	idle := c.readIdle()
	c.limits(idle)
	c.droplets()
	c.writeIdle(idle)
	c.leftovers()
	c.docker()
	c.cache()
	c.place()
}

// has reports whether the runner has a table, or something in it.
func (c *conversion) has(table string) bool {
	for _, b := range c.blocks {
		if below(c.runner.doc.blocks[b].path, c.at(table)) {
			return true
		}
	}
	for _, s := range c.settings {
		if below(s.path, table) {
			return true
		}
	}
	return false
}

// collect takes down what [runners.machine] has, with its comments: what is cut out
// must say them again.
func (c *conversion) collect() {
	doc := c.runner.doc
	root := c.at("machine")
	before := map[*item][]string{}
	c.heads = map[int][]string{}
	for n, b := range c.blocks {
		block := &doc.blocks[b]
		if !below(block.path, root) {
			continue
		}
		var pending []string
		for i := range block.items {
			it := &block.items[i]
			if it.key == nil {
				pending = append(pending, c.redact(it.comment))
				continue
			}
			before[it], pending = pending, nil
		}
		if n+1 < len(c.blocks) && c.blocks[n+1] == b+1 && below(doc.blocks[b+1].path, root) {
			c.heads[b+1] = pending // they stand above the next header
		}
		if block.path == root {
			c.autoscaler.after = c.redact(block.after)
		}
	}
	seen := map[*item]bool{}
	for _, s := range c.settings {
		if !below(s.path, "machine") {
			continue
		}
		o := &old{name: s.name, line: s.line}
		c.olds[s.path] = o
		if s.inline {
			o.text = c.redact(c.redactPair(s.pairs[s.pair]))
			if o.whole = s.item.path != root && !below(s.item.path, root+".autoscaling"); o.whole {
				o.text = c.redact(doc.text[s.item.start:s.item.end])
			}
			if !seen[s.item] {
				seen[s.item] = true
				c.autoscaler.lines = append(c.autoscaler.lines, before[s.item]...)
				for _, comment := range append(comments(s.item.value), s.item.comment) {
					if comment != "" {
						c.autoscaler.lines = append(c.autoscaler.lines, c.redact(comment))
					}
				}
			}
			continue
		}
		o.text = c.redact(doc.text[s.item.start:s.item.end])
		o.before, o.after = before[s.item], c.redact(s.item.comment)
		if s.path != "machine.machineoptions" && s.path != "machine.machineoptionswithname" {
			for _, comment := range comments(s.value) {
				o.before = append(o.before, c.redact(comment))
			}
		} else {
			for _, comment := range s.value.comments {
				o.before = append(o.before, c.redact(comment))
			}
		}
	}
}

func (c *conversion) redact(text string) string { return redacted(text, c.migration.redact) }

// machine returns a setting of [runners.machine] and its old text; nil when it has none.
func (c *conversion) machine(key string) (*setting, *old) {
	path := "machine." + strings.ToLower(key)
	return c.get(path), c.olds[path]
}

// lineOf is the line of a setting, or of the runner.
func (c *conversion) lineOf(path string) int {
	if s := c.get(path); s != nil {
		return s.line
	}
	return c.line()
}

// note files a note about this runner.
func (c *conversion) note(n Note) {
	n.Runner = c.title()
	if n.Severity == "" {
		n.Severity = map[Kind]Severity{Converted: Info, Approximated: Warning, Dropped: Info, Decision: Warning}[n.Kind]
	}
	n.Text, n.Hint = c.redact(n.Text), c.redact(n.Hint)
	c.notes = append(c.notes, n)
}

func (c *conversion) say(kind Kind, line int, key, text string) {
	c.note(Note{Kind: kind, Line: line, Key: key, Text: text})
}

func (c *conversion) fail(line int, key, text, hint string) {
	c.note(Note{Severity: Error, Line: line, Key: key, Text: text, Hint: hint})
}

// number reads a whole number that is not negative, 0 when there is none. A negative
// one means none to docker+machine.
func (c *conversion) number(path, key string) int {
	s := c.get(path)
	if s == nil {
		return 0
	}
	n, err := strconv.ParseInt(s.value.text, 0, 32)
	if s.value.kind != unstable.Integer || err != nil {
		c.fail(s.line, key, "must be a whole number of at most 2147483647", "write it without quotes and fraction")
		return 0
	}
	return int(max(n, 0))
}

// string reads a string.
func (c *conversion) string(path, key string) string {
	s := c.get(path)
	if s == nil {
		return ""
	}
	if s.value.kind != unstable.String {
		c.fail(s.line, key, "must be a string: the runner refuses the file", "put it in quotes")
		return ""
	}
	return s.value.text
}

// strings reads a list of strings.
func (c *conversion) strings(path, key string) []element {
	s := c.get(path)
	if s == nil {
		return nil
	}
	for _, e := range s.value.elements {
		if e.kind != unstable.String {
			c.fail(c.runner.doc.line(e.start), key, "must be a list of strings: the runner refuses the file", "")
			return nil
		}
	}
	if s.value.kind != unstable.Array {
		c.fail(s.line, key, "must be a list of strings: the runner refuses the file", "put it in brackets")
		return nil
	}
	return s.value.elements
}

// executor changes the executor in its place, and begins the new sections.
func (c *conversion) executor() {
	e := c.get("executor")
	c.edits.replace(e.value.span, `"docker-autoscaler"`)
	c.say(Converted, e.line, "executor", `docker-autoscaler in place of `+e.value.text)
	if e.value.text == "docker-ssh+machine" {
		c.note(Note{Severity: Warning, Kind: Approximated, Line: e.line, Key: "executor",
			Text: "docker-ssh+machine logged in to a job's container by SSH; docker-autoscaler runs commands in it", Hint: "the image needs a shell; [runners.ssh] is not used any more"})
	}
	driver, o := c.machine("MachineDriver")
	c.autoscaler.set("plugin", quote("fleeting-plugin-digitalocean"))
	if driver != nil {
		if len(o.before) > 0 || o.after != "" {
			c.autoscaler.keep(o)
		}
		c.say(Converted, driver.line, "MachineDriver", `plugin = "fleeting-plugin-digitalocean"`)
	}
	c.autoscaler.set("capacity_per_instance", "1")
}

// seemsDigitalOcean tells that a runner without a driver means digitalocean.
func (c *conversion) seemsDigitalOcean(driver string) bool {
	if driver != "" {
		return false
	}
	for _, e := range c.strings("machine.machineoptions", "MachineOptions") {
		if strings.HasPrefix(e.text, "digitalocean-") {
			return true
		}
	}
	return false
}

// name makes the group's name of MachineName.
func (c *conversion) name() {
	s, o := c.machine("MachineName")
	template := c.string("machine.machinename", "MachineName")
	wanted := strings.Trim(strings.ReplaceAll(template, "%s", ""), "-")
	wanted = strings.ReplaceAll(wanted, "--", "-")
	group := config.SafeName(wanted)
	switch {
	case group == "" && config.SafeName(c.text("name")) != "":
		group = config.SafeName(c.text("name"))
	case group == "":
		group = "runner-" + strconv.Itoa(c.index+1)
	}
	c.group = c.uniqueName(group)
	line := c.line()
	if s != nil {
		line = s.line
	}
	kind, text := Converted, fmt.Sprintf("name = %q: Droplets are called %s-xxxxxxxx", c.group, c.group)
	switch {
	case wanted == "":
		kind, text = Approximated, text+"; the old name has nothing that one could be made of"
	case group != wanted:
		kind, text = Approximated, text+fmt.Sprintf("; %q is no name, which has 1 to %d characters of a-z, 0-9 and -", wanted, config.MaxName)
	}
	if c.group != group {
		kind, text = Approximated, text+fmt.Sprintf("; another runner has %q, and two of one name would take each other's Droplets", group)
	}
	c.say(kind, line, "MachineName", text)
	c.plugin.set("name", quote(c.group), o)
}

// uniqueName returns a name that no other group of the file has.
func (m *migration) uniqueName(wanted string) string {
	name := wanted
	for n := 2; m.names[name]; n++ {
		suffix := "-" + strconv.Itoa(n)
		name = wanted[:min(len(wanted), config.MaxName-len(suffix))] + suffix
	}
	m.names[name] = true
	return name
}

// takeNames notes the groups that the file has already.
func (m *migration) takeNames() {
	for _, r := range m.runners {
		if name := r.text("autoscaler.plugin_config.name"); name != "" {
			m.names[name] = true
		}
	}
}

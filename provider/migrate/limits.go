package migrate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDroplets is the plugin's bound of max_instances and max_creating.
const maxDroplets = 100_000

// limits makes the keys of [runners.autoscaler] and their like in plugin_config.
func (c *conversion) limits(all []idle) {
	for _, i := range all {
		if !i.offPeak && !i.never {
			c.highestIdle = max(c.highestIdle, i.count)
		}
	}
	a := &c.autoscaler
	if s, o := c.machine("MaxBuilds"); s != nil {
		n := c.number("machine.maxbuilds", "MaxBuilds")
		if n > 0 {
			a.set("max_use_count", strconv.Itoa(n), o)
			c.say(Converted, s.line, "MaxBuilds", fmt.Sprintf("max_use_count = %d", n))
		} else {
			a.keep(o)
			c.say(Converted, s.line, "MaxBuilds", "no limit, which is max_use_count's default")
		}
	}
	c.limit()
	a.set("max_instances", strconv.Itoa(c.most))
	a.set("update_interval", `"30s"`)
	a.set("update_interval_when_expecting", `"2s"`)
	c.shutdown()
	c.storage.set("enabled", "true")
	c.storage.set("dir", quote(c.inState("taskscaler")))
}

// inState is a path in the directory of what outlives a restart. Slashes do on Windows
// too.
func (c *conversion) inState(name string) string {
	return strings.TrimSuffix(c.options.StateDir, "/") + "/" + name
}

// limit makes max_instances, the most machines at once.
func (c *conversion) limit() {
	concurrent := c.concurrent()
	limit := c.number("limit", "limit")
	line := c.lineOf("limit")
	switch {
	case limit == 0:
		c.most = concurrent + c.highestIdle
		c.note(Note{Severity: Warning, Kind: Approximated, Line: line, Key: "limit",
			Text: fmt.Sprintf("is not set, or 0: max_instances = %d, for concurrent = %d and %d idle machines", c.most, concurrent, c.highestIdle),
			Hint: "set it to what you are willing to pay for"})
	case limit > concurrent:
		c.most = limit
		c.note(Note{Severity: Warning, Kind: Converted, Line: line, Key: "limit",
			Text: fmt.Sprintf("max_instances = %d, but concurrent = %d: no more than that many jobs run at once", limit, concurrent),
			Hint: fmt.Sprintf("raise concurrent to %d, or lower limit and max_instances", limit)})
	default:
		c.most = limit
		c.say(Converted, line, "limit", fmt.Sprintf("stays, and max_instances = %d", limit))
	}
	if c.most > maxDroplets {
		c.most = maxDroplets
		c.note(Note{Kind: Approximated, Line: line, Key: "limit", Text: fmt.Sprintf("max_instances = %d, the plugin's most", c.most)})
	}
}

// concurrent is the most jobs of the whole process.
func (m *migration) concurrent() int {
	for _, it := range m.doc.blocks[0].items {
		if it.path == "concurrent" && it.value.kind == unstable.Integer {
			if n, err := strconv.ParseInt(it.value.text, 0, 32); err == nil && n > 0 {
				return int(n)
			}
		}
	}
	return 1 // the runner's default
}

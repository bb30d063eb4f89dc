package migrate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// idle is what docker+machine keeps idle: the root of [runners.machine], or one
// [[runners.machine.autoscaling]].
type idle struct {
	table    string // "machine", or "machine.autoscaling.0"
	periods  []string
	timezone string
	count    int
	seconds  int
	factor   float64
	least    int // IdleCountMin

	header         *block // of a section of its own
	comments       []string
	never, offPeak bool // it is no policy; offPeak: it was one
}

// readIdle reads the root and the sections, in the order in which they count: the
// last one that matches wins, in both worlds.
func (c *conversion) readIdle() []idle {
	all := []idle{c.readOne("machine")}
	all[0].periods = []string{"* * * * *"}
	if off, ok := c.readOffPeak(); ok {
		all = append(all, off)
	}
	for n := 0; c.has("machine.autoscaling." + strconv.Itoa(n)); n++ {
		i := c.readOne("machine.autoscaling." + strconv.Itoa(n))
		c.readPeriods(&i)
		all = append(all, i)
	}
	return all
}

func (c *conversion) readOne(table string) idle {
	i := idle{
		table:   table,
		count:   c.number(table+".idlecount", "IdleCount"),
		seconds: c.number(table+".idletime", "IdleTime"),
		least:   c.number(table+".idlecountmin", "IdleCountMin"),
	}
	for _, b := range c.blocks {
		if block := &c.runner.doc.blocks[b]; block.path == c.at(table) {
			i.header = block
			i.comments = c.heads[b]
			delete(c.heads, b)
		}
	}
	if s := c.get(table + ".idlescalefactor"); s != nil {
		f, err := strconv.ParseFloat(strings.ReplaceAll(s.value.text, "_", ""), 64)
		number := s.value.kind == unstable.Float || s.value.kind == unstable.Integer
		if !number || err != nil || math.IsNaN(f) || f > 1000 {
			c.fail(s.line, "IdleScaleFactor", "must be a number of at most 1000, such as 0.5", "")
			return i
		}
		i.factor = max(f, 0)
	}
	return i
}

// readPeriods reads when a section counts.
func (c *conversion) readPeriods(i *idle) {
	at := c.lineOfTable(*i)
	elements := c.strings(i.table+".periods", "Periods")
	if len(elements) == 0 {
		i.never = true
		c.note(Note{Severity: Warning, Kind: Dropped, Line: at, Key: "Periods",
			Text: "has none, so that docker+machine never used this section; a policy without periods would always count",
			Hint: "remove the comment that it is now, or make a policy of it"})
		return
	}
	for _, e := range elements {
		line := c.runner.doc.line(e.start)
		news, unsure, err := periods(e.text)
		if err != nil {
			c.fail(line, "Periods", fmt.Sprintf("%q: %v", e.text, err), "write it in other words, or take the section out and make its policy by hand")
			continue
		}
		kind, severity, text := Converted, Info, fmt.Sprintf("%q is %s", e.text, quoteAll(news))
		if unsure != "" {
			kind, severity, text = Approximated, Warning, fmt.Sprintf("%q %s: %s", e.text, unsure, quoteAll(news))
		}
		c.note(Note{Severity: severity, Kind: kind, Line: line, Key: "Periods", Text: text})
		i.periods = append(i.periods, news...)
	}
	s := c.get(i.table + ".timezone")
	i.timezone = c.zone(s, c.string(i.table+".timezone", "Timezone"))
}

// zone returns a time zone as the autoscaler takes it.
func (c *conversion) zone(s *setting, name string) string {
	switch {
	case s == nil:
		return ""
	case name == "" || strings.EqualFold(name, "local"):
		c.say(Dropped, s.line, "Timezone", fmt.Sprintf("%q is the default: the time zone of the runner's host", name))
		return ""
	}
	if _, err := time.LoadLocation(name); err != nil {
		c.note(Note{Severity: Warning, Kind: Converted, Line: s.line, Key: "Timezone", Text: fmt.Sprintf("timezone = %q, which this host does not know", name),
			Hint: "the runner does not start with a time zone that it does not know; mend it, or install tzdata"})
		return name
	}
	c.say(Converted, s.line, "Timezone", fmt.Sprintf("timezone = %q", name))
	return name
}

// readOffPeak reads what the runner has ignored since 14.0.
func (c *conversion) readOffPeak() (i idle, ok bool) {
	i = idle{table: "machine.offpeak", offPeak: true,
		count:   c.number("machine.offpeakidlecount", "OffPeakIdleCount"),
		seconds: c.number("machine.offpeakidletime", "OffPeakIdleTime")}
	for _, key := range []string{"OffPeakPeriods", "OffPeakTimezone", "OffPeakIdleCount", "OffPeakIdleTime"} {
		ok = ok || c.get("machine."+strings.ToLower(key)) != nil
	}
	i.timezone = c.string("machine.offpeaktimezone", "OffPeakTimezone")
	if strings.EqualFold(i.timezone, "local") {
		i.timezone = ""
	}
	for _, e := range c.strings("machine.offpeakperiods", "OffPeakPeriods") {
		news, _, err := periods(e.text)
		if err != nil {
			i.periods = nil
			break
		}
		i.periods = append(i.periods, news...)
	}
	return i, ok
}

// lineOfTable is where an idle begins.
func (c *conversion) lineOfTable(i idle) int {
	if i.header != nil {
		return c.runner.doc.line(i.header.header.start)
	}
	for _, s := range c.settings {
		if below(s.path, i.table) {
			return s.line
		}
	}
	return c.line()
}

// after is the comment on the header's line.
func (i idle) after() string {
	if i.header == nil {
		return ""
	}
	return i.header.after
}

// floor is how many machines are idle when nothing runs.
func (i idle) floor() int {
	if i.factor == 0 {
		return i.count
	}
	// docker+machine forces at least one, lest it never take a job.
	return min(max(i.least, 1), i.count)
}

// total is the number of machines, busy and idle, up to which scale_factor may grow:
// where a proportion F of the busy ones comes to IdleCount. So no more than IdleCount
// are ever idle.
func (i idle) total(most int) int {
	t := math.Ceil(float64(i.count)/i.factor) + float64(i.count)
	return int(min(t, float64(most)))
}

// writeIdle makes the policies.
func (c *conversion) writeIdle(all []idle) {
	for _, i := range all {
		switch {
		case i.offPeak:
			c.proposeOffPeak(i)
		case i.never:
			c.keepSection(i)
		default:
			c.policies = append(c.policies, c.policy(i))
		}
	}
}

// policy makes one policy, with a note for each key that it was made of.
func (c *conversion) policy(i idle) section {
	p := section{depth: 1, header: "[[" + c.runner.name + ".autoscaler.policy]]", above: i.comments}
	if i.table != "machine" {
		p.after = c.redact(i.after())
	}
	of := func(key string) *old { return c.olds[i.table+"."+strings.ToLower(key)] }
	line := func(key string) int {
		if o := of(key); o != nil {
			return o.line
		}
		return c.lineOfTable(i)
	}

	p.set("periods", quoteAll(i.periods), of("Periods"))
	if i.timezone != "" {
		p.set("timezone", quote(i.timezone), of("Timezone"))
	} else if o := of("Timezone"); o != nil {
		p.keep(o)
	}

	if i.factor == 0 || i.count == 0 {
		p.set("idle_count", strconv.Itoa(i.count), of("IdleCount"))
		if of("IdleCount") != nil {
			n := Note{Kind: Converted, Line: line("IdleCount"), Key: "IdleCount", Text: fmt.Sprintf("idle_count = %d", i.count)}
			if i.count > 0 && i.table == "machine" {
				n.Hint = "a job is taken only when a Droplet is idle, as before; preemptive_mode = false in the policy takes it at once, and lets it wait for a new one"
			}
			c.note(n)
		}
	} else {
		p.set("idle_count", strconv.Itoa(i.floor()), of("IdleCount"), of("IdleCountMin"))
		c.note(Note{Kind: Approximated, Line: line("IdleCount"), Key: "IdleCount",
			Text: fmt.Sprintf("was the most idle machines beside IdleScaleFactor, for which there is no key; scale_factor_limit = %d keeps to it, and idle_count = %d is the least",
				i.total(c.most), i.floor())})
		if of("IdleCountMin") != nil {
			c.say(Converted, line("IdleCountMin"), "IdleCountMin", fmt.Sprintf("idle_count = %d", i.floor()))
		}
	}

	seconds := max(i.seconds, 1)
	p.set("idle_time", quote(strconv.Itoa(seconds)+"s"), of("IdleTime"))
	if i.seconds > 0 {
		c.say(Converted, line("IdleTime"), "IdleTime", fmt.Sprintf(`idle_time = "%ds"`, seconds))
	} else {
		c.note(Note{Kind: Approximated, Line: line("IdleTime"), Key: "IdleTime", Text: `is not set, or 0: idle_time = "1s", the least that the runner takes`,
			Hint: "a Droplet is billed for at least a minute; some minutes of idle_time cost little and spare boots"})
	}

	if o := of("IdleScaleFactor"); o != nil {
		if i.factor > 0 && i.count > 0 {
			p.set("scale_factor", float(1+i.factor), o)
			p.set("scale_factor_limit", strconv.Itoa(i.total(c.most)))
			text := fmt.Sprintf("scale_factor = %s of all machines, rounded up", float(1+i.factor))
			if full := i.total(math.MaxInt32); full < c.most { // else limit caps both
				text += fmt.Sprintf("; with more than %d jobs fewer machines are idle than before", full-i.count)
			}
			c.say(Approximated, o.line, "IdleScaleFactor", text)
		} else {
			p.keep(o)
			c.say(Dropped, o.line, "IdleScaleFactor", "has no effect: it, or IdleCount, is 0")
		}
	}
	if o := of("IdleCountMin"); o != nil && !o.used {
		p.keep(o)
		c.say(Dropped, o.line, "IdleCountMin", "has no effect without IdleScaleFactor and IdleCount")
	}
	return p
}

// float writes a float of TOML: some releases of the runner take nothing else for
// scale_factor.
func float(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// keepSection keeps a section that was never used, as a comment.
func (c *conversion) keepSection(i idle) {
	s := &c.autoscaler
	s.lines = append(s.lines, i.comments...)
	s.say("[[" + c.runner.name + ".machine.autoscaling]]" + strings.TrimRight(" "+c.redact(i.after()), " "))
	for _, set := range c.settings {
		if o := c.olds[set.path]; o != nil && below(set.path, i.table) && !o.used {
			s.keep(o)
		}
	}
}

// proposeOffPeak keeps the keys, with the policy that they meant.
func (c *conversion) proposeOffPeak(i idle) {
	p := &c.policies[len(c.policies)-1]
	keys := []string{"OffPeakPeriods", "OffPeakTimezone", "OffPeakIdleCount", "OffPeakIdleTime"}
	used := slices.ContainsFunc(keys, func(key string) bool {
		s := c.get("machine." + strings.ToLower(key))
		return s != nil && (len(s.value.elements) > 0 || s.value.text != "" && s.value.text != "0")
	})
	kind := Decision
	text := "ignored by the runner since 14.0; the policy that it meant is in a comment"
	hint := "take the comment's # away if you want it back"
	switch {
	case !used:
		kind, text, hint = Dropped, "empty, and ignored by the runner since 14.0", ""
	case len(i.periods) == 0:
		text, hint = "ignored by the runner since 14.0; what it meant cannot be said as a policy", "write one by hand, or delete the comment"
	}
	for _, key := range keys {
		o := c.olds["machine."+strings.ToLower(key)]
		if o == nil {
			continue
		}
		p.keep(o)
		c.note(Note{Kind: kind, Line: o.line, Key: key, Text: text, Hint: hint})
		if used {
			text, hint = "goes with the other off-peak keys", ""
		}
	}
	if !used || len(i.periods) == 0 {
		return
	}
	p.say("[[" + c.runner.name + ".autoscaler.policy]]")
	p.say("  periods = " + quoteAll(i.periods))
	if i.timezone != "" {
		p.say("  timezone = " + quote(i.timezone))
	}
	p.say("  idle_count = " + strconv.Itoa(i.count))
	p.say("  idle_time = " + quote(strconv.Itoa(max(i.seconds, 1))+"s"))
}

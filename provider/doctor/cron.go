package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// period is a policy's period as the runner reads it. No cron library does: in the runner a step counts from 0, not from the
// range's beginning, a range that wraps, such as 22-6, matches everything, and day of month and day of week must both match.
// The runner's parser is internal to its taskscaler module. (TestPeriodsAreTheRunners)
type period struct {
	loc    *time.Location
	fields [5]uint64 // bit n is set if n matches: minute, hour, day, month, weekday
	dated  bool      // it depends on the day of the month, or the month
	wraps  string    // a range that wraps, "" = none
}

// fields are the five, with their bounds, and the words for their numbers.
var fields = [5]struct {
	name     string
	min, max int
	words    []string
}{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of month", 1, 31, nil},
	{"month", 1, 12, strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
	{"day of week", 0, 7, strings.Fields("sun mon tue wed thu fri sat")},
}

// parsePeriod reads a period. Without a timezone it is in that of the host.
func parsePeriod(text, timezone string) (period, error) {
	p := period{loc: time.Local}
	if timezone != "" {
		loc, err := time.LoadLocation(timezone)
		if err != nil {
			return period{}, fmt.Errorf("timezone %q: this host does not know it", timezone)
		}
		p.loc = loc
	}
	lists := strings.Fields(text)
	if len(lists) != len(fields) {
		return period{}, fmt.Errorf("period %q has %s, not 5: minute, hour, day of month, month, day of week", text, plural(len(lists), "field"))
	}
	for i, list := range lists {
		if err := p.parse(i, list); err != nil {
			return period{}, fmt.Errorf("period %q: %s: %w", text, fields[i].name, err)
		}
	}
	p.dated = lists[2] != "*" || lists[3] != "*"
	if p.fields[4]&(1|1<<7) != 0 { // 7 is Sunday too
		p.fields[4] |= 1 | 1<<7
	}
	return p, nil
}

// parse reads the list of a field, such as 1,5-9,*/15.
func (p *period) parse(field int, list string) error {
	f := fields[field]
	items := strings.Split(list, ",")
	if i := slices.Index(items, "*"); i >= 0 && slices.Contains(items[i+1:], "*") {
		return fmt.Errorf("%q has * twice", list)
	}
	for _, item := range items {
		text, step, stepped := strings.Cut(item, "/")
		first, last, ranged := strings.Cut(text, "-")
		if !ranged {
			last = first
		}
		from, to, every := f.min, f.max, 1
		if text != "*" {
			from, to = number(field, first), number(field, last)
		}
		if stepped {
			every = number(field, step)
		}
		if from < 0 || to < 0 || every < 1 {
			return fmt.Errorf("%q is not from %d to %d", item, f.min, f.max)
		}
		if from > to {
			p.wraps, from, to = text, f.min, f.max
		}
		for n := from; n <= to; n++ {
			if n%every == 0 {
				p.fields[field] |= 1 << n
			}
		}
	}
	return nil
}

// number reads a number or a word of a field; -1 = it is neither.
func number(field int, text string) int {
	f := fields[field]
	if i := slices.Index(f.words, strings.ToLower(text)); i >= 0 {
		return f.min + i
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || int(n) < f.min || int(n) > f.max {
		return -1
	}
	return int(n)
}

// contains reports whether a moment is in the period.
func (p period) contains(t time.Time) bool {
	t = t.In(p.loc)
	for i, n := range [5]int{t.Minute(), t.Hour(), t.Day(), int(t.Month()), int(t.Weekday())} {
		if p.fields[i]>>n&1 == 0 {
			return false
		}
	}
	return true
}

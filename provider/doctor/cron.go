package doctor

import (
	"cmp"
	"fmt"
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

// unreadable is a period that cannot be read, and what to write instead.
type unreadable struct{ what, hint string }

// field is one of the five: its name, its bounds, and the words for its numbers.
type field struct {
	name     string
	min, max int
	words    string
}

var fields = [5]field{
	{"minute", 0, 59, ""},
	{"hour", 0, 23, ""},
	{"day of month", 1, 31, ""},
	{"month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"},
	{"day of week", 0, 7, "sun mon tue wed thu fri sat"},
}

// parsePeriod reads a period. Without a timezone it is in that of the host.
func parsePeriod(text, timezone string) (period, *unreadable) {
	const example = `periods = ["* 8-17 * * mon-fri"]`
	p := period{loc: time.Local}
	if timezone != "" {
		loc, err := time.LoadLocation(timezone)
		if err != nil {
			return period{}, &unreadable{fmt.Sprintf("timezone %q: this host does not know it", timezone), `timezone = "Europe/Berlin"`}
		}
		p.loc = loc
	}
	words := strings.Fields(text)
	if len(words) != len(fields) {
		const want = "period %q has %s, not 5: minute, hour, day of month, month, day of week"
		u := &unreadable{fmt.Sprintf(want, text, plural(len(words), "field")), example}
		if len(words) == 7 { // docker+machine's have seconds and a year
			u.hint = fmt.Sprintf("periods = [%q]", strings.Join(words[1:6], " "))
		}
		return period{}, u
	}
	for i, f := range fields {
		set, wraps, err := f.parse(words[i])
		if err != nil {
			return period{}, &unreadable{fmt.Sprintf("period %q: %s: %v", text, f.name, err), example}
		}
		all, _, _ := f.parse("*")
		p.fields[i], p.wraps = set, cmp.Or(p.wraps, wraps)
		p.dated = p.dated || set != all && (i == 2 || i == 3)
	}
	if p.fields[4]&(1|1<<7) != 0 { // 7 is Sunday too
		p.fields[4] |= 1 | 1<<7
	}
	return p, nil
}

// parse reads a list such as 1,5-9,*/15.
func (f field) parse(list string) (set uint64, wraps string, err error) {
	stars := 0
	for item := range strings.SplitSeq(list, ",") {
		text, step, stepped := strings.Cut(item, "/")
		every := 1
		if stepped {
			if every, err = f.number(step); err != nil {
				return 0, "", err
			}
			if every == 0 {
				return 0, "", fmt.Errorf("the step of %q is 0", item)
			}
		} else if text == "*" {
			if stars++; stars > 1 {
				return 0, "", fmt.Errorf("%q has * twice", list)
			}
		}
		from, to := f.min, f.max
		if text != "*" {
			first, last, ranged := strings.Cut(text, "-")
			if !ranged {
				last = first
			}
			if from, err = f.number(first); err != nil {
				return 0, "", err
			}
			if to, err = f.number(last); err != nil {
				return 0, "", err
			}
		}
		if from > to {
			wraps, from, to = text, f.min, f.max
		}
		for n := from; n <= to; n++ {
			if n%every == 0 {
				set |= 1 << n
			}
		}
	}
	return set, wraps, nil
}

func (f field) number(text string) (int, error) {
	for i, word := range strings.Fields(f.words) {
		if strings.EqualFold(text, word) {
			return f.min + i, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", text)
	}
	if int(n) < f.min || int(n) > f.max {
		return 0, fmt.Errorf("%d is not from %d to %d", n, f.min, f.max)
	}
	return int(n), nil
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

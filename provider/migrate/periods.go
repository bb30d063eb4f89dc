package migrate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cronField is one field of a period.
type cronField struct {
	name     string
	min, max int
	last     int      // that * and N/step go up to, where that is not max
	names    []string // of min and its successors, in full; the first three letters will do
}

var cronFields = []cronField{
	{name: "second", max: 59, last: 59},
	{name: "minute", max: 59, last: 59},
	{name: "hour", max: 23, last: 23},
	{name: "day of month", min: 1, max: 31, last: 31},
	{name: "month", min: 1, max: 12, last: 12, names: strings.Fields(
		"january february march april may june july august september october november december")},
	{name: "day of week", max: 7, last: 6, names: strings.Fields("sunday monday tuesday wednesday thursday friday saturday")},
}

// The fields of a period in seven, as docker+machine reads it.
const (
	second = iota
	minute
	hour
	dayOfMonth
	month
	dayOfWeek
	year
)

// periods returns those of the autoscaler, of five fields, that contain the same minutes as one of docker+machine, of seven.
func periods(old string) ([]string, error) {
	fields := strings.Fields(strings.ToLower(old))
	switch {
	case len(fields) != 7:
		return nil, fmt.Errorf("has %d fields, not the 7 from second to year", len(fields))
	case fields[year] != "*":
		return nil, fmt.Errorf("the year is %q, and the autoscaler knows no years", fields[year])
	}
	// A field that is not * restricts the days, even one that has them all.
	both := !strings.Contains("*?", fields[dayOfMonth]) && !strings.Contains("*?", fields[dayOfWeek])
	for i, f := range cronFields {
		var err error
		if fields[i], err = f.convert(fields[i]); err != nil {
			return nil, fmt.Errorf("the %s: %w", f.name, err)
		}
	}
	if fields[second] != "*" {
		return nil, fmt.Errorf("the second is %q, and the autoscaler knows no seconds", fields[second])
	}
	five := func(dom, dow string) string {
		return strings.Join([]string{fields[minute], fields[hour], dom, fields[month], dow}, " ")
	}
	if both { // cron of old takes a day that either names; the autoscaler one that both do
		return []string{five(fields[dayOfMonth], "*"), five("*", fields[dayOfWeek])}, nil
	}
	return []string{five(fields[dayOfMonth], fields[dayOfWeek])}, nil
}

// convert rewrites a field so that the autoscaler reads it as docker+machine did.
func (f cronField) convert(text string) (string, error) {
	if text == "?" {
		return "*", nil // as docker+machine takes it
	}
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		base, step, stepped := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(base, "-")
		var first, last int
		var err error
		switch {
		case base == "*":
			first, last = f.min, f.last
		case ranged:
			if first, err = f.value(from); err == nil {
				last, err = f.value(to)
			}
			if err == nil && first > last {
				err = fmt.Errorf("%q runs backwards: write %s-%d,%d-%s", base, from, f.last, f.min, to)
			}
		default:
			first, err = f.value(base)
			last = first
			if stepped {
				last = f.last
			}
		}
		if err != nil {
			return "", err
		}
		switch by, err := strconv.Atoi(step); {
		case !stepped && base == "*":
			parts = append(parts, "*")
		case !stepped && !ranged:
			parts = append(parts, f.short(base))
		case !stepped && first == f.min && last >= f.last:
			parts = append(parts, "*")
		case !stepped:
			parts = append(parts, f.short(from)+"-"+f.short(to))
		case err != nil || by < 1 || by > 59:
			return "", fmt.Errorf("%q is no step", step)
		case by == 1 && base == "*":
			parts = append(parts, "*")
		default:
			// The autoscaler counts steps from 0, docker+machine from the first value.
			for v := first; v <= last; v += by {
				parts = append(parts, strconv.Itoa(v))
			}
		}
	}
	if slices.Contains(parts, "*") {
		return "*", nil
	}
	return strings.Join(parts, ","), nil
}

// value reads one value, by number or name.
func (f cronField) value(text string) (int, error) {
	for i, name := range f.names {
		if text == name || text == name[:3] {
			return f.min + i, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 8)
	switch {
	case err != nil && strings.ContainsAny(text, "lw#?@"):
		return 0, fmt.Errorf("%q uses L, W, #, ? or @, which the autoscaler does not know", text)
	case err != nil:
		return 0, fmt.Errorf("%q is no %s", text, f.name)
	case int(n) < f.min || int(n) > f.max:
		return 0, fmt.Errorf("%d is not from %d to %d", n, f.min, f.max)
	}
	return int(n), nil
}

// short is a value as the autoscaler spells it.
func (f cronField) short(text string) string {
	if slices.Contains(f.names, text) {
		return text[:3]
	}
	return text
}

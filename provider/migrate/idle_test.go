package migrate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// covers tells what a field of docker+machine's periods covers: as its cron library
// reads it, with steps from the first value.
func covers(t *rapid.T, field string, f cronField) map[int]bool {
	all := map[int]bool{}
	for part := range strings.SplitSeq(field, ",") {
		base, step, _ := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(base, "-")
		first, last := f.min, f.last
		if base != "*" && base != "?" {
			first = number(t, from, f)
			last = first
			if ranged {
				last = number(t, to, f)
			} else if step != "" {
				last = f.last
			}
		}
		by := 1
		if step != "" {
			by, _ = strconv.Atoi(step)
		}
		for v := first; v <= last; v += by {
			all[v] = true
		}
	}
	return all
}

func number(t *rapid.T, text string, f cronField) int {
	v, err := f.value(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// oldContains is docker+machine's: a day counts if either field of days names it, unless
// one of them is * or ?.
func oldContains(t *rapid.T, period string, at time.Time) bool {
	fields := strings.Fields(strings.ToLower(period))
	in := func(i, v int) bool { return covers(t, fields[i], cronFields[i])[v] }
	day, weekday := in(dayOfMonth, at.Day()), in(dayOfWeek, int(at.Weekday())) || at.Weekday() == 0 && in(dayOfWeek, 7)
	free := func(i int) bool { return fields[i] == "*" || fields[i] == "?" }
	days := day && weekday
	if !free(dayOfMonth) && !free(dayOfWeek) {
		days = day || weekday
	}
	return in(minute, at.Minute()) && in(hour, at.Hour()) && in(month, int(at.Month())) && days
}

// newContains is the autoscaler's: all fields must match. There are no steps.
func newContains(t *rapid.T, periods []string, at time.Time) bool {
	for _, period := range periods {
		fields := strings.Fields(period)
		if len(fields) != 5 || strings.ContainsAny(period, "/?") {
			t.Fatalf("%q is no period of the autoscaler", period)
		}
		in := func(i, v int) bool { return covers(t, fields[i-1], cronFields[i])[v] }
		if in(minute, at.Minute()) && in(hour, at.Hour()) && in(dayOfMonth, at.Day()) && in(month, int(at.Month())) &&
			(in(dayOfWeek, int(at.Weekday())) || at.Weekday() == 0 && in(dayOfWeek, 7)) {
			return true
		}
	}
	return false
}

// A period and what it becomes contain the same minutes.
func TestPeriodsMeanTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := func(i int) string {
			f := cronFields[i]
			value := func(least int) string {
				n := rapid.IntRange(least, f.last).Draw(t, f.name)
				if len(f.names) > 0 && rapid.Bool().Draw(t, "named") {
					name := f.names[n-f.min]
					return rapid.SampledFrom([]string{name, name[:3], strings.ToUpper(name[:3])}).Draw(t, "name")
				}
				return strconv.Itoa(n)
			}
			one := func() string {
				switch rapid.IntRange(0, 4).Draw(t, "form") {
				case 0:
					return fmt.Sprintf("*/%d", rapid.IntRange(1, 20).Draw(t, "step"))
				case 1:
					return fmt.Sprintf("%s/%d", value(f.min), rapid.IntRange(1, 20).Draw(t, "step"))
				case 2, 3:
					from := rapid.IntRange(f.min, f.last).Draw(t, "from")
					r := fmt.Sprintf("%d-%s", from, value(from))
					if rapid.Bool().Draw(t, "stepped") {
						r += fmt.Sprintf("/%d", rapid.IntRange(1, 20).Draw(t, "step"))
					}
					return r
				}
				return value(f.min)
			}
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0, 1:
				return "*"
			case 2:
				return one() + "," + one()
			case 3:
				if i == dayOfMonth || i == dayOfWeek {
					return "?"
				}
			}
			return one()
		}
		old := strings.Join([]string{"*", field(minute), field(hour), field(dayOfMonth), field(month), field(dayOfWeek), "*"}, " ")
		news, err := periods(old)
		if err != nil {
			t.Fatalf("%q: %v", old, err)
		}
		for range 50 {
			at := time.Date(2026, 1, 1, 0, rapid.IntRange(0, 2*365*24*60).Draw(t, "minute"), 0, 0, time.UTC)
			if before, after := oldContains(t, old, at), newContains(t, news, at); before != after {
				t.Fatalf("%q contains %s: %t; %q: %t", old, at.Format("Mon Jan 2 15:04"), before, news, after)
			}
		}
	})
}

// What periods are refused, and why.
func TestPeriodsThatHaveNoEqual(t *testing.T) {
	for old, want := range map[string]string{
		"* * * * * * 2027":    `the year is "2027", and the autoscaler knows no years`,
		"30 * * * * * *":      `the second is "30", and the autoscaler knows no seconds`,
		"* * * L * * *":       `the day of month: "l" uses L, W, #, ? or @, which the autoscaler does not know`,
		"* * * * * 5#3 *":     `the day of week: "5#3" uses L, W, #, ? or @, which the autoscaler does not know`,
		"* * 22-6 * * * *":    `the hour: "22-6" runs backwards: write 22-23,0-6`,
		"* * * * * sat-sun *": `the day of week: "sat-sun" runs backwards: write sat-6,0-sun`,
		"* 60 * * * * *":      `the minute: 60 is not from 0 to 59`,
		"* */0 * * * * *":     `the minute: "0" is no step`,
		"* a * * * * *":       `the minute: "a" is no minute`,
		"@daily":              `has 1 fields, not the 7 from second to year`,
		"":                    `has 0 fields, not the 7 from second to year`,
	} {
		if _, err := periods(old); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", old, err, want)
		}
	}
}

// A policy made of IdleScaleFactor keeps as many machines idle as docker+machine did, one more for rounding, as long as
// these are fewer than IdleCount; and never more than IdleCount.
func TestIdleScaleFactorIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := oldIdle{
			IdleCount:       rapid.IntRange(1, 60).Draw(t, "IdleCount"),
			IdleScaleFactor: float64(rapid.IntRange(1, 40).Draw(t, "tenths")) / 10,
			IdleCountMin:    rapid.IntRange(0, 70).Draw(t, "IdleCountMin"),
		}
		p := i.policy(nil, 100_000)
		for busy := range 300 {
			// As in the runner's idle limits.
			old := min(max(int(float64(busy)*i.IdleScaleFactor), max(i.IdleCountMin, 1)), i.IdleCount)
			// As the autoscaler computes what it desires.
			now := max(busy+p.IdleCount, min(int(math.Ceil(p.Factor*float64(busy))), p.Limit)) - busy
			if now > i.IdleCount || now < p.IdleCount || busy <= p.Limit-i.IdleCount && (now < old || now > old+1) {
				t.Fatalf("%+v, %+v: %d idle beside %d busy ones, docker+machine had %d", i, p, now, busy, old)
			}
		}
	})
}

package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/catalog"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func (e *exam) policies() {
	all := e.Runner.Autoscaler.Policy
	e.when(len(all) == 0, Note, "autoscaler", `policy = [{ idle_count = 1, idle_time = "10m", preemptive_mode = false }]`,
		"there is no [[runners.autoscaler.policy]]: every job waits until a Droplet has booted, and an idle one goes after 5 minutes")
	var s schedule
	for i, p := range all {
		key := fmt.Sprintf("autoscaler.policy.%d", i)
		e.when(unset(p.IdleTime), Warning, key+".idle_time", `idle_time = "10m"`,
			"idle_time is %s%s: a Droplet goes as soon as its job ends, and the next job waits for another", p.IdleTime, orUnitless)
		e.when(p.PreemptiveMode == nil, Note, key+".preemptive_mode", "preemptive_mode = false",
			"preemptive_mode is not set, which is true with an idle_count: a long queue grows the group by idle_count at a time")
		periods, err := readPeriods(p)
		e.when(err != nil, Fault, key+".periods", `such as periods = ["* 8-17 * * mon-fri"], timezone = "Europe/Berlin"`,
			"%v: the runner then uses none of the policies", err)
		for _, p := range periods {
			e.when(p.wraps != "", Warning, key+".periods", "write it as two, such as 22-23,0-6 for 22-6",
				"the range %s begins after its end: the runner reads it as everything", p.wraps)
		}
		if err == nil {
			s = append(s, periods)
		}
	}
	if len(s) < len(all) || len(all) == 0 {
		return
	}
	none := 0.0
	none, e.hours = s.walk(e.Host.Now)
	for i, hours := range e.hours {
		e.when(hours == 0, Warning, fmt.Sprintf("autoscaler.policy.%d", i), "put the policy for the rest of the week first",
			"this policy never applies: its periods contain no minute of a year, or a later policy contains all of them and wins")
	}
	e.when(none >= 1, Note, "autoscaler.policy.0", "put a policy without periods first, for the rest of the week",
		"no policy applies for %.0f hours of a week: no Droplet is kept ready then, and an idle one goes after 5 minutes", none)
}

// schedule are the periods of each policy.
type schedule [][]period

// Active returns which policy counts at a moment: the last one whose periods contain it; -1 = none.
func Active(policies []runnerconfig.Policy) (func(time.Time) int, error) {
	var s schedule
	for _, p := range policies {
		periods, err := readPeriods(p)
		if err != nil {
			return nil, fmt.Errorf("%w: the runner then uses none of the policies", err)
		}
		s = append(s, periods)
	}
	return s.active, nil
}

func (s schedule) active(t time.Time) int {
	for i, periods := range slices.Backward(s) {
		if slices.ContainsFunc(periods, func(p period) bool { return p.contains(t) }) {
			return i
		}
	}
	return -1
}

// walk returns in how many hours of an average week none and each applies, by a week from a moment, or a year if a date matters.
func (s schedule) walk(from time.Time) (none float64, applies []float64) {
	minutes := 7 * 24 * 60
	if slices.ContainsFunc(slices.Concat(s...), func(p period) bool { return p.dated }) {
		minutes = 365 * 24 * 60
	}
	applies = make([]float64, len(s))
	hours := 7 * 24 / float64(minutes)
	for n := range minutes {
		if i := s.active(from.Truncate(time.Minute).Add(time.Duration(n) * time.Minute)); i >= 0 {
			applies[i] += hours
		} else {
			none += hours
		}
	}
	return none, applies
}

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
	min, max int
	words    []string
}{
	{0, 59, nil}, {0, 23, nil}, {1, 31, nil},
	{1, 12, strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
	{0, 7, strings.Fields("sun mon tue wed thu fri sat")},
}

// readPeriods reads the periods of a policy. One without any always applies, one without a timezone in that of the host.
func readPeriods(policy runnerconfig.Policy) (all []period, err error) {
	loc := time.Local
	if policy.Timezone != "" {
		if loc, err = time.LoadLocation(policy.Timezone); err != nil {
			return nil, fmt.Errorf("timezone %q: this host does not know it", policy.Timezone)
		}
	}
	if len(policy.Periods) == 0 {
		policy.Periods = []string{"* * * * *"}
	}
	for _, text := range policy.Periods {
		lists := strings.Fields(text)
		if len(lists) != len(fields) {
			return nil, fmt.Errorf("period %q has %d fields, not 5: minute, hour, day of month, month, day of week", text, len(lists))
		}
		p := period{loc: loc, dated: lists[2] != "*" || lists[3] != "*"}
		for i, list := range lists {
			items := strings.Split(list, ",")
			for n, item := range items { // such as 1,5-9,*/15
				if !p.read(i, item) || item == "*" && slices.Contains(items[:n], "*") {
					return nil, fmt.Errorf("period %q: %q is not from %d to %d, or * twice", text, item, fields[i].min, fields[i].max)
				}
			}
		}
		if p.fields[4]&(1|1<<7) != 0 { // 7 is Sunday too
			p.fields[4] |= 1 | 1<<7
		}
		all = append(all, p)
	}
	return all, nil
}

// read adds what an item of field i matches. It reports whether it can be read.
func (p *period) read(i int, item string) bool {
	f := fields[i]
	number := func(text string) int { // -1 = it is none
		if word := slices.Index(f.words, strings.ToLower(text)); word >= 0 {
			return f.min + word
		}
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil || int(n) < f.min || int(n) > f.max {
			return -1
		}
		return int(n)
	}
	text, step, stepped := strings.Cut(item, "/")
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	from, to, every := number(first), number(last), 1
	if text == "*" {
		from, to = f.min, f.max
	}
	if stepped {
		every = number(step)
	}
	if from < 0 || to < 0 || every < 1 {
		return false
	}
	if from > to {
		p.wraps, from, to = text, f.min, f.max
	}
	for n := from; n <= to; n++ {
		if n%every == 0 {
			p.fields[i] |= 1 << n
		}
	}
	return true
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

// costs computes USD without a job, and at most, by today's prices; backups, snapshots and traffic are not in it.
func (e *exam) costs() {
	const hoursPerWeek, hoursPerMonth = 7 * 24, 730
	most, droplets := lower(e.maxInstances(), e.plan.MaxInstances), 0.0
	for i, hours := range e.hours { // without periods that can be read the runner keeps no idle Droplets
		n := (max(0, e.Runner.Autoscaler.Policy[i].IdleCount) + e.capacity() - 1) / e.capacity()
		if most > 0 {
			n = min(n, most)
		}
		droplets += float64(n) * hours / hoursPerWeek
	}
	idle := fmt.Sprintf("idle Droplets: %.3g on average", droplets)
	for _, at := range e.plan.Placements { // idle Droplets are in the first one that is available
		size, listed := e.plan.Sizes[at.Size]
		if !listed || slices.ContainsFunc(e.plan.Unfit, func(u catalog.Unfit) bool { return u.Placement == at }) {
			continue
		}
		idle += fmt.Sprintf(", %.2f USD a month: %s at %g USD an hour; DigitalOcean's price of one for a whole month is %g USD",
			droplets*hoursPerMonth*size.PriceHourly, size.Slug, size.PriceHourly, size.PriceMonthly)
		break
	}
	e.add(OK, "autoscaler.policy.0", "", "%s", idle)
	if size := e.plan.Dearest; size != nil && most > 0 {
		e.add(OK, "autoscaler.max_instances", "", "at most: %.5g USD an hour: %d x %s", float64(most)*size.PriceHourly, most, size.Slug)
	}
}

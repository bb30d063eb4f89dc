package migrate

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
)

// policy is one [[runners.autoscaler.policy]].
type policy struct {
	Periods    []string
	Timezone   string
	IdleCount  int
	IdleTime   int     // seconds
	Factor     float64 // 0 = none
	Limit      int     // of Factor
	Preemptive bool
}

// readPolicies reads the root and the sections, in the order in which they count: the last one that matches wins, in both
// worlds.
func (c *conversion) readPolicies() (all []policy) {
	root := c.runner.Machine.oldIdle
	root.Periods = []string{"* * * * * * *"}
	for i, old := range append([]oldIdle{root}, c.runner.Machine.Autoscaling...) {
		path := "machine"
		if i > 0 {
			path = fmt.Sprintf("machine.autoscaling.%d", i-1)
		}
		if p, ok := c.policy(path, old); ok {
			all = append(all, p)
		}
	}
	return all
}

// policy makes one policy. ok reports whether each of its periods has an equal.
func (c *conversion) policy(path string, old oldIdle) (p policy, ok bool) {
	if len(old.Periods) == 0 {
		c.note(Lost, c.line(path), "Periods", "there are none, so that docker+machine never used this section", "")
		return p, false
	}
	p = old.policy(c.Most)
	for i, old := range old.Periods {
		period, err := newPeriod(old)
		if err != nil {
			c.note(Todo, c.line(fmt.Sprintf("%s.periods.%d", path, i)), "Periods", fmt.Sprintf("%q: %v", old, err),
				"write the policy of this section: there is none")
			return p, false
		}
		p.Periods = append(p.Periods, period)
	}
	if p.Factor > 0 {
		c.note(Check, c.line(path+".idlescalefactor"), "IdleScaleFactor", fmt.Sprintf("scale_factor = %s of all machines, rounded up; "+
			"fewer are idle than before where scale_factor_limit caps them", toTOML(p.Factor)), "")
	}
	return p, true
}

// policy returns the policy without its periods. most is how many machines there can be.
func (i oldIdle) policy(most int) policy {
	p := policy{Timezone: i.Timezone, IdleCount: max(i.IdleCount, 0), IdleTime: max(i.IdleTime, 1)}
	if strings.EqualFold(p.Timezone, "local") {
		p.Timezone = ""
	}
	if f := min(i.IdleScaleFactor, 1000); p.IdleCount > 0 && f > 0 {
		// IdleCount was the most idle machines beside a factor, and at least one was forced, lest no job be ever taken. The
		// autoscaler's factor counts all machines. Its limit is where F of the busy ones comes to IdleCount, so that there
		// never are more idle ones than that.
		p.Factor = 1 + f
		p.Limit = int(min(math.Ceil(float64(p.IdleCount)/f)+float64(p.IdleCount), float64(most)))
		p.IdleCount = min(max(i.IdleCountMin, 1), p.IdleCount)
	}
	p.Preemptive = p.IdleCount > 0
	return p
}

// cronField matches what both read alike: *, numbers and names, in lists and ranges.
var cronField = regexp.MustCompile(`^(\*|(\d+|[a-z]{3,})([,-](\d+|[a-z]{3,}))*)$`)

var longName = regexp.MustCompile(`([a-z]{3})[a-z]+`)

// newPeriod returns the period of the autoscaler, of five fields, that contains the same minutes as one of docker+machine,
// of seven. What the two read differently, or one of them alone, is an error.
func newPeriod(old string) (string, error) {
	f := strings.Fields(strings.ReplaceAll(strings.ToLower(old), "?", "*"))
	if len(f) != 7 {
		return "", errors.New("not the 7 fields from second to year")
	}
	second, day, weekday, year := f[0], f[3], f[5], f[6]
	if second != "*" || year != "*" {
		return "", errors.New("the autoscaler knows neither seconds nor years")
	}
	if day != "*" && weekday != "*" {
		return "", errors.New("docker+machine took a day that either field names, the autoscaler one that both name: write two periods")
	}
	for _, field := range f[1:6] {
		if !cronField.MatchString(field) {
			return "", errors.New("the autoscaler reads " + field + " differently, or not at all: write a list")
		}
	}
	return longName.ReplaceAllString(strings.Join(f[1:6], " "), "$1"), nil
}

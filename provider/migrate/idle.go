package migrate

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// policies are those of the root and the sections, in the order in which they count: the last one that matches wins, in both
// worlds. A section without periods was never used.
func (c *conversion) policies() (all []runnerconfig.Policy) {
	root := c.Runner.Machine.oldIdle
	root.Periods = []string{"* * * * * * *"}
	for i, old := range append([]oldIdle{root}, c.Runner.Machine.Autoscaling...) {
		path := "machine"
		if i > 0 {
			path = fmt.Sprintf("machine.autoscaling.%d", i-1)
		}
		p := old.policy(c.Most)
		for j, text := range old.Periods {
			period := newPeriod(text)
			if period == "" {
				c.note(Todo, fmt.Sprintf("%s.periods.%d", path, j), "Periods", fmt.Sprintf("%q has no equal: the autoscaler knows "+
					"no seconds, no years, no such steps and no range that ends before it begins, and wants the days of the month "+
					"and of the week to match both", text),
					"write the policy of this section: there is none")
				p.Periods = nil
				break
			}
			p.Periods = append(p.Periods, period)
		}
		if p.Periods == nil {
			continue
		}
		all = append(all, p)
		if p.ScaleFactor > 0 {
			c.note(Check, path+".idlescalefactor", "IdleScaleFactor", fmt.Sprintf("scale_factor = %s of all machines, rounded up; "+
				"fewer are idle than before where scale_factor_limit caps them", toTOML(p.ScaleFactor)), "")
		}
	}
	return all
}

// policy returns the policy without its periods. most is how many machines there can be.
func (i oldIdle) policy(most int) runnerconfig.Policy {
	p := runnerconfig.Policy{Timezone: i.Timezone, IdleCount: max(i.IdleCount, 0)}
	p.IdleTime = time.Duration(max(i.IdleTime, 1)) * time.Second
	if strings.EqualFold(p.Timezone, "local") {
		p.Timezone = ""
	}
	if f := min(i.IdleScaleFactor, 1000); p.IdleCount > 0 && f > 0 {
		// IdleCount was the most idle machines beside a factor, and at least one was forced, lest no job be ever taken. The
		// autoscaler's factor counts all machines. Its limit is where F of the busy ones comes to IdleCount, so that there
		// never are more idle ones than that.
		p.ScaleFactor = 1 + f
		p.ScaleFactorLimit = int(min(math.Ceil(float64(p.IdleCount)/f)+float64(p.IdleCount), float64(most)))
		p.IdleCount = min(max(i.IdleCountMin, 1), p.IdleCount)
	}
	return p
}

// cronFields matches what both read alike, from second to year: *, numbers and names, in lists and ranges.
var cronFields = regexp.MustCompile(`^\*((?: (?:\*|(?:\d+|[a-z]{3,})(?:[,-](?:\d+|[a-z]{3,}))*)){5}) \*$`)

var (
	longName  = regexp.MustCompile(`([a-z]{3})[a-z]+`)
	cronRange = regexp.MustCompile(`(\w+)-(\w+)`)
)

// cronValue is the number that a field means by a number, or by a name of three letters.
func cronValue(word string) int {
	if n, err := strconv.Atoi(word); err == nil {
		return n
	}
	return max(strings.Index("   janfebmaraprmayjunjulaugsepoctnovdec", word), strings.Index("sunmontuewedthufrisat", word)) / 3
}

// newPeriod returns the period of the autoscaler, of five fields, that contains the same minutes as one of docker+machine,
// of seven; "" = there is none.
func newPeriod(old string) string {
	m := cronFields.FindStringSubmatch(strings.Join(strings.Fields(strings.ReplaceAll(strings.ToLower(old), "?", "*")), " "))
	if m == nil {
		return ""
	}
	if f := strings.Fields(m[1]); f[2] != "*" && f[4] != "*" {
		return "" // docker+machine took a day that either field names
	}
	period := longName.ReplaceAllString(m[1][1:], "$1")
	for _, r := range cronRange.FindAllStringSubmatch(period, -1) {
		if cronValue(r[1]) > cronValue(r[2]) {
			return "" // docker+machine took it for nothing, the autoscaler takes it for everything
		}
	}
	return period
}

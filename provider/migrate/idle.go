package migrate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
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
	OffPeak    bool // it is only proposed, in a comment
}

// readPolicies reads the root and the sections, in the order in which they count: the last one that matches wins, in both
// worlds. What the runner has ignored since 14.0 is proposed behind them.
func (c *conversion) readPolicies() (all []policy) {
	m := c.old.Machine
	root := m.oldIdle
	root.Periods, root.Timezone = []string{"* * * * * * *"}, ""
	if p, ok := c.policy("machine", root); ok {
		all = append(all, p)
	}
	for i, section := range m.Autoscaling {
		path := fmt.Sprintf("machine.autoscaling.%d", i)
		if len(section.Periods) == 0 {
			c.note(Lost, path, "Periods", "there are none, so that docker+machine never used this section", "")
		} else if p, ok := c.policy(path, section); ok {
			all = append(all, p)
		}
	}
	if len(m.OffPeakPeriods) == 0 {
		return all
	}
	off := oldIdle{Timezone: m.OffPeakTimezone, IdleCount: m.OffPeakIdleCount, IdleTime: m.OffPeakIdleTime}.policy(nil, c.Most)
	off.OffPeak = true
	for _, period := range m.OffPeakPeriods {
		news, err := periods(period)
		if err != nil {
			c.note(Lost, "machine.offpeakperiods", "OffPeakPeriods", "the runner ignores it since 14.0", "write a policy of your own")
			return all
		}
		off.Periods = append(off.Periods, news...)
	}
	c.note(Lost, "machine.offpeakperiods", "OffPeakPeriods", "the runner ignores it since 14.0",
		"the policy that it meant is in a comment: take its # away if you want it back")
	return append(all, off)
}

// policy makes one policy; ok = false says that one of its periods has no equal.
func (c *conversion) policy(path string, old oldIdle) (p policy, ok bool) {
	var all []string
	for i, period := range old.Periods {
		line := c.lineOf(path+".periods", i)
		news, err := periods(period)
		if err != nil {
			c.at(Todo, line, "Periods", fmt.Sprintf("%q: %v", period, err), "there is no policy of this section: write one in other words")
			return p, false
		}
		all = append(all, news...)
	}
	p = old.policy(all, c.Most)
	if old.IdleTime <= 0 {
		c.note(Check, path+".idletime", "IdleTime", `is not set, or 0: idle_time = "1s", the least that the runner takes`,
			"a Droplet is billed for at least a minute: some minutes cost little and spare boots")
	}
	if f := old.IdleScaleFactor; math.IsNaN(f) || f > 1000 {
		c.note(Todo, path+".idlescalefactor", "IdleScaleFactor", "must be at most 1000", "scale_factor = 1.5")
	}
	if p.Factor > 0 {
		text := fmt.Sprintf("scale_factor = %s of all machines, rounded up", float(p.Factor))
		if p.Limit < c.Most { // else max_instances caps both
			text += fmt.Sprintf("; with more than %d jobs fewer machines are idle than before", p.Limit-old.IdleCount)
		}
		c.note(Check, path+".idlescalefactor", "IdleScaleFactor", text, "")
	}
	return p, true
}

// policy returns the policy with these periods. most is how many machines there can be.
func (i oldIdle) policy(periods []string, most int) policy {
	p := policy{Periods: periods, Timezone: i.Timezone, IdleCount: max(i.IdleCount, 0), IdleTime: max(i.IdleTime, 1)}
	if strings.EqualFold(p.Timezone, "local") {
		p.Timezone = ""
	}
	if f := i.IdleScaleFactor; p.IdleCount > 0 && f > 0 && f <= 1000 {
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

// float writes a float of TOML: some releases of the runner take nothing else for scale_factor.
func float(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !slices.Contains([]byte(text), '.') {
		text += ".0"
	}
	return text
}

package migrate

import (
	"fmt"
	"math"
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
	m.Periods, m.Timezone = []string{"* * * * * * *"}, ""
	for i, old := range append([]oldIdle{m.oldIdle}, m.Autoscaling...) {
		path := "machine"
		if i > 0 {
			path = fmt.Sprintf("machine.autoscaling.%d", i-1)
		}
		if p, ok := c.policy(path, old); ok {
			all = append(all, p)
		}
	}
	if len(m.OffPeakPeriods) == 0 {
		return all
	}
	off := oldIdle{Timezone: m.OffPeakTimezone, IdleCount: m.OffPeakIdleCount, IdleTime: m.OffPeakIdleTime}.policy(c.Most)
	off.OffPeak = true
	hint := "the policy that it meant is in a comment: take its # away if you want it back"
	for _, old := range m.OffPeakPeriods {
		period, err := newPeriod(old)
		if err != nil {
			hint = "write a policy of your own: " + err.Error()
		}
		off.Periods = append(off.Periods, period)
	}
	c.note(Lost, c.line("machine.offpeakperiods"), "OffPeakPeriods", "the runner ignores it since 14.0", hint)
	if strings.HasPrefix(hint, "the policy") {
		all = append(all, off)
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
			c.note(Todo, c.lineOf(path+".periods", i), "Periods", fmt.Sprintf("%q: %v", old, err), "write the policy of this section: there is none")
			return p, false
		}
		p.Periods = append(p.Periods, period)
	}
	if old.IdleTime <= 0 {
		c.note(Check, c.line(path+".idletime"), "IdleTime", `not set, or 0: idle_time = "1s", the least that the runner takes`,
			"a Droplet is billed for at least a minute: some minutes cost little and spare boots")
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

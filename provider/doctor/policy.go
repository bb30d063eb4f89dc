package doctor

import (
	"fmt"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func (e *exam) policies() {
	all := e.Runner.Autoscaler.Policy
	e.when(len(all) == 0, Note, "autoscaler", `policy = [{ idle_count = 1, idle_time = "10m", preemptive_mode = false }]`,
		"there is no [[runners.autoscaler.policy]]: every job waits until a Droplet has booted, and an idle one goes after 5 minutes")
	key := func(i int) string { return fmt.Sprintf("autoscaler.policy.%d", i) }
	for i, p := range all {
		e.policy(key(i), p)
	}
	periods, bad, err := readPeriods(all)
	if err != nil {
		e.add(Fault, key(bad)+".periods", `such as periods = ["* 8-17 * * mon-fri"], timezone = "Europe/Berlin"`,
			"%v: the runner then uses none of the policies", err)
		return
	}
	var none float64
	none, e.hours = walk(periods, e.Host.Now)
	for i := range all {
		for _, p := range periods[i] {
			e.when(p.wraps != "", Warning, key(i)+".periods", "write it as two, such as 22-23,0-6 for 22-6",
				"the range %s begins after its end: the runner reads it as everything", p.wraps)
		}
		e.when(e.hours[i] == 0, Warning, key(i), "put the policy for the rest of the week first, and the special hours last",
			"this policy never applies: its periods contain no minute of a year, or a later policy contains all of them and wins")
	}
	e.when(len(all) > 0 && none >= 1, Note, key(0), "put a policy without periods first, for the rest of the week",
		"no policy applies for %.0f hours of a week: no Droplet is kept ready then, and an idle one goes after 5 minutes", none)
}

// policy checks a policy by itself.
func (e *exam) policy(key string, p runnerconfig.Policy) {
	e.when(p.IdleTime == 0, Warning, key+".idle_time", `idle_time = "10m"`,
		"idle_time is not set, which is 0s: a Droplet is deleted as soon as its job ends, and the next job waits for another")
	room := e.maxInstances() * e.capacity()
	e.when(room > 0 && p.IdleCount > room, Warning, key+".idle_count", fmt.Sprintf("idle_count = %d", room),
		"idle_count is %d jobs, and %d Droplets x capacity_per_instance %d have room for %d: it is never reached",
		p.IdleCount, e.maxInstances(), e.capacity(), room)
	e.when(p.ScaleFactor > 0 && p.ScaleFactor <= 1, Warning, key+".scale_factor", fmt.Sprintf("scale_factor = %g", 1+p.ScaleFactor),
		"scale_factor is %g, and multiplies the jobs that run: up to 1 it makes no room for more", p.ScaleFactor)
	e.when(p.PreemptiveMode == nil, Note, key+".preemptive_mode", "preemptive_mode = false",
		"preemptive_mode is not set, which is true with an idle_count: jobs are taken only when a Droplet is ready, "+
			"and a long queue grows the group by idle_count at a time")
}

// readPeriods reads the periods of each policy. The error is of the policy bad.
func readPeriods(policies []runnerconfig.Policy) (all [][]period, bad int, err error) {
	for i, p := range policies {
		texts := p.Periods
		if len(texts) == 0 {
			texts = []string{"* * * * *"}
		}
		var periods []period
		for _, text := range texts {
			one, err := parsePeriod(text, p.Timezone)
			if err != nil {
				return nil, i, err
			}
			periods = append(periods, one)
		}
		all = append(all, periods)
	}
	return all, 0, nil
}

// Active returns which policy counts at a moment, as the runner decides it: the last one whose periods contain it; -1 = none
// does.
func Active(policies []runnerconfig.Policy) (func(time.Time) int, error) {
	all, _, err := readPeriods(policies)
	if err != nil {
		return nil, fmt.Errorf("%w: the runner then uses none of the policies", err)
	}
	return func(t time.Time) int { return current(all, t) }, nil
}

// walk goes through a week from a moment, minute by minute, or through a year if a date matters. It returns the hours of an
// average week in which no policy applies, and in which each does: the last one that contains the minute.
func walk(policies [][]period, from time.Time) (none float64, applies []float64) {
	minutes := 7 * 24 * 60
	if slices.ContainsFunc(slices.Concat(policies...), func(p period) bool { return p.dated }) {
		minutes = 365 * 24 * 60
	}
	applies = make([]float64, len(policies))
	hours, t := 7*24/float64(minutes), from.Truncate(time.Minute)
	for range minutes {
		if i := current(policies, t); i >= 0 {
			applies[i] += hours
		} else {
			none += hours
		}
		t = t.Add(time.Minute)
	}
	return none, applies
}

// current returns the policy that applies at a moment, -1 = none.
func current(policies [][]period, t time.Time) int {
	for i, periods := range slices.Backward(policies) {
		if slices.ContainsFunc(periods, func(p period) bool { return p.contains(t) }) {
			return i
		}
	}
	return -1
}

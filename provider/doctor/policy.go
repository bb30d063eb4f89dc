package doctor

import (
	"fmt"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func (e *exam) policies() {
	all := e.Runner.Autoscaler.Policy
	if len(all) == 0 {
		e.add(Note, "autoscaler", `policy = [{ idle_count = 1, idle_time = "10m", preemptive_mode = false }]`,
			"there is no [[runners.autoscaler.policy]]: every job waits until a Droplet has booted, and an idle one goes after 5 minutes")
	}
	for i, p := range all {
		e.policy(fmt.Sprintf("autoscaler.policy.%d.", i), p)
	}
	periods, at, err := readPeriods(all)
	if err != nil {
		e.add(Fault, at, err.hint, "%s: the runner then uses none of the policies", err.what)
		return
	}
	none, counts := walk(periods, e.Host.Now)
	for i := range all {
		key := fmt.Sprintf("autoscaler.policy.%d", i)
		for _, p := range periods[i] {
			if p.wraps != "" {
				e.add(Warning, key+".periods", "write it as two, such as 22-23,0-6 for 22-6",
					"the range %s begins after its end: the runner reads it as everything", p.wraps)
			}
		}
		if counts[i] == 0 {
			e.add(Warning, key, "put the policy for the rest of the week first, and the special hours last",
				"this policy never applies: its periods contain no minute of a year, or a later policy contains all of them and wins")
		}
	}
	if len(all) > 0 && none >= 1 {
		e.add(Note, "autoscaler.policy.0", "put a policy without periods first, for the rest of the week",
			"no policy applies for %.0f hours of a week: no Droplet is kept ready then, and an idle one goes after 5 minutes", none)
	}
}

// policy checks a policy by itself; key is its own, and ends in a dot.
func (e *exam) policy(key string, p runnerconfig.Policy) {
	e.when(p.IdleTime == 0, Warning, key+"idle_time", `idle_time = "10m"`,
		"idle_time is not set, which is 0s: a Droplet is deleted as soon as its job ends, and the next job waits for another")
	capacity, most := e.capacity(), e.maxInstances()
	if room := most * capacity; room > 0 && p.IdleCount > room {
		e.add(Warning, key+"idle_count", fmt.Sprintf("idle_count = %d", room),
			"idle_count is %d jobs, and %d Droplets x capacity_per_instance %d have room for %d: it is never reached", p.IdleCount, most, capacity, room)
	} else {
		e.when(capacity > 1 && p.IdleCount > 0, Note, key+"idle_count", "",
			"idle_count counts jobs: room for %d is %s", p.IdleCount, plural(ceil(p.IdleCount, capacity), "Droplet"))
	}
	e.when(p.ScaleFactor > 0 && p.ScaleFactor <= 1, Warning, key+"scale_factor", fmt.Sprintf("scale_factor = %g", 1+p.ScaleFactor),
		"scale_factor is %g, and multiplies the jobs that run: up to 1 it makes no room for more", p.ScaleFactor)
	e.when(p.ScaleFactor > 1 && p.ScaleFactorLimit == 0, Note, key+"scale_factor", "scale_factor_limit = 8",
		"scale_factor has no scale_factor_limit: only max_instances limits how many Droplets are kept ready")
	e.when(p.ScaleFactor == 0 && p.ScaleFactorLimit > 0, Warning, key+"scale_factor_limit", "scale_factor = 1.5",
		"scale_factor_limit has no effect without scale_factor")
	switch h := e.Host; {
	case h.older(preemptiveSince) && p.IdleCount > 0:
		e.add(Warning, key+"idle_count", "upgrade the runner, or idle_count = 0",
			"this host's runner is %s, and before 18.1 preemptive_mode is always on with an idle_count: "+
				"a long queue grows the group by %d at a time", h.RunnerVersion, p.IdleCount)
	case p.PreemptiveMode == nil && p.IdleCount > 0:
		e.add(Note, key+"preemptive_mode", "preemptive_mode = false",
			"preemptive_mode is not set, which is true with an idle_count: jobs are taken only when a Droplet is ready, "+
				"and a long queue grows the group by %d at a time", p.IdleCount)
	case p.PreemptiveMode == nil:
		e.add(Note, key+"preemptive_mode", "preemptive_mode = false",
			"preemptive_mode is not set: runners since 18.6 warn of it whenever they read the file")
	}
}

// readPeriods reads the periods of each policy; err is of the first that cannot be read, and at its key.
func readPeriods(policies []runnerconfig.Policy) (all [][]period, at string, err *unreadable) {
	for i, p := range policies {
		texts, key := p.Periods, fmt.Sprintf("autoscaler.policy.%d.periods", i)
		if len(texts) == 0 {
			texts, key = []string{"* * * * *"}, fmt.Sprintf("autoscaler.policy.%d.timezone", i)
		}
		var periods []period
		for _, text := range texts {
			one, err := parsePeriod(text, p.Timezone)
			if err != nil {
				return nil, key, err
			}
			periods = append(periods, one)
		}
		all = append(all, periods)
	}
	return all, "", nil
}

// Active returns which policy counts at a moment, as the runner decides it: the last one whose periods contain it; -1 = none
// does.
func Active(policies []runnerconfig.Policy) (func(time.Time) int, error) {
	all, _, err := readPeriods(policies)
	if err != nil {
		return nil, fmt.Errorf("%s: the runner then uses none of the policies: %s", err.what, err.hint)
	}
	return func(t time.Time) int { return current(all, t) }, nil
}

// walk goes through a week from a moment, minute by minute, or through a year if a date matters. It returns the hours of an
// average week in which no policy applies, and in which each does: the last one that contains the minute.
func walk(policies [][]period, from time.Time) (none float64, applies []float64) {
	minutes := 7 * 24 * 60
	for _, periods := range policies {
		for _, p := range periods {
			if p.dated {
				minutes = 365 * 24 * 60
			}
		}
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

// ceil divides, and rounds up.
func ceil(n, by int) int { return (n + by - 1) / by }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

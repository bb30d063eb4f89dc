package doctor

import (
	"fmt"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// schedule is the runner's policies as they take turns.
type schedule struct {
	periods [][]period // of each policy
}

// readSchedule reads the periods of all policies; err is of the first that cannot be
// read, and at its key.
func readSchedule(policies []runnerconfig.Policy) (s schedule, at string, err *unreadable) {
	for i, p := range policies {
		texts, key := p.Periods, fmt.Sprintf("autoscaler.policy.%d.periods", i)
		if len(texts) == 0 {
			texts, key = []string{"* * * * *"}, fmt.Sprintf("autoscaler.policy.%d.timezone", i)
		}
		var periods []period
		for _, text := range texts {
			one, err := parsePeriod(text, p.Timezone)
			if err != nil {
				return schedule{}, key, err
			}
			periods = append(periods, one)
		}
		s.periods = append(s.periods, periods)
	}
	return s, "", nil
}

func (s schedule) contains(i int, t time.Time) bool {
	for _, p := range s.periods[i] {
		if p.contains(t) {
			return true
		}
	}
	return false
}

// hours are hours of an average week.
type hours struct {
	none   float64   // in which no policy counts
	counts []float64 // in which each does
	within []float64 // that each contains, whether it counts or not
}

// walk goes through a week from a moment, minute by minute; through a year if a day of
// the month or a month matters.
func (s schedule) walk(from time.Time) hours {
	minutes := 7 * 24 * 60
	for _, periods := range s.periods {
		for _, p := range periods {
			if p.dated {
				minutes = 365 * 24 * 60
			}
		}
	}
	h := hours{counts: make([]float64, len(s.periods)), within: make([]float64, len(s.periods))}
	each := 7 * 24 / float64(minutes)
	t := from.Truncate(time.Minute)
	for range minutes {
		counts := false
		for i := len(s.periods) - 1; i >= 0; i-- {
			if !s.contains(i, t) {
				continue
			}
			h.within[i] += each
			if !counts {
				h.counts[i] += each
				counts = true
			}
		}
		if !counts {
			h.none += each
		}
		t = t.Add(time.Minute)
	}
	return h
}

func (e *exam) policies() {
	if e.File == nil {
		return
	}
	all := e.Runner.Autoscaler.Policy
	if len(all) == 0 {
		e.say(Note, "autoscaler", `policy = [{ idle_count = 1, idle_time = "10m" }]`,
			"there is no [[runners.autoscaler.policy]]: every job waits until a Droplet has booted, and an idle one goes after 5 minutes")
		return
	}
	s, at, err := readSchedule(all)
	if err != nil {
		e.say(Fault, at, err.hint, "%s: the runner then takes none of the policies", err.what)
		return
	}
	for i, periods := range s.periods {
		for _, p := range periods {
			if p.wraps != "" {
				e.say(Warning, fmt.Sprintf("autoscaler.policy.%d.periods", i), "write it as two, such as 22-23,0-6 for 22-6",
					"the range %s begins after its end: the runner takes it for everything", p.wraps)
			}
		}
	}
	h := s.walk(e.Host.Now)
	for i := range all {
		if h.counts[i] > 0 {
			continue
		}
		key := fmt.Sprintf("autoscaler.policy.%d", i)
		if h.within[i] == 0 {
			e.say(Warning, key, `periods = ["* * * * *"], which is always`, "this policy never counts: its periods contain no minute of a year")
		} else {
			e.say(Warning, key, "put the policy that always counts first",
				"this policy never counts: of several that contain the present the last wins, and a later one always does")
		}
	}
	if h.none >= 1 {
		e.say(Note, "autoscaler.policy.0", "put a policy without periods first, for the rest of the week",
			"no policy counts for %.0f hours of a week: no Droplet is kept ready then, and an idle one goes after 5 minutes", h.none)
	}
}

// eachPolicy calls f with every policy, and its key.
func (e *exam) eachPolicy(f func(key string, p runnerconfig.Policy)) {
	if e.File == nil {
		return
	}
	for i, p := range e.Runner.Autoscaler.Policy {
		f(fmt.Sprintf("autoscaler.policy.%d.", i), p)
	}
}

func (e *exam) idleTime() {
	e.eachPolicy(func(key string, p runnerconfig.Policy) {
		if p.IdleTime == 0 {
			e.say(Warning, key+"idle_time", `idle_time = "10m"`,
				"idle_time is not set, which is 0s: a Droplet is destroyed as soon as its job ends, and the next job waits for another")
		}
	})
}

func (e *exam) idleCount() {
	capacity, most := 1, 0
	if e.File != nil {
		capacity, most = e.capacity(), e.maxInstances()
	}
	e.eachPolicy(func(key string, p runnerconfig.Policy) {
		switch droplets := ceil(p.IdleCount, capacity); {
		case most > 0 && droplets > most:
			e.say(Warning, key+"idle_count", fmt.Sprintf("idle_count = %d", most*capacity),
				"idle_count is %d jobs, and %d Droplets x capacity_per_instance %d have room for %d: it is never reached",
				p.IdleCount, most, capacity, most*capacity)
		case capacity > 1 && p.IdleCount > 0:
			e.say(Note, key+"idle_count", "", "idle_count counts jobs: room for %d is %s", p.IdleCount, plural(droplets, "Droplet"))
		}
	})
}

func (e *exam) scaleFactor() {
	e.eachPolicy(func(key string, p runnerconfig.Policy) {
		switch {
		case p.ScaleFactor > 0 && p.ScaleFactor <= 1:
			e.say(Warning, key+"scale_factor", fmt.Sprintf("scale_factor = %g", 1+p.ScaleFactor),
				"scale_factor is %g, and multiplies the jobs that run: up to 1 it makes no room for more", p.ScaleFactor)
		case p.ScaleFactor > 1 && p.ScaleFactorLimit == 0:
			e.say(Note, key+"scale_factor", "scale_factor_limit = 8",
				"scale_factor has no scale_factor_limit: max_instances alone limits how many are kept ready")
		case p.ScaleFactor == 0 && p.ScaleFactorLimit > 0:
			e.say(Warning, key+"scale_factor_limit", "scale_factor = 1.5", "scale_factor_limit has no effect without scale_factor")
		}
	})
}

func (e *exam) preemptive() {
	e.eachPolicy(func(key string, p runnerconfig.Policy) {
		if p.PreemptiveMode == nil && p.IdleCount > 0 {
			e.say(Note, key+"preemptive_mode", "preemptive_mode = false",
				"preemptive_mode is not set, which is true with an idle_count: jobs are taken only when a Droplet is ready, "+
					"and a long queue grows the group by %d at a time", p.IdleCount)
		}
	})
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

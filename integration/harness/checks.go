package harness

import (
	"fmt"
	"strings"
)

// finding is what must not be found at the end of a run.
type finding struct {
	what  string
	found []string
}

// addChecks adds what has to be true, what a reader looks for first in front. The
// findings come from the simulated account, which knows nothing of the plugin; faults
// are what went wrong in the run itself: a time-out, a guest that did not boot.
func (r *Report) addChecks(planned int, findings []finding, faults []string) {
	check := func(ok bool, format string, args ...any) {
		r.Checks = append(r.Checks, Check{OK: ok, Text: fmt.Sprintf(format, args...)})
	}
	if bad := r.badJobs(planned); len(bad) > 0 {
		check(false, "%d of %d jobs did not run exactly once: %s", len(bad), planned, someOf(bad))
	} else {
		check(true, "%d of %d jobs ran, each exactly once", len(r.Jobs), planned)
	}
	if r.MaxInstances > 0 {
		peak := r.MostDroplets()
		check(peak <= r.MaxInstances, "at most %d Droplets at once, max_instances is %d", peak, r.MaxInstances)
	}
	for _, f := range findings {
		if len(f.found) > 0 {
			check(false, "no %s, but found %d: %s", f.what, len(f.found), someOf(f.found))
		} else {
			check(true, "no %s", f.what)
		}
	}
	for _, f := range faults {
		check(false, "%s", f)
	}
}

// badJobs names the jobs that failed, ran other than once, or were never
// queued because the run ended before.
func (r *Report) badJobs(planned int) []string {
	var bad []string
	for _, j := range r.Jobs {
		switch {
		case j.Error != "":
			bad = append(bad, fmt.Sprintf("job %d: %s", j.ID, j.Error))
		case j.Runs != 1:
			bad = append(bad, fmt.Sprintf("job %d ran %d times", j.ID, j.Runs))
		}
	}
	for id := len(r.Jobs) + 1; id <= planned; id++ {
		bad = append(bad, fmt.Sprintf("job %d was never queued", id))
	}
	return bad
}

// someOf lists items, but not more than a reader wants to see.
func someOf(items []string) string {
	const most = 5
	if len(items) <= most {
		return strings.Join(items, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(items[:most], "; "), len(items)-most)
}

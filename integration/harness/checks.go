package harness

import (
	"fmt"
	"strings"
)

// evidence is what the checks of a run go by. All but the jobs comes from the
// simulated account, which knows nothing of the plugin.
type evidence struct {
	jobs         []JobResult
	planned      int
	droplets     []Droplet
	maxInstances int // 0: no limit

	// What is left on the account when runner and plugin have ended.
	leftDroplets []string
	leftKeys     []string // but those of ssh_key_file
	leftTags     []string

	// What the simulated account saw its client do wrong.
	violations []string
	// What went wrong in the run itself: a time-out, a guest that did not boot.
	faults []string
}

// checks are what has to be true, what a reader looks for first in front.
func (e evidence) checks() []Check {
	var checks []Check
	check := func(ok bool, format string, args ...any) {
		checks = append(checks, Check{OK: ok, Text: fmt.Sprintf(format, args...)})
	}
	none := func(what string, found []string) {
		if check(len(found) == 0, "no %s", what); len(found) > 0 {
			checks[len(checks)-1].Text += fmt.Sprintf(", but found %d: %s", len(found), someOf(found))
		}
	}

	if bad := e.badJobs(); len(bad) > 0 {
		check(false, "%d of %d jobs did not run exactly once: %s", len(bad), e.planned, someOf(bad))
	} else {
		check(true, "%d of %d jobs ran, each exactly once", len(e.jobs), e.planned)
	}
	if e.maxInstances > 0 {
		peak := most(e.droplets)
		check(peak <= e.maxInstances, "at most %d Droplets at once, max_instances is %d", peak, e.maxInstances)
	}
	none("Droplet is left or billed", e.leftDroplets)
	none("generated SSH key is left on the account", e.leftKeys)
	none("delete tag is left on the account", e.leftTags)
	none("rule of the API was broken", e.violations)
	for _, f := range e.faults {
		check(false, "%s", f)
	}
	return checks
}

// badJobs names the jobs that failed, ran other than once, or were never
// queued because the run ended before.
func (e evidence) badJobs() []string {
	var bad []string
	for _, j := range e.jobs {
		switch {
		case j.Error != "":
			bad = append(bad, fmt.Sprintf("job %d: %s", j.ID, j.Error))
		case j.Runs != 1:
			bad = append(bad, fmt.Sprintf("job %d ran %d times", j.ID, j.Runs))
		}
	}
	for id := len(e.jobs) + 1; id <= e.planned; id++ {
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

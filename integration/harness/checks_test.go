package harness

import (
	"strings"
	"testing"
)

func TestChecksFindEachFault(t *testing.T) {
	for want, spoil := range map[string]func(*evidence){ // by the one check that fails
		"": func(*evidence) {},
		"1 of 2 jobs did not run exactly once: job 2: dialing ci-1: refused":                   func(e *evidence) { e.jobs[1].Error = "dialing ci-1: refused" },
		"1 of 2 jobs did not run exactly once: job 1 ran 2 times":                              func(e *evidence) { e.jobs[0].Runs = 2 },
		"2 of 4 jobs did not run exactly once: job 3 was never queued; job 4 was never queued": func(e *evidence) { e.planned = 4 },
		"at most 2 Droplets at once, max_instances is 1":                                       func(e *evidence) { e.maxInstances = 1 },
		"no Droplet is left or billed, but found 6: a; b; c; d; e; and 1 more":                 func(e *evidence) { e.leftDroplets = strings.Split("abcdef", "") },
		"no generated SSH key is left on the account, but found 1: fleeting-ci-x":              func(e *evidence) { e.leftKeys = []string{"fleeting-ci-x"} },
		"no delete tag is left on the account, but found 1: fleeting-delete:x":                 func(e *evidence) { e.leftTags = []string{"fleeting-delete:x"} },
		"no rule of the API was broken, but found 1: deleted twice":                            func(e *evidence) { e.violations = []string{"deleted twice"} },
		"interrupted": func(e *evidence) { e.faults = []string{"interrupted"} },
	} {
		e := evidence{
			jobs:         []JobResult{{ID: 1, Runs: 1}, {ID: 2, Runs: 1}},
			planned:      2,
			droplets:     []Droplet{{Created: 1, Gone: 3}, {Created: 2, Gone: 4}},
			maxInstances: 2,
		}
		spoil(&e)
		var failed []string
		for _, c := range e.checks() {
			if !c.OK {
				failed = append(failed, c.Text)
			}
		}
		if got := strings.Join(failed, "\n"); got != want || (&Report{Checks: e.checks()}).OK() != (want == "") {
			t.Errorf("failed checks:\n%s\nwant:\n%s", got, want)
		}
	}
}

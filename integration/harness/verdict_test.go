package harness

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clean is the evidence of a run in which all went well.
func clean() evidence {
	return evidence{
		jobs:         []JobResult{{ID: 1, Runs: 1}, {ID: 2, Runs: 1}},
		planned:      2,
		droplets:     []Droplet{{Created: 1, Gone: 3}, {Created: 2, Gone: 4}},
		maxInstances: 2,
	}
}

func TestVerdictOnACleanRun(t *testing.T) {
	want := []Check{
		{true, "2 of 2 jobs ran, each exactly once"},
		{true, "at most 2 Droplets at once, max_instances is 2"},
		{true, "no Droplet is left or billed"},
		{true, "no generated SSH key is left on the account"},
		{true, "no delete tag is left on the account"},
		{true, "no rule of the API was broken"},
	}
	if diff := cmp.Diff(want, judge(clean())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestVerdictFindsEachFault(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*evidence)
		want  string // the one check that fails
	}{
		{
			"a job failed", func(e *evidence) { e.jobs[1].Error = "dialing ci-1: refused" },
			"1 of 2 jobs did not run exactly once: job 2: dialing ci-1: refused",
		},
		{
			"a job ran twice", func(e *evidence) { e.jobs[0].Runs = 2 },
			"1 of 2 jobs did not run exactly once: job 1 ran 2 times",
		},
		{
			"a job got lost", func(e *evidence) { e.jobs[0].Runs = 0 },
			"1 of 2 jobs did not run exactly once: job 1 ran 0 times",
		},
		{
			"a burst was never queued", func(e *evidence) { e.planned = 4 },
			"2 of 4 jobs did not run exactly once: job 3 was never queued; job 4 was never queued",
		},
		{
			"nothing went well", func(e *evidence) { e.planned = 9 },
			"7 of 9 jobs did not run exactly once: job 3 was never queued; job 4 was never queued; job 5 was never queued; " +
				"job 6 was never queued; job 7 was never queued; and 2 more",
		},
		{
			"too many Droplets", func(e *evidence) { e.maxInstances = 1 },
			"at most 2 Droplets at once, max_instances is 1",
		},
		{
			"a Droplet is left", func(e *evidence) { e.leftDroplets = []string{"ci-1", "ci-2"} },
			"no Droplet is left or billed, but found 2: ci-1; ci-2",
		},
		{
			"a key is left", func(e *evidence) { e.leftKeys = []string{"fleeting-ci-x"} },
			"no generated SSH key is left on the account, but found 1: fleeting-ci-x",
		},
		{
			"a tag is left", func(e *evidence) { e.leftTags = []string{"fleeting-delete:x"} },
			"no delete tag is left on the account, but found 1: fleeting-delete:x",
		},
		{
			"the API was misused", func(e *evidence) { e.violations = []string{"deleted twice"} },
			"no rule of the API was broken, but found 1: deleted twice",
		},
		{
			"the run was cut short", func(e *evidence) { e.faults = []string{"interrupted"} },
			"interrupted",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := clean()
			tt.spoil(&e)
			var failed []string
			for _, c := range judge(e) {
				if !c.OK {
					failed = append(failed, c.Text)
				}
			}
			if got := strings.Join(failed, "\n"); got != tt.want {
				t.Errorf("failed checks:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

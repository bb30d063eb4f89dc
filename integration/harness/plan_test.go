package harness

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJobsAreNumberedAndWorkWithinTheirBounds(t *testing.T) {
	for _, jobs := range []int{1, 2, 5, 6, 20, 100} {
		plan := DefaultPlan(jobs, 1, time.Second)
		if diff := cmp.Diff(plan.jobs(), plan.jobs(), cmp.AllowUnexported(job{})); diff != "" {
			t.Errorf("the same seed gives other jobs:\n%s", diff)
		}
		if got := plan.total(); got != jobs {
			t.Errorf("a plan of %d jobs has %d", jobs, got)
		}
		next := 1
		for i, burst := range plan.jobs() {
			for _, j := range burst {
				if j.id != next || j.burst != i {
					t.Errorf("job %d of burst %d has id %d, burst %d", next, i, j.id, j.burst)
				}
				var seconds float64
				_, err := fmt.Sscanf(j.script, "sleep %f\n", &seconds)
				if b := plan.Bursts[i]; err != nil || seconds < b.MinWork.Seconds() || seconds > b.MaxWork.Seconds() {
					t.Errorf("job %d runs %q, not for %s to %s (%v)", j.id, j.script, b.MinWork, b.MaxWork, err)
				}
				next++
			}
		}
		if next != jobs+1 {
			t.Errorf("a plan of %d jobs laid out %d", jobs, next-1)
		}
	}
}

func TestAScriptMarksEachOfItsRunsAndPrintsItsNonce(t *testing.T) {
	marks := t.TempDir() + "/it's a directory"
	if err := os.Mkdir(marks, 0o700); err != nil {
		t.Fatal(err)
	}
	j := Plan{Bursts: []Burst{{Jobs: 1, MinWork: time.Millisecond}}}.jobs()[0][0]
	for want := range 3 {
		if got, err := marksOf(marks, j.id); err != nil || got != want {
			t.Fatalf("%d marks (%v), want %d", got, err, want)
		}
		out, err := exec.Command("sh", "-c", j.marking(marks)).Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != j.output {
			t.Fatalf("printed %q, want %q", out, j.output)
		}
	}
}

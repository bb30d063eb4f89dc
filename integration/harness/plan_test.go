package harness

import (
	"os/exec"
	"testing"
	"time"
)

func TestAScriptMarksEachOfItsRunsAndPrintsItsNonce(t *testing.T) {
	w := workplace{marks: t.TempDir() + "/it's a file"}
	j := Plan{Bursts: []Burst{{Jobs: 1, MinWork: time.Millisecond}}}.jobs()[0][0]
	for want := range 3 {
		if runs, err := w.runs(t.Context()); err != nil || runs[j.key()] != want {
			t.Fatalf("marks %v (%v), want %d", runs, err, want)
		}
		out, err := exec.Command("sh", "-c", w.marking(j)).Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != j.output {
			t.Fatalf("printed %q, want %q", out, j.output)
		}
	}
}

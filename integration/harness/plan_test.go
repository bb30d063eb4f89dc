package harness

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

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

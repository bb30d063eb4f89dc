package guest

import (
	"strconv"
	"testing"
)

// A simulator that runs for days remembers the latest commands only.
func TestJournalIsBounded(t *testing.T) {
	var j journal
	first := j.begin(Session{Command: "first"})
	for i := range journalSize {
		j.begin(Session{Command: strconv.Itoa(i)})(0)
	}
	first(0) // forgotten by now, and harmless

	sessions := j.sessions()
	if len(sessions) != journalSize {
		t.Fatalf("%d sessions are kept, want %d", len(sessions), journalSize)
	}
	if oldest, newest := sessions[0].Command, sessions[len(sessions)-1].Command; oldest != "0" || newest != strconv.Itoa(journalSize-1) {
		t.Errorf("kept %s to %s, want the latest", oldest, newest)
	}
}

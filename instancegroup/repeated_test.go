package instancegroup

import (
	"errors"
	"testing"
	"time"
)

// What fails is told at once, when it fails in another way, and else once a
// minute with how often it has failed since.
func TestRepeatedFailuresAreCounted(t *testing.T) {
	now := time.Now()
	hour := now.Add(time.Hour)
	var r repeated
	var lines, counted int
	for ; now.Before(hour); now = now.Add(2 * time.Second) {
		if times, due := r.note(unclear, 3, now); due {
			lines++
			counted += times
		}
	}
	if lines != 60 || counted != 3+59*90 {
		t.Errorf("%d failures in an hour were told in %d lines", counted, lines)
	}
	for _, c := range []struct {
		err error
		due bool
	}{
		{unclear, true}, // a minute is over
		{refusal(ErrThrottled), true},
		{refusal(ErrThrottled), false},
		{refusal(ErrForbidden), true},
		{errors.New("proves nothing"), true},
		{unclear, false}, // proves as little
	} {
		if _, due := r.note(c.err, 1, now); due != c.due {
			t.Errorf("%v is told: %t, want %t", c.err, due, c.due)
		}
	}
}

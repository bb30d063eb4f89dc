package instancegroup

import (
	"errors"
	"testing"
	"time"
)

// What fails is logged at once, when it fails in another way, and else once a
// minute with how often it has failed since.
func TestRepeatedFailuresAreCounted(t *testing.T) {
	now := time.Now()
	hour := now.Add(time.Hour)
	l := logLimit{}
	var lines, counted int
	for ; now.Before(hour); now = now.Add(2 * time.Second) {
		if times, due := l.failure("list", unconfirmed, 3, now); due {
			lines++
			counted += times
		}
	}
	if lines != 60 || counted != 3+59*90 {
		t.Errorf("%d failures in an hour were logged in %d lines", counted, lines)
	}
	for _, c := range []struct {
		what string
		err  error
		due  bool
	}{
		{"list", unconfirmed, true}, // a minute is over
		{"list", refusal(ErrRateLimited), true},
		{"list", refusal(ErrRateLimited), false},
		{"create", refusal(ErrRateLimited), true}, // about something else
		{"list", refusal(ErrForbidden), true},
		{"list", errors.New("proves nothing"), true},
		{"list", unconfirmed, false}, // proves as little
	} {
		if _, due := l.failure(c.what, c.err, 1, now); due != c.due {
			t.Errorf("%s: %v is logged: %t, want %t", c.what, c.err, due, c.due)
		}
	}
}

// A line that is due every hour is not due before, and one without a pause once.
func TestDue(t *testing.T) {
	now := time.Now()
	l := logLimit{}
	for _, c := range []struct {
		what  string
		every time.Duration
		after time.Duration
		want  bool
	}{
		{"kept", time.Hour, 0, true}, {"kept", time.Hour, time.Hour - time.Second, false}, {"kept", time.Hour, time.Hour, true},
		{"kept", time.Hour, 90 * time.Minute, false}, {"once", 0, 0, true}, {"once", 0, 100 * time.Hour, false},
	} {
		if got := l.due(c.what, c.every, now.Add(c.after)); got != c.want {
			t.Errorf("%s every %s is due after %s: %t", c.what, c.every, c.after, got)
		}
	}
}

// A line that names thousands names 20.
func TestSome(t *testing.T) {
	if got := some([]string{"a", "b"}); got != "a b" {
		t.Errorf("%q", got)
	}
	if got := some(append(make([]string, 19), "t", "u", "v")); got != "                   t and 2 more" {
		t.Errorf("%q", got)
	}
}

package instancegroup

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What fails is logged at once for each class of failure, and then once a minute
// with how often it has failed since. A line that names thousands names 20.
func TestRepeatedFailuresAreCounted(t *testing.T) {
	now := epoch
	l := logLimit{}
	for _, c := range []struct {
		after time.Duration
		what  string
		err   error
		times int
		due   bool
	}{
		{0, "list", refusal(ErrUnconfirmed), 3, true},
		{0, "list", errors.New("proves as little"), 3, false},
		{0, "list", refusal(ErrRateLimited), 3, true},
		{0, "create", refusal(ErrRateLimited), 3, true}, // about something else
		{time.Minute - 1, "list", refusal(ErrUnconfirmed), 6, false},
		{1, "list", refusal(ErrUnconfirmed), 9, true},
	} {
		now = now.Add(c.after)
		if times, due := l.failure(c.what, c.err, 3, now); times != c.times || due != c.due {
			t.Errorf("%s: %v: %d, is logged: %t", c.what, c.err, times, due)
		}
	}
	equal(t, "two", "a b", some([]string{"a", "b"}))
	equal(t, "22", strings.Repeat(" ", 19)+"t and 2 more", some(append(make([]string, 19), "t", "u", "v")))
}

// What has no date that can be read is not 292 years old: --older-than would take it.
func TestAge(t *testing.T) {
	now := time.Now()
	equal(t, "unknown", time.Duration(0), Droplet{}.Age(now))
	equal(t, "an hour", time.Hour, Droplet{Created: now.Add(-time.Hour)}.Age(now))
	equal(t, "a clock that is slow", time.Duration(0), Droplet{Created: now.Add(time.Second)}.Age(now))
}

func TestCost(t *testing.T) {
	for age, want := range map[time.Duration]float64{0: 0.01, time.Minute: 0.01, time.Hour: 0.6, 90 * time.Minute: 0.9} {
		equal(t, age.String(), want, Cents(Cost(0.6, age)))
	}
	equal(t, "a minute at least", 0.1, Cents(Cost(6, time.Second)))
}

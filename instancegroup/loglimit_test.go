package instancegroup

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What fails is logged at once, when it fails in another way, and else once a
// minute with how often it has failed since.
func TestRepeatedFailuresAreCounted(t *testing.T) {
	now := time.Now()
	l := logLimit{}
	l.failure("list", unconfirmed, 3, now)
	l.failure("list", unconfirmed, 3, now.Add(time.Minute-1))
	now = now.Add(time.Minute)
	if times, due := l.failure("list", unconfirmed, 3, now); times != 3+3 || !due {
		t.Errorf("after a minute %d failures are logged: %t", times, due)
	}
	for _, c := range []struct {
		what string
		err  error
		due  bool
	}{
		{"list", refusal(ErrRateLimited), true},
		{"list", refusal(ErrRateLimited), false},
		{"create", refusal(ErrRateLimited), true}, // about something else
		{"list", refusal(ErrForbidden), true},
		{"list", errors.New("proves nothing"), false}, // as unconfirmed
	} {
		if _, due := l.failure(c.what, c.err, 1, now); due != c.due {
			t.Errorf("%s: %v is logged: %t, want %t", c.what, c.err, due, c.due)
		}
	}
}

// A line that names thousands names 20.
func TestSome(t *testing.T) {
	equal(t, "two", "a b", some([]string{"a", "b"}))
	equal(t, "22", strings.Repeat(" ", 19)+"t and 2 more", some(append(make([]string, 19), "t", "u", "v")))
}
